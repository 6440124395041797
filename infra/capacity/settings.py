"""Settings and constants of the product that the reckoning rests on, read where they stand.

Constants are taken out of the source, since importing a gate node's pipeline for one number brings its networks along.
"""

import ast
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from access_edge.settings import EdgeSettings

_ASYNCAPI = Path(__file__).resolve().parents[1] / "docs" / "asyncapi.json"


@cache
def constant(module: str, name: str) -> float:
    """The number that a module assigns to `name` at its top.

    Raises:
        LookupError: it does not.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"no module {module}")
    for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return float(ast.literal_eval(node.value))
    raise LookupError(f"{module} assigns no {name}")


RELAY_BATCH = int(constant("platform_api.core.events.relay", "BATCH"))
RELAY_POLL_S = constant("platform_api.core.events.worker", "POLL")
GATE_PATIENCE_S = constant("access_edge.pipeline", "BUSY_S")
FORWARD_BATCH = int(constant("access_edge.forward", "BATCH"))
SHARDS = int(constant("platform_api.monitoring.models", "SHARDS"))


def _edge(name: str) -> Any:
    return EdgeSettings.model_fields[name].default


AT_ONCE = int(_edge("edge_recognitions_at_once"))
SYNC_S = float(_edge("edge_sync_interval_s"))
FORWARD_S = float(_edge("edge_forward_interval_s"))
CACHE_MEMBERS = int(_edge("edge_cache_members"))
OFFLINE_H = float(_edge("edge_offline_limit_h"))


@cache
def subscribers(event: str) -> tuple[str, ...]:
    """The domains that hear of an event, as the AsyncAPI document says (which a test keeps current)."""
    operations = json.loads(_ASYNCAPI.read_text("utf-8"))["operations"]
    ends = f".{event}"
    return tuple(sorted(key.removeprefix("receive.").removesuffix(ends) for key in operations if key.startswith("receive.") and key.endswith(ends)))  # fmt: skip
