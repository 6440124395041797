"""The fixtures of a gate node's world."""

from tests.edge_world import faces, gate_sandbox, model, world

__all__ = ["faces", "gate_sandbox", "model", "world"]
