"""The tables of capacity.md, made between markers (`<!-- table: name -->` to `<!-- end -->`), so that no figure stands in it by hand."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from infra.capacity.figures import Figures, load
from infra.capacity.fleet import Fleet, demand
from infra.capacity.parts import loads
from infra.capacity.scenarios import crosschecks, lines_down, outage_of_a_share, peak_hour, rollout
from infra.capacity.settings import CACHE_MEMBERS, SHARDS
from infra.capacity.storage import storage
from infra.capacity.validation import validate

PLACE = Path(__file__).with_name("capacity.md")
SCALES = (1, 10, 100, 1000, 10_000)
TARGET = 0.6
SEED = 1
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class BadDocument(Exception):
    """A marker names a table that there is none of, or a table has no marker."""


def number(value: float) -> str:
    """Three digits that count, with commas."""
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else "any"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    rounded = round(value, digits) if digits else float(f"{value:.3g}")
    return f"{rounded:,.{min(digits, 4)}f}".rstrip("0").rstrip(".") if digits else f"{rounded:,.0f}"


def size(count: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{number(count)} {unit}"
        count /= 1000
    return f"{number(count)} PB"


def seconds(value: float) -> str:
    """Milliseconds or seconds."""
    return f"{number(value * 1000)} ms" if value < 1 else f"{number(value)} s"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _fleets(figures: Figures) -> list[Fleet]:
    return [Fleet.of(gyms, figures) for gyms in SCALES]


def _heads(first: str) -> list[str]:
    return [first, *(f"{gyms:,} gym{'s' if gyms > 1 else ''}" for gyms in SCALES)]


def demands(figures: Figures) -> str:
    """What a fleet asks for, by scale, with the formula."""
    by_fleet = [demand(fleet, figures) for fleet in _fleets(figures)]
    rows = []
    for name, rate in by_fleet[0].items():
        values = [found[name].value for found in by_fleet]
        shown = [size(each) if rate.unit.startswith("bytes") else number(each) for each in values]
        rows.append([f"{name} ({rate.unit})", *shown, f"`{rate.formula}`"])
    return table([*_heads("at the peak hour"), "formula"], rows)


def needs(figures: Figures) -> str:
    """Units that each part needs, the first to give first."""
    by_fleet = [loads(fleet, figures, TARGET) for fleet in _fleets(figures)]
    rows = []
    for load_ in by_fleet[0]:
        same = [next(each for each in found if each.part is load_.part) for found in by_fleet]
        counts = [
            f"{each.units:,}" + (f" (only {each.part.most})" if each.part.most and each.units > each.part.most else "")
            for each in same
        ]
        rows.append([f"{load_.part.name} ({load_.part.unit})", number(load_.gyms_of_one), *counts])
    return table([f"units for {TARGET:.0%}", "one unit lasts to (gyms)", *_heads("")[1:]], rows)


def turns(figures: Figures) -> str:
    """What a part rests on, and what to turn."""
    order = [found.part for found in loads(Fleet.of(1, figures), figures, TARGET)]
    rows = [[part.name, part.figure(figures), f"`{part.formula}`", part.turn] for part in order]
    return table(["part", "measured here", "load of a unit", "what to turn"], rows)


def waits(figures: Figures) -> str:
    """Utilisation and times at the largest scale."""
    rows = [
        [each.part.name, f"{each.units:,}", f"{each.utilisation:.0%}", *map(seconds, (each.p50_s, each.p95_s, each.p99_s))]
        for each in loads(_fleets(figures)[-1], figures, TARGET)
        if each.part.timed
    ]  # fmt: skip
    return table([f"{SCALES[-1]:,} gyms", "units", "busy", "P50", "P95", "P99"], rows)


def stores(figures: Figures) -> str:
    """What is kept, by scale."""
    by_fleet = [storage(fleet, figures) for fleet in _fleets(figures)]
    rows = []
    for kept in by_fleet[-1]:
        same = [next(each for each in found if each.what == kept.what) for found in by_fleet]
        rows.append([kept.what, *(size(each.bytes) for each in same), f"{size(same[-1].a_year)}", f"`{kept.formula}`"])
    return table([*_heads("kept"), "a year at 10,000", "formula"], rows)


def validated(figures: Figures) -> str:
    """Measured beside simulated."""
    rows = [
        [
            each.what,
            f"{number(each.measured)} {each.unit}",
            f"{number(each.simulated)} {each.unit}",
            f"{each.error:+.0%}",
            f"{each.tolerance:.0%}",
            each.calibrated_on,
        ]
        for each in validate(figures, SEED)
    ]
    return table(["figure", "measured", "simulated", "error", "let pass", "calibrated on"], rows)


def crossed(figures: Figures) -> str:
    """Formulas beside the simulation."""
    rows = [[what, number(formula), number(found)] for what, formula, found in crosschecks(figures, 3000, SEED)]
    return table(["3,000 gyms", "Allen-Cunneen", "simulated"], rows)


def events_of_life(figures: Figures) -> str:
    """Scenarios, one figure a line."""
    largest = _fleets(figures)[-1]
    members = figures["members_per_gym"]
    api = next(found for found in loads(largest, figures, TARGET) if found.part.name == "access API").units
    found = [
        peak_hour(figures, members, SEED),
        lines_down(figures, members, SEED),
        outage_of_a_share(largest, figures, 0.1, 36.0, api),
        rollout(largest, figures),
    ]
    rows = [[each.name, ", ".join(f"{name} {shown(value)}" for name, value in each.figures.items())] for each in found]
    return table(["what happens", "what comes of it"], rows)


def assumptions(figures: Figures) -> str:
    """What is assumed and why."""
    rows = [
        [f"`{each.name}`", _shares(each.value) if isinstance(each.value, list) else number(each.value), each.unit, each.source]
        for each in figures.by_name.values()
        if each.kind == "assumed"
    ]  # fmt: skip
    return table(["assumed", "value", "unit", "why"], rows)


def galleries(figures: Figures) -> str:
    """The gallery of a branch, and of everybody."""
    rows = []
    for fleet in _fleets(figures):
        branch = demand(fleet, figures)["gallery_branch"].value
        everybody = demand(fleet, figures)["faces"].value
        rows.append(
            [
                f"{fleet.gyms:,}",
                number(branch),
                f"{min(1.0, CACHE_MEMBERS / branch):.0%}",
                number(everybody),
                size(everybody * 128 * 4),
                size(everybody * 128),
                size(fleet.members * figures["feed_bytes_member"]),
                number(everybody * figures["crops_per_face"] * figures["gate_model_ms"] / 1000 / 86400),
            ]
        )
    heads = [
        "gyms", "faces of a branch", f"in the cache of {CACHE_MEMBERS:,}", "all faces", "float32 vectors", "as SQ8",
        "first sync of a node that all may enter", "days of a core to embed all anew",
    ]  # fmt: skip
    return table(heads, rows)


def shards(figures: Figures) -> str:
    """Devices for each of the prober's workers."""
    rows = []
    for fleet in _fleets(figures):
        devices = demand(fleet, figures)["devices"].value
        rows.append(
            [f"{fleet.gyms:,}", number(devices), number(devices / SHARDS), number(max(1, math.ceil(devices / 10_000)))]
        )
    return table(["gyms", "devices", f"at {SHARDS} workers, each", "workers of 10,000 (as measured)"], rows)


