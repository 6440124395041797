"""PromQL held against the series that exist: every name, every label, and the values that the product's own labels take.

A rule on a series that nobody exports never fires and never complains, so it is found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import promql_parser as promql
from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, Call, Expr, LabelModifierType, VectorSelector

from infra.observability.metrics.exposition import Series

TARGET = frozenset({"job", "instance"})
"""Labels that Prometheus adds to every series; a series' own label of that name becomes exported_<name>."""
BY_PROMETHEUS: Series = {
    "up": TARGET,
    "ALERTS": frozenset({"alertname", "alertstate", "severity", "team"}),
}
_WORD = re.compile(r"[A-Za-z_]\w*")
# What a function makes of the labels it is given.
_MAKE_LABELS = {"label_replace": 1, "label_join": 1}


@dataclass(frozen=True)
class World:
    """What there is.

    Attributes:
        series: as exported.
        words: strings that values of labels of the product's own series (`own`) come from.
        made: series of recording rules; they have the labels of their expression, and none of a target.
    """

    series: Series
    words: frozenset[str]
    own: str = "smartfit_"
    made: Series = field(default_factory=dict)

    def recording(self, rules: Iterable[tuple[str, str]]) -> World:
        """With what these rules (name, expression) make; a later one may build on an earlier."""
        world = self
        for name, expression in rules:
            world = replace(world, made={**world.made, name: labels_of(parse(expression), world)})
        return world

    def labels(self, name: str) -> frozenset[str] | None:
        """Labels of a series as it is in Prometheus; None where there is no such series."""
        if name in self.made:
            return self.made[name]
        if name in BY_PROMETHEUS:
            return BY_PROMETHEUS[name]
        if name not in self.series:
            return None
        return frozenset(f"exported_{label}" if label in TARGET else label for label in self.series[name]) | TARGET


def parse(query: str) -> Expr:
    """The tree of a query. Raises ValueError with the parser's words."""
    return promql.parse(query)


def complaints(query: str, world: World) -> list[str]:
    """What the query names that does not exist; empty where all is well."""
    try:
        tree = parse(query)
    except ValueError as error:
        return [f"no PromQL: {error}"]
    found = [words for selector in _selectors(tree) for words in _of_selector(selector, world)]
    return found + _of_labels(tree, world)


def labels_of(tree: Expr, world: World) -> frozenset[str]:
    """Labels that the answer to a query may have."""
    if isinstance(tree, VectorSelector):
        return world.labels(tree.name or "") or frozenset()
    if isinstance(tree, AggregateExpr):
        inner = labels_of(tree.expr, world)
        if str(tree.op) in ("topk", "bottomk", "limitk"):
            return inner
        if tree.modifier is None:
            return frozenset()
        named = frozenset(tree.modifier.labels)
        return inner & named if tree.modifier.type == AggModifierType.By else inner - named
    found = frozenset(label for child in _children(tree) for label in labels_of(child, world))
    if isinstance(tree, Call) and tree.func.name in _MAKE_LABELS:
        made = tree.args[_MAKE_LABELS[tree.func.name]]
        found |= {made.val}
    if isinstance(tree, Call) and tree.func.name == "histogram_quantile":
        found -= {"le"}
    return found


def _of_selector(selector: VectorSelector, world: World) -> Iterator[str]:
    name = selector.name
    labels = world.labels(name or "")
    if name is None or labels is None:
        yield f"no series {name}"
        return
    for matcher in selector.matchers.matchers:
        if matcher.name not in labels:
            yield f"{name} has no label {matcher.name}"
        elif name.startswith(world.own) and matcher.name not in {*TARGET, "le"}:
            regular = str(matcher.op) in ("MatchOp.Re", "MatchOp.NotRe")
            for value in matcher.value.split("|") if regular else [matcher.value]:
                if value and _WORD.fullmatch(value) and value not in world.words:
                    yield f"{name} never has {matcher.name}={value!r}"


def _of_labels(tree: Expr, world: World) -> list[str]:
    """Labels that are grouped by or matched on, where no series below has them."""
    found = []
    if isinstance(tree, AggregateExpr) and tree.modifier is not None:
        missing = set(tree.modifier.labels) - labels_of(tree.expr, world)
        found += [f"{tree.op} by or without {label}, which is not there" for label in sorted(missing)]
    if isinstance(tree, BinaryExpr) and tree.modifier is not None and tree.modifier.matching is not None:
        matching = tree.modifier.matching
        if matching.type == LabelModifierType.Include:
            for side in (tree.lhs, tree.rhs):
                missing = set(matching.labels) - labels_of(side, world)
                found += [f"matched on {label}, which {side.prettify().strip()} has not" for label in sorted(missing)]
    return found + [words for child in _children(tree) for words in _of_labels(child, world)]


def _selectors(tree: Expr) -> Iterator[VectorSelector]:
    if isinstance(tree, VectorSelector):
        yield tree
    for child in _children(tree):
        yield from _selectors(child)


def _children(tree: Expr) -> list[Expr]:
    if isinstance(tree, BinaryExpr):
        return [tree.lhs, tree.rhs]
    if isinstance(tree, AggregateExpr):
        return [each for each in (tree.param, tree.expr) if each is not None]
    if isinstance(tree, Call):
        return list(tree.args)
    if isinstance(tree, promql.MatrixSelector):
        return [tree.vector_selector]
    if isinstance(tree, promql.SubqueryExpr | promql.ParenExpr | promql.UnaryExpr):
        return [tree.expr]
    return []
