"""Series and their labels, as they are exported: by the product's own metrics, or read from a text of Prometheus' format."""

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics import MetricWrapperBase

Series = dict[str, frozenset[str]]
"""Labels that a series may have, by its name."""

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("platform_api", "access_edge", "infra/local/backup")
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+\S+(?:\s+-?\d+)?$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="(?:[^"\\]|\\.)*"')


def of_text(text: str) -> Series:
    """Series of an exposition (text format 0.0.4), under the names that Prometheus gives them."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in text.splitlines():
        if line and not line.startswith("#") and (sample := _SAMPLE.match(line)):
            found[sample["name"]].update(_LABEL.findall(sample["labels"] or ""))
    return {name: frozenset(labels) for name, labels in found.items()}


@cache
def of_the_product() -> Series:
    """Series of every metric that the product defines, whether or not it has a value yet."""
    found: Series = {}
    for metric in _metrics():
        assert metric._type is not None
        labels = {*metric._labelnames, *({"le"} if metric._type == "histogram" else ())}
        for suffix in SUFFIXES[metric._type]:
            found[metric._name + suffix] = frozenset(labels - ({"le"} if suffix != "_bucket" else set()))
    # Of every Python process: prometheus_client's own collectors.
    return {**of_text(generate_latest(REGISTRY).decode()), **found}


@cache
def words() -> frozenset[str]:
    """Every string in the product's source: what a label of its metrics can be set to."""
    found = {str(True), str(False)}
    for file in _sources():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return frozenset(found)


def merged(parts: Iterable[Series]) -> Series:
    """All of them; a name that several export has the labels of all."""
    found: dict[str, frozenset[str]] = {}
    for part in parts:
        for name, labels in part.items():
            found[name] = found.get(name, frozenset()) | labels
    return found


def _sources() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def _metrics() -> list[MetricWrapperBase]:
    """The metrics of every module that makes one, found by importing those modules."""
    found: dict[str, MetricWrapperBase] = {}
    for file in _sources():
        # A __main__ changes the process that imports it.
        if file.stem in ("__main__", "gunicorn_conf") or "from prometheus_client import" not in file.read_text("utf-8"):
            continue
        module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        found |= {value._name: value for value in vars(module).values() if isinstance(value, MetricWrapperBase)}
    return list(found.values())
