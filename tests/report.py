"""`python -m tests.report`: tests/benchmarks/RESULTS.md and its plots, out of the JSON that `make bench` and `make faults` left.

A benchmark says how it is told in `tests/benchmarks/<name>/report.py`: `tables(result)` gives (title, rows of like keys), `plots(result)`
matplotlib figures by name. What has no such module is told by its plain figures. Nothing is measured here, and nothing is
written by hand there: a figure in RESULTS.md stands in a JSON file beside the command, the date and the machine it came from.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib as mpl

from tests.results import ROOT, Kind

PLACE = ROOT / "tests" / "benchmarks" / "RESULTS.md"
PLOTS = PLACE.parent / "plots"
TOLD = {"name", "command", "date", "size", "machine", "bar", "holds"}
HEAD = """# Results

What the platform promises, measured. Made by `make report` from the JSON that `make bench` and `make faults` leave in `build/`; every
part says with which command, on which day and machine. Run them again on yours: `make bench NAME=gate`, `make faults NAME=events`.
"""


def results(kind: Kind) -> list[dict[str, Any]]:
    """All results of full runs of a kind, by name."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "build" / kind).glob("*.json"))]
    return [result for result in found if result.keys() >= TOLD and result["size"] == "full"]


def plain(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """One table of all figures that are numbers or words; nested ones by their path."""

    def flat(value: dict[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
        for key, item in value.items():
            if isinstance(item, dict):
                yield from flat(item, f"{prefix}{key}.")
            elif isinstance(item, (int, float, str, bool)):
                yield {"figure": prefix + key, "measured": item}

    return [("", list(flat({key: value for key, value in result.items() if key not in TOLD})))]


def cell(value: Any) -> str:
    """As it stands in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value).replace("|", "\\|")


def markdown(rows: Iterable[dict[str, Any]]) -> str:
    """A table; rows may lack keys that others have."""
    rows = list(rows)
    heads = list(dict.fromkeys(key for row in rows for key in row))
    lines = [heads, ["---"] * len(heads), *([cell(row.get(head)) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(kind: Kind, result: dict[str, Any]) -> str:
    """All that is told of one result; draws its plots."""
    machine = result["machine"]
    parts = [
        f"### {result['name']}",
        f"**{'Holds' if result['holds'] else 'DOES NOT HOLD'}**: {result['bar']}",
        f"`{result['command']}`, {result['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Python {machine['python']}, load {machine['load_1_min']} at the end",
    ]
    own = f"tests.benchmarks.{result['name']}.report"
    teller = importlib.import_module(own) if kind == "bench" and importlib.util.find_spec(own) else None
    for title, rows in (teller.tables if teller else plain)(result):
        if rows:
            parts += [*([f"**{title}**"] if title else []), markdown(rows)]
    for name, figure in (teller.plots(result) if teller and hasattr(teller, "plots") else {}).items():
        PLOTS.mkdir(exist_ok=True)
        file = PLOTS / f"{result['name']}_{name}.svg"
        figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
        parts.append(f"![{result['name']}: {name}](plots/{file.name})")
    return "\n\n".join(parts)


def main() -> None:
    """Write it all."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "smartfit", "svg.fonttype": "none"})  # the same figures give the same file
    bench, faults = results("bench"), results("faults")
    if not bench and not faults:
        sys.exit("결과가 없습니다 (no results in build/): make bench, make faults")
    rows = [
        {"": each["name"], "holds": each["holds"], "bar": each["bar"], "on": each["date"]} for each in [*bench, *faults]
    ]
    parts = [HEAD, markdown(rows)]
    for kind, title, found in (("bench", "Benchmarks", bench), ("faults", "Faults", faults)):
        if found:
            parts += [f"## {title}", *(section(kind, result) for result in found)]  # type: ignore[arg-type]
    PLACE.write_text("\n\n".join(parts) + "\n", "utf-8")
    failing = [row[""] for row in rows if not row["holds"]]
    print(f"{PLACE.relative_to(ROOT)}: {len(rows)} results, {len(failing)} that do not hold{': ' + ', '.join(failing) if failing else ''}")  # fmt: skip


if __name__ == "__main__":
    main()