def _shares(values: Sequence[float]) -> str:
    return f"{min(values):.1%} to {max(values):.1%}, hour {list(values).index(max(values))} the highest"


def shown(value: float | int | str | bool) -> str:
    """Counts to the last one, since they are there to be compared."""
    if isinstance(value, bool | str):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else number(value)


TABLES: dict[str, Callable[[Figures], str]] = {
    "demand": demands,
    "needs": needs,
    "turns": turns,
    "waits": waits,
    "storage": stores,
    "validation": validated,
    "crosscheck": crossed,
    "scenarios": events_of_life,
    "galleries": galleries,
    "shards": shards,
    "assumptions": assumptions,
}


def rendered(text: str, figures: Figures) -> str:
    """The document with its tables made anew.

    Raises:
        BadDocument: its markers and TABLES are not the same.
    """
    named = [match[1] for match in _MARKED.findall(text)]
    if sorted(named) != sorted(TABLES):
        raise BadDocument(f"capacity.md: tables {sorted(set(named) ^ set(TABLES))} are marked or made, not both")
    return _MARKED.sub(lambda match: f"{match[1]}{TABLES[match[2]](figures)}{match[4]}", text)


def write() -> bool:
    """Write the tables. Returns whether anything changed."""
    before = PLACE.read_text("utf-8")
    after = rendered(before, load())
    PLACE.write_text(after, "utf-8")
    return after != before
