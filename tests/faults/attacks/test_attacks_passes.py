"""Passes that were copied: shown again, at once, at another gate, in another branch, late, and altered in every part."""

from __future__ import annotations

import base64
import concurrent.futures
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.edge_world import BRANCH, GateSandbox, RunningNode, World, gate_sandbox
from tests.faults.attacks.tally import Tally
from tests.faults.attacks.written import Written
from tests.results import sized

__all__ = ["gate_sandbox"]
pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PART = "passes"
BAR = "a pass opens one gate once, in its thirty seconds and its branch; copies and forgeries open none"
# Shorter than this it is a piece of the header, which is that of all.
LONG = 100
SHOWN: list[str] = []
"""Passes that were held to a gate."""


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory, gate_sandbox: GateSandbox) -> Iterator[World]:
    """A node with two gates of one branch and one of another."""
    gate_sandbox.faults()
    made = World.make(tmp_path_factory.mktemp("passes"), gate_sandbox)
    made.centre.gate("g2", gate_sandbox.url)
    made.centre.put("branch", "mapo", {"branch_id": "mapo", "name": "마포점", "timezone": "Asia/Seoul"})
    made.centre.gate("g3", gate_sandbox.url, branch_id="mapo")
    made.centre.member("kim")
    yield made
    made.centre.server.shutdown()
    made.centre.server.server_close()


@pytest.fixture(scope="module")
def node(branch: World, tally: Tally, written: Written) -> Iterator[RunningNode]:
    """The node, whose log is kept, and searched for passes in the end."""
    with branch.node() as running:
        written.attach()
        yield running
        for token in SHOWN:
            written.add(token, "pass")


def show(node: RunningNode, token: Any, gate: str = "g1") -> str:
    """Hold a pass to a gate; what was decided, and why."""
    if isinstance(token, str) and len(token) > LONG:
        SHOWN.append(token)
    answer = node.call("POST", "/qr", gate, json={"token": token})
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        return f"refused {answer.status_code}"
    said = answer.json()
    if said["decision"] != "granted":
        assert said["gate"] == "not_commanded", said
    return f"{said['decision']} {said['reason']}"


def altered(good: str) -> Iterator[tuple[str, str]]:
    """Copies of a good pass with one part of it another, by what is."""
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))

    def encode(part: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()

    for word, value in (
        ("sub", "lee"), ("branch_id", "mapo"), ("exp", claims["exp"] + 3600), ("nbf", 0), ("jti", "another"), ("typ", "access"),
        ("iat", claims["iat"] + 60),
    ):  # fmt: skip
        yield f"claim {word}", f"{head}.{encode({**claims, word: value})}.{signature}"
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    for alg in ("none", "HS256", "ES256"):
        yield f"alg {alg}", f"{encode({**header, 'alg': alg})}.{body}.{signature if alg != 'none' else ''}"
    for kid in ("", "qr-2", "../qr-1", "' OR 1=1 --"):
        yield "kid", f"{encode({**header, 'kid': kid})}.{body}.{signature}"
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    for bit in range(0, len(raw) * 8, sized(64, 4)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        yield "a bit of the signature", f"{head}.{body}.{base64.urlsafe_b64encode(flipped).rstrip(b'=').decode()}"
    for cut in range(1, len(good), sized(40, 7)):
        yield "cut", good[:cut]
    yield "twice", good + good
    yield "with more", f"{good}.{signature}"
    yield "nothing", ""
    yield "too long", good + "A" * 10_000


def test_a_pass_is_good_once(branch: World, node: RunningNode, tally: Tally) -> None:
    for _ in range(sized(3, 20)):
        token = branch.centre.qr_pass("kim")
        assert show(node, token) == "granted granted_qr"
        for gate in ("g1", "g1", "g2", "g3"):
            said = show(node, token, gate)
            tally.judge("shown again", said.startswith("denied"), f"{gate}: {said}")
    tally.check()


def test_shown_at_once_one_is_let_in(branch: World, node: RunningNode, tally: Tally) -> None:
    """By eight people at two gates, in the same moment."""
    for _ in range(sized(3, 25)):
        token = branch.centre.qr_pass("kim")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            said = Counter(pool.map(show, [node] * 8, [token] * 8, ["g1", "g2"] * 4))
        tally.tried("shown at once", 8)
        if said["granted granted_qr"] != 1 or said["denied qr_replayed"] != 7:
            tally.accepted("shown at once", str(said))
    tally.check()


def test_altered_forged_late_and_elsewhere(branch: World, node: RunningNode, tally: Tally) -> None:
    centre, now = branch.centre, int(branch.centre.now().timestamp())
    good = centre.qr_pass("kim")
    others = [
        ("another branch's gate", centre.qr_pass("kim"), "g3"), ("late", centre.qr_pass("kim", iat=now - 33, nbf=now - 33, exp=now - 3), "g1"),
        ("an hour late", centre.qr_pass("kim", iat=now - 3600, nbf=now - 3600, exp=now - 3570), "g1"),
        ("early", centre.qr_pass("kim", iat=now + 600, nbf=now + 600, exp=now + 630), "g1"),
        ("a long life", centre.qr_pass("kim", exp=now + 10**6), "g1"), ("another key", centre.qr_pass("kim", key=Ed25519PrivateKey.generate()), "g1"),
        ("nobody's kid", centre.qr_pass("kim", kid="nobody"), "g1"), ("of nobody", centre.qr_pass("nobody"), "g1"),
        ("no kind", centre.qr_pass("kim", typ=None), "g1"), ("every branch", centre.qr_pass("kim", branch_id="*"), "g1"),
        ("branches in a list", centre.qr_pass("kim", branch_id=[BRANCH]), "g1"), ("a list of members", centre.qr_pass("kim", sub=["kim"]), "g1") ,
    ]  # fmt: skip
    for kind, token, gate in [*((kind, token, "g1") for kind, token in altered(good)), *others]:
        said = show(node, token, gate)
        tally.judge(kind, not said.startswith("granted"), f"{token[:80]}: {said}")
    for odd in (None, 1, [], {"a": 1}, [good]):
        tally.judge("no text", not show(node, odd).startswith("granted"), repr(odd))
    # After all that, the one that was copied is still good, once.
    assert show(node, good) == "granted granted_qr"
    tally.check()


def test_used_stays_used_when_the_node_starts_again(branch: World, tally: Tally, tmp_path: Path) -> None:
    """And what another node of the same branch says of it, that has heard of nothing: it is told, not hidden."""
    token = branch.centre.qr_pass("kim")
    state = {"settings": {"edge_state_dir": tmp_path / "state"}}
    with branch.node(**state) as first:
        assert show(first, token) == "granted granted_qr"
    with branch.node(**state) as again:
        said = show(again, token)
        tally.judge("after a restart", said == "denied qr_replayed", said)
        tally.judge("after a restart", not show(again, token, "g3").startswith("granted"), "g3")
    with branch.node(settings={"edge_state_dir": tmp_path / "other"}) as other:
        tally.more["at_another_node_of_the_branch_within_its_seconds"] = show(other, token)
        tally.judge("at another branch's node", not show(other, token, "g3").startswith("granted"), "g3")
    tally.check()
