"""The capacity document's tables are those of today's figures and settings, and the simulation says what was measured."""

import re
from collections.abc import Iterator
from pathlib import Path

from infra.capacity import document
from infra.capacity.figures import BadFigures, load
from infra.capacity.fleet import Fleet
from infra.capacity.parts import loads
from infra.capacity.validation import validate
from infra.checks.check import Check, CheckFailed

README = Path(__file__).resolve().parents[2] / "README.md"
SCALE = 0.25
"""So much of the whole is simulated."""


def checks() -> Iterator[Check]:
    """One for the tables, one for what README says of them, one for the simulation."""
    yield Check("capacity: the tables of capacity.md are current", tables_current)
    yield Check("capacity: README says what gives first", readme_current)
    yield Check("capacity: the simulation says what was measured", reproduced)


def tables_current() -> None:
    """CheckFailed where the document has to be made anew."""
    try:
        text = document.PLACE.read_text("utf-8")
        made = document.rendered(text, load())
    except (OSError, document.BadDocument, BadFigures) as problem:
        raise CheckFailed(str(problem)) from problem
    if made != text:
        raise CheckFailed(f"{document.PLACE.name} is old; run python -m infra.capacity document")


def readme_current() -> None:
    """CheckFailed where README names another number of gyms."""
    figures = load()
    first = loads(Fleet.of(1, figures), figures, document.TARGET)[0]
    wanted = f"{document.number(first.gyms_of_one)} gyms"
    said = re.search(r"gives first, at ([\d,]+ gyms)", README.read_text("utf-8").replace("\n", " "))
    if said is None or said[1] != wanted:
        raise CheckFailed(
            f"README: {first.part.name} gives first, at {wanted}; it says {said[1] if said else 'nothing'}"
        )


def reproduced() -> None:
    """CheckFailed: what the simulation gets wrong, and by how much."""
    wrong = [
        f"{each.what}: {each.measured:g} {each.unit} measured, {each.simulated:.4g} simulated ({each.error:+.0%})"
        for each in validate(load(), scale=SCALE)
        if not each.holds
    ]
    if wrong:
        raise CheckFailed("; ".join(wrong))
