"""A second copy of the gates and branches, in a small file apart from the replica: with it the way out still opens, and
kiosks are still known, when the replica is damaged and the centre gone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import structlog

from access_edge import small_files
from access_edge.records import Branch, Gate

log = structlog.get_logger(__name__)


def read(path: Path) -> tuple[dict[str, Branch], dict[str, Gate]]:
    """What the file holds, by id; nothing where it is missing or cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        branches = [Branch.model_validate(item) for item in document["branches"]]
        gates = [Gate.model_validate(item) for item in document["gates"]]
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.error("gates_file_unreadable", error=type(error).__name__)
        return {}, {}
    return {branch.branch_id: branch for branch in branches}, {gate.gate_id: gate for gate in gates}


def write(path: Path, branches: Sequence[Branch], gates: Sequence[Gate]) -> None:
    """Replace the file, whole or not at all. On a disk that is full the one before stays: gates seldom change."""
    document = {
        "branches": [branch.model_dump(mode="json") for branch in branches],
        "gates": [gate.model_dump(mode="json") for gate in gates],
    }
    try:
        small_files.replace(path, document)
    except OSError as error:
        log.error("gates_file_not_written", error=error.strerror)
