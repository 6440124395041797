"""What NetworkPolicies let through, computed from the rendered objects as a cluster does.

A connection passes where the caller's policies let it out and the called one's let it in; a pod that no policy names for a direction
is open in it. https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class End:
    """One side of a connection: a pod by its labels and its namespace's, or an address outside."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def may_connect(policies: list[Json], caller: End, called: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection passes. An address outside has no policies of its own."""
    return _passes(policies, caller, called, port, protocol, "Egress") and _passes(
        policies, called, caller, port, protocol, "Ingress"
    )


def _passes(policies: list[Json], own: End, other: End, port: int, protocol: str, direction: str) -> bool:
    if own.address:
        return True
    selecting = [policy["spec"] for policy in policies if _concerns(policy, own, direction)]
    if not selecting:
        return True
    rules, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        _ports(rule.get("ports"), port, protocol) and _peers(rule.get(peers), own.namespace, other)
        for spec in selecting
        for rule in spec.get(rules) or ()
    )


def _concerns(policy: Json, pod: End, direction: str) -> bool:
    spec = policy["spec"]
    here = pod.namespace.get("kubernetes.io/metadata.name") == policy["metadata"]["namespace"]
    return here and direction in spec["policyTypes"] and _selects(spec["podSelector"], pod.labels)


def _ports(ports: list[Json] | None, port: int, protocol: str) -> bool:
    return not ports or any(each["port"] == port and each.get("protocol", "TCP") == protocol for each in ports)


def _peers(peers: list[Json] | None, own_namespace: Mapping[str, str], other: End) -> bool:
    return peers is None or any(_peer(peer, own_namespace, other) for peer in peers)


def _peer(peer: Json, own_namespace: Mapping[str, str], other: End) -> bool:
    if block := peer.get("ipBlock"):
        return bool(other.address) and _within(other.address, block)
    if other.address:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], other.namespace):
            return False
    elif other.namespace != own_namespace:
        return False
    return _selects(peer.get("podSelector", {}), other.labels)


def _within(address: str, block: Json) -> bool:
    found = ipaddress.ip_address(address)
    if found not in ipaddress.ip_network(block["cidr"]):
        return False
    return not any(found in ipaddress.ip_network(each) for each in block.get("except", ()))


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(each, labels) for each in selector.get("matchExpressions") or ())


def _expression(expression: Json, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", [])
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(f"no such operator: {expression['operator']}")


def pods(objects: list[Json]) -> Iterator[tuple[str, Json]]:
    """(component, template) of each kind of pod that the objects make; jobs of an upgrade are one."""
    for each in objects:
        if each["kind"] in ("Deployment", "DaemonSet", "Job"):
            template = each["spec"]["template"]
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template
