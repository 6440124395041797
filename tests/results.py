"""What a benchmark or a fault found, kept as JSON the same way by all: figures, the bar in words, whether it holds.

Full runs (`make bench`, `make faults`) leave `build/bench/NAME.json` and `build/faults/NAME.json`, which `make report` reads. Runs
at the small size that keeps the programs from rotting (`SMARTFIT_PROOF_SIZE=smoke`, the default of `make test`) leave theirs
below `build/smoke`: a small run never stands for a full one.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil

from ml_bentos.cores import cores

ROOT = Path(__file__).resolve().parents[1]
SIZE = "SMARTFIT_PROOF_SIZE"
Kind = Literal["bench", "faults"]
T = TypeVar("T")


def full() -> bool:
    """Whether this run is at full size."""
    return size() == "full"


def size() -> str:
    """`full`, or `smoke` (the default).

    Raises:
        ValueError: the environment says something else.
    """
    said = os.environ.get(SIZE, "smoke")
    if said not in ("full", "smoke"):
        raise ValueError(f"{SIZE}={said!r}: full or smoke")
    return said


def sized(smoke: T, whole: T) -> T:
    """One of two values, by the size of this run."""
    return whole if full() else smoke


def place(kind: Kind, name: str) -> Path:
    """Where the result of this run belongs."""
    below = ROOT / "build" if full() else ROOT / "build" / "smoke"
    return below / kind / f"{name}.json"


def save(kind: Kind, name: str, figures: dict[str, Any], *, bar: str, holds: bool) -> Path:
    """Keep a result.

    Args:
        kind: bench or faults.
        name: of the benchmark, or of the fault (`events_cluster`).
        figures: anything JSON can say; a key with a unit in its name (`p95_ms`).
        bar: in words, what must be true.
        holds: whether it is.

    Returns:
        The file. Beside the figures it says `name`, `command`, `date`, `size`, `machine`, `bar`, `holds`.
    """
    target = place(kind, name)
    told = {
        "name": name,
        "command": f"make {kind} NAME={name.split('_')[0]}",
        "date": datetime.now(UTC).date().isoformat(),
        "size": size(),
        "machine": machine(),
        "bar": bar,
        "holds": bool(holds),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    # Complete or not at all: a run that is broken off leaves the earlier result.
    written = target.with_suffix(".part")
    written.write_text(json.dumps({**told, **figures}, ensure_ascii=False, indent=1, default=_plain) + "\n", "utf-8")
    written.replace(target)
    print(f"\n{'holds' if holds else 'DOES NOT HOLD'}: {bar}\n-> {target.relative_to(ROOT)}")
    return target


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def machine() -> dict[str, Any]:
    """The shape of this machine: processor, cores this process may use, memory, versions; and how busy it is."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    return {
        "processor": model,
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "load_1_min": round(os.getloadavg()[0], 1),
    }


def table(title: str, rows: Iterable[dict[str, Any]]) -> None:
    """Print rows of like keys as a table."""
    rows = list(rows)
    if not rows:
        return
    heads = list(rows[0])
    cells = [heads, *([f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    print(f"\n{title}")
    for line in cells:
        padded = (c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        print("  " + "  ".join(padded))
