"""What the product logs: the names in every call of a logger, read out of the source."""

import ast
import ipaddress
from collections import defaultdict
from pathlib import Path
from typing import Any

PACKAGES = ("platform_api", "access_edge")
_LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
_LOGGERS = ("log.", "structlog.get_logger(")
_NO_FIELDS = frozenset({"exc_info", "stack_info"})


def logged(root: Path) -> dict[str, list[str]]:
    """{name: where it is logged, file:line} for every keyword of a call of a logger, and what is bound for a whole request."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _is_logging(node.func):
                    for keyword in node.keywords:
                        if keyword.arg and keyword.arg not in _NO_FIELDS:
                            found[keyword.arg].append(f"{file.relative_to(root)}:{node.lineno}")
    return dict(found)


def _is_logging(function: ast.expr) -> bool:
    name = ast.unparse(function)
    if name.endswith("bind_contextvars"):
        return True
    return name.startswith(_LOGGERS) and name.rpartition(".")[2] in _LEVELS


def fits(kind: str, value: Any) -> bool:
    """Whether Elasticsearch takes a value of JSON into a field of that type as it stands."""
    if kind == "long":
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if kind == "double":
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != float("inf")
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "ip":
        return isinstance(value, str) and _is_address(value)
    texts = value if isinstance(value, list) else [value]
    return all(isinstance(each, str) for each in texts)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
