"""What the product's own sources say, read without running them: for checks that hold files of operations against the code."""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path


def first_arguments(file: Path, functions: Collection[str]) -> Iterator[str]:
    """Texts handed as the first argument to a function of one of these names: as they stand, or by a constant of the module."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in functions and node.args:
            first = node.args[0]
            value = first.value if isinstance(first, ast.Constant) else constants.get(_name(first))
            if isinstance(value, str):
                yield value


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
