"""How the cost of learning is told."""

from typing import Any

Rows = list[dict[str, Any]]


def tables(result: dict[str, Any]) -> list[tuple[str, Rows]]:
    """Steps of teaching by device; then what grows with photos and templates, stated for 10,000 of them."""
    steps = [
        {
            "model": row["model"],
            "device": row["device"],
            "work": row["work"],
            "ms": _of(row["s"], 1000),
            "network alone, ms": _of(row["limit_s"], 1000),
            "times": _times(row),
        }
        for row in result["steps"]
    ]
    head = [{"work": row["work"], "photos": row["photos"], "s": _of(row["s"])} for row in result["heads"]]
    work = [
        {
            "work": row["work"],
            "s per 10k": _of(row["s"] and row["s"] / row["measured_on"] * 10_000),
            "the limit, s per 10k": _of(row["limit_s"] and row["limit_s"] / row["measured_on"] * 10_000),
            "times": _times(row),
            "limit": row["limit"],
            "measured on": row["measured_on"],
        }
        for row in result["work"]
    ]
    return [
        ("A step of teaching", steps),
        ("Head of the laundry model on features that are there: fitted with cross-validation, calibrated", head),
        ("Per 10,000 photos, or templates", work),
    ]


def _times(row: dict[str, Any]) -> str:
    return f"{row['s'] / row['limit_s']:.2f}" if row["s"] and row["limit_s"] else ""


def _of(seconds: float | None, factor: int = 1) -> str:
    return "-" if seconds is None else f"{seconds * factor:.4g}"
