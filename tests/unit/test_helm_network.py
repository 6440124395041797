"""What a NetworkPolicy lets through is computed as Kubernetes defines it, and a rule too many or too few is found."""

import copy
from typing import Any

import pytest

from infra.checks import helm_network
from infra.checks.check import CheckFailed
from infra.helm import chart
from infra.helm.gateway import changes
from infra.helm.network import End, may_connect

HERE = {"kubernetes.io/metadata.name": "gym"}
THERE = {"kubernetes.io/metadata.name": "other"}
API, DATABASE = End({"app": "api"}, HERE), End({"app": "database"}, HERE)


def policy(selector: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "gym"}, "spec": {"podSelector": {"matchLabels": selector}, **spec}}


DENY = policy({}, policyTypes=["Ingress", "Egress"])
OUT = policy(
    {"app": "api"}, policyTypes=["Egress"],
    egress=[{"to": [{"podSelector": {"matchLabels": {"app": "database"}}}], "ports": [{"port": 5432, "protocol": "TCP"}]}],
)  # fmt: skip
IN = policy(
    {"app": "database"}, policyTypes=["Ingress"],
    ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "api"}}}], "ports": [{"port": 5432, "protocol": "TCP"}]}],
)  # fmt: skip


def test_without_a_policy_everything_passes_and_with_default_deny_nothing() -> None:
    assert may_connect([], API, DATABASE, 5432)
    assert not may_connect([DENY], API, DATABASE, 5432)


def test_both_ends_must_agree() -> None:
    assert not may_connect([DENY, OUT], API, DATABASE, 5432)
    assert not may_connect([DENY, IN], API, DATABASE, 5432)
    assert may_connect([DENY, OUT, IN], API, DATABASE, 5432)
    assert not may_connect([DENY, OUT, IN], API, DATABASE, 5433)
    assert not may_connect([DENY, OUT, IN], API, DATABASE, 5432, "UDP")
    assert not may_connect([DENY, OUT, IN], DATABASE, API, 5432)


def test_labels_of_another_namespace_do_not_count() -> None:
    assert not may_connect([DENY, IN], End({"app": "api"}, THERE), DATABASE, 5432)


@pytest.mark.parametrize(("address", "passes"), [("192.0.2.1", True), ("10.1.2.3", False), ("192.0.2.77", False)])
def test_blocks_of_addresses_have_their_exceptions(address: str, passes: bool) -> None:
    block = {"cidr": "192.0.2.0/24", "except": ["192.0.2.64/26"]}
    out = policy({"app": "api"}, policyTypes=["Egress"], egress=[{"to": [{"ipBlock": block}]}])
    assert may_connect([DENY, out], API, End(address=address), 443) is passes


def test_a_rule_too_many_and_a_rule_too_few_are_found() -> None:
    values = helm_network.apart({})
    objects, merged = chart.rendered(values), chart.merged(values)
    assert helm_network.differences(objects, merged) == []
    (branch,) = [each for each in objects if each["metadata"]["name"] == "gym-talks-branch"]
    more = copy.deepcopy(objects)
    extra = copy.deepcopy(branch)
    extra["spec"] = {
        **extra["spec"],
        "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}],
    }
    assert helm_network.differences([*more, extra], merged) == ["branch to anywhere must not be"]
    fewer = [each for each in objects if each is not branch]
    found = helm_network.differences(fewer, merged)
    assert "gateway to branch:8000 must be let through" in found
    assert "branch to database must be let through" in found


def test_an_open_release_is_found() -> None:
    values = helm_network.apart({"network": {"policies": False}})
    found = helm_network.differences(chart.rendered(values), chart.merged(values))
    assert "branch to auth:8000 must not be" not in found
    assert "helper to branch:8000 must not be" in found


def test_changes_make_one_document_of_the_other() -> None:
    before = {"a": [{"b": 1}, {"b": 2, "c": 3}], "d": "x", "e": {"f": True}}
    after = {"a": [{"b": 1}, {"b": 5}], "d": "x", "e": {"f": True, "g": [1]}}
    found = changes(before, after)
    assert found == [[["a"], after["a"]], [["e", "g"], [1]]]
    with pytest.raises(ValueError, match="root"):
        changes([1], [1, 2])


def test_an_address_that_nobody_lets_through_is_found() -> None:
    helm_network.ways({"store": {"endpoint": "https://minio.example.com"}})
    with pytest.raises(CheckFailed, match=r"branch may not go to https://minio\.example\.com:9000"):
        helm_network.ways({"store": {"endpoint": "https://minio.example.com:9000"}})
