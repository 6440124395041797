"""Percentiles of repeated calls, and the table all parts of this benchmark print."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """P50 and P95 in milliseconds."""
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    return {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}


def timed(call: Callable[[], Any], repeats: int, warm_up: int = 3) -> list[float]:
    """Seconds of each of `repeats` calls, after some that do not count."""
    for _ in range(warm_up):
        call()
    out = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        out.append(time.perf_counter() - start)
    return out


def table(title: str, rows: Iterable[dict[str, Any]]) -> None:
    """Print rows of like keys as a table."""
    rows = list(rows)
    heads = list(rows[0])
    cells = [heads, *([f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    print(f"\n{title}")
    for line in cells:
        print(
            "  "
            + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        )
