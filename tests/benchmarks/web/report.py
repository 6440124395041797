"""How the pages' figures are told."""

from typing import Any


def tables(result: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """A row a page; the last is the page that asks no domain anything."""
    limit = {**result["limit"], "page": f"{result['limit']['page']} (limit)"}
    rows = [{"page": path, **row} for path, row in result["pages"].items()]
    return [(f"{result['rounds']} times each, {result['branches']} branches, {result['items']} items", [*rows, limit])]
