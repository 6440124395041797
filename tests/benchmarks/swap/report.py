"""How swaps and rollbacks under load are told."""

from typing import Any


def tables(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The figures that have a bar, and the answers as the clients saw them."""
    shown = ("requests", "failed", "wrong_gallery", "swap_ms_p95", "live_s_max", "rollback_s_max")
    title = f"{result['swaps']} swaps and {result['rollbacks']} rollbacks under {result['clients']} clients"
    figures = [{"figure": name, "measured": result[name], "at most": result["most"].get(name, "-")} for name in shown]
    answers = [
        {"time": when, "P99 ms": result[f"p99_ms_{when}"], "requests/s": result[f"requests_per_s_{when}"]}
        for when in ("before", "during")
    ]
    return [(title, figures), ("Answers, as the clients saw them", answers)]
