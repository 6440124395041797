"""Measured and assumed figures, each with where it comes from; read from figures.json and nowhere else.

A measured figure names the benchmark's JSON and the place in it (`from`), so that `take` can read it anew; an assumed one
says why it may be believed. What an operator knows better is put into a file of the same form (`--figures FILE`).
"""

import itertools
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

PLACE = Path(__file__).with_name("figures.json")
KINDS = ("measured", "assumed")
Kind = Literal["measured", "assumed"]


class BadFigures(ValueError):
    """What is wrong in a file of figures, and where."""


@dataclass(frozen=True)
class Figure:
    """One figure. `value`: a number, or the quantiles of a distribution (milliseconds by percent), or shares by hour."""

    name: str
    kind: Kind
    value: Any
    unit: str
    source: str
    on: str


@dataclass(frozen=True)
class Figures:
    """All figures, by name."""

    by_name: Mapping[str, Figure]

    def __getitem__(self, name: str) -> float:
        """A number.

        Raises:
            BadFigures: there is none of that name.
        """
        value = self._value(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BadFigures(f"figures.json: {name} is no number")
        return float(value)

    def quantiles(self, name: str) -> dict[float, float]:
        """Seconds by share (0 to 1) of a distribution that is kept in milliseconds by percent.

        Raises:
            BadFigures: it is none, or it falls somewhere.
        """
        value = self._value(name)
        if not isinstance(value, dict) or not value:
            raise BadFigures(f"figures.json: {name} is no distribution")
        found = {float(level) / 100.0: float(each) / 1000.0 for level, each in value.items()}
        levels, seconds = sorted(found), [found[level] for level in sorted(found)]
        if levels[0] != 0.0 or levels[-1] != 1.0 or any(b < a for a, b in itertools.pairwise(seconds)):
            raise BadFigures(f"figures.json: {name} must rise from 0 to 100 percent")
        return {level: found[level] for level in levels}

    def shares(self, name: str) -> tuple[float, ...]:
        """Shares that add up to one, such as those of a day's hours.

        Raises:
            BadFigures: they do not.
        """
        value = self._value(name)
        if not isinstance(value, list) or any(each < 0 for each in value) or not math.isclose(sum(value), 1.0):
            raise BadFigures(f"figures.json: {name} must be shares that add up to 1")
        return tuple(float(each) for each in value)

    def _value(self, name: str) -> Any:
        if name not in self.by_name:
            raise BadFigures(f"figures.json: {name} is missing")
        return self.by_name[name].value


@cache
def load(place: Path = PLACE) -> Figures:
    """The figures of a file.

    Raises:
        BadFigures: it cannot be read, or an entry has not all it needs.
    """
    try:
        document = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadFigures(f"{place}: {error}") from error
    return parse(document)


def parse(document: Mapping[str, Mapping[str, Any]]) -> Figures:
    """The figures of a document.

    Raises:
        BadFigures: an entry has not all it needs.
    """
    found = {}
    for kind in KINDS:
        for name, entry in document.get(kind, {}).items():
            wanted = ("value", "unit", "source", "on") if kind == "measured" else ("value", "unit", "why")
            if missing := [key for key in wanted if not entry.get(key) and entry.get(key) != 0]:
                raise BadFigures(f"figures.json: {name} lacks {', '.join(missing)}")
            source = entry.get("source") or entry["why"]
            found[name] = Figure(name, kind, entry["value"], entry["unit"], source, entry.get("on", ""))  # type: ignore[arg-type]
    return Figures(found)


def take(results: Path, place: Path = PLACE, parts: Collection[str] = ()) -> list[str]:
    """Read the measured figures anew out of the benchmarks' JSON in `results`, where it is there. Returns those that changed.

    Args:
        parts: of these alone: benchmarks (`events`), or parts of that of capacity (`capacity:events`).

    Raises:
        BadFigures: a file there has not what a figure names.
    """
    document = json.loads(place.read_text("utf-8"))
    changed = []
    for name, entry in document["measured"].items():
        file, _, path = entry.get("from", "").partition(":")
        if not file or not (results / file).is_file():
            continue
        stem = file.removesuffix(".json")
        if parts and not {stem, f"{stem}:{path.split('.')[0]}"} & set(parts):
            continue
        value: Any = json.loads((results / file).read_text("utf-8"))
        top = value
        try:
            for step in path.split("."):
                value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError) as error:
            raise BadFigures(f"{file} has no {path}, which is {name}") from error
        on = next((part["on"] for key, part in top.items() if isinstance(part, dict) and path.startswith(key) and "on" in part), top.get("date", entry["on"]))  # fmt: skip
        if (value, on) != (entry["value"], entry["on"]):
            entry["value"], entry["on"] = value, on
            changed.append(name)
    place.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return changed
