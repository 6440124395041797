"""Damage on purpose: the power goes, the centre goes, the disk fills, files break, the model changes under load.

What must hold: the gate's state is known, nobody is let in whom the rules keep out, nobody is kept from leaving, and of
the log nothing is lost and nothing doubled.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from access_edge.ledger import Entry
from ml_bentos.face import FaceModel, load_model
from platform_api.core import clock
from tests.edge_process import NodeProcess
from tests.edge_world import GateSandbox, Kiosk, PersonPhotos, RunningNode, World, thresholds, wait_for
from tests.results import sized

pytestmark = pytest.mark.faults

BAR = (
    "killed, cut off, damaged, full, changed under load: no entry lost, none doubled, nobody let in whom the rules keep out, "
    "nobody kept from leaving"
)


@pytest.fixture
def process(branch: World) -> Iterator[NodeProcess]:
    """The node's process, started."""
    made = NodeProcess(branch)
    made.start()
    yield made
    made.stop()


def test_killed_again_and_again_no_entry_is_lost_or_doubled(
    process: NodeProcess, branch: World, gate_sandbox: GateSandbox, record: Callable[..., None]
) -> None:
    branch.centre.gate("g1", gate_sandbox.url, controller_gate_id="door-killed")
    wait_for(lambda: process.kiosk.admin("POST", "/sync").ok)
    members = iter([f"m{i:03d}" for i in range(400)])
    answered: dict[str, str] = {}
    lock, stop = threading.Lock(), threading.Event()

    def visitor() -> None:
        kiosk = Kiosk(process.kiosk.url, process.kiosk.http.verify or True)
        while not stop.is_set():
            with lock:
                member_id = next(members, None)
            if member_id is None:
                return
            # Each member shows one pass, again and again until there is an answer, whatever happens to the node.
            token = branch.centre.qr_pass(member_id)
            while not stop.is_set():
                try:
                    answer = kiosk.call("POST", "/qr", json={"token": token}, timeout=5)
                except requests.RequestException:
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    with lock:
                        answered[member_id] = answer.json()["entry_id"]
                    break
                time.sleep(0.05)

    visitors = [threading.Thread(target=visitor) for _ in range(4)]
    for thread in visitors:
        thread.start()
    kills, back = sized(2, 6), [0.0]
    for kill in range(kills):
        wait_for(lambda kill=kill: len(answered) >= 40 * (kill + 1), 60)
        process.end(signal.SIGKILL)
        began = time.monotonic()
        process.start()
        back.append(time.monotonic() - began)
    wait_for(lambda: len(answered) >= 40 * (kills + 1), 60)
    stop.set()
    for thread in visitors:
        thread.join()
    wait_for(lambda: process.kiosk.admin("GET", "/log").json()["counts"]["unsent"] == 0, 30)
    entries = branch.centre.entries
    granted = Counter(entry["member_id"] for entry in entries.values() if entry["outcome"] == "granted")
    record(
        f"kill -9 of the node under load, {kills} times", lost=len(set(answered.values()) - set(entries)),
        doubled=sum(count > 1 for count in granted.values()), recover_s=max(back), entries=len(entries),
    )  # fmt: skip
    # None lost: whoever was answered has an entry; the node's log and the centre's are of one length.
    assert set(answered.values()) <= set(entries)
    assert process.kiosk.admin("GET", "/log").json()["counts"]["entry"] == len(entries)
    # None doubled: one pass let its member in once.
    assert set(granted.values()) == {1}
    # And the gate opened for entries alone.
    results = Counter(entry["gate_result"] for entry in entries.values())
    opens = gate_sandbox.http.get(f"{gate_sandbox.url}/gates/door-killed").json()["opens"]
    assert results["opened"] <= opens <= results["opened"] + results["unknown"]
    process.end(signal.SIGTERM)
    assert process.process is not None
    assert process.process.returncode == 0


def test_a_used_pass_stays_used_after_kill_and_restart(
    process: NodeProcess, branch: World, record: Callable[..., None]
) -> None:
    token = branch.centre.qr_pass("m001")
    assert process.kiosk.qr(token)["reason"] == "granted_qr"
    process.end(signal.SIGKILL)
    began = time.monotonic()
    process.start()
    recover_s = time.monotonic() - began
    answer = process.kiosk.qr(token)
    # Kept out as used, or as too old where the start took longer than the pass is good for.
    wrong = int(
        answer["reason"] not in ("qr_replayed", "qr_expired") or (recover_s < 20 and answer["reason"] != "qr_replayed")
    )
    record("killed after a pass was used, which is shown again", lost=0, wrong=wrong, recover_s=recover_s)
    assert wrong == 0, answer


@pytest.mark.parametrize(("fail_mode", "after"), [("secure", "gallery_unavailable"), ("safe", "granted_qr")])
def test_the_centre_gone_for_long_and_back(
    branch: World, fail_mode: str, after: str, record: Callable[..., None]
) -> None:
    branch.centre.gate("g1", branch.gate.url, fail_mode=fail_mode)
    with branch.node() as node:
        branch.centre.gone = True
        wait_for(lambda: not node.node.sync.online)
        ids = []
        for hours in (0, 12, 35):
            with clock.travel(timedelta(hours=hours)):
                branch.centre.ahead = timedelta(hours=hours)
                for index in range(20):
                    answer = node.qr(branch.centre.qr_pass(f"m{hours + index:03d}"))
                    assert answer["decision"] == "granted"
                    ids.append(answer["entry_id"])
        with clock.travel(timedelta(hours=37)):
            branch.centre.ahead = timedelta(hours=37)
            answer = node.qr(branch.centre.qr_pass("m100"))
            ids.append(answer["entry_id"])
            assert answer["reason"] == after
            # Nobody unknown is let in by either, and everybody may leave.
            assert node.qr(branch.centre.qr_pass("nobody"))["decision"] == "denied"
            assert node.exit()["gate"] == "opened"
            assert node.http.get(f"{node.url}/readyz").status_code == 503
            state = node.call("GET", "/state").json()
            assert (state["offline"], state["qr"]) == (True, fail_mode == "safe")
            assert len(branch.centre.entries) == 0
            branch.centre.gone = False
            began = time.monotonic()
            wait_for(lambda: node.node.entries.counts()["unsent"] == 0, 30)
            record(
                f"the centre gone for 37 h, fail-{fail_mode}", lost=len(set(ids) - set(branch.centre.entries)),
                doubled=len(branch.centre.entries) - len(ids) - 2, recover_s=time.monotonic() - began,
            )  # fmt: skip
            assert node.node.entries.counts()["entry"] == len(branch.centre.entries) == len(ids) + 2
            assert set(ids) <= set(branch.centre.entries)
            wait_for(lambda: node.node.sync.online)
            assert node.qr(branch.centre.qr_pass("m200"))["decision"] == "granted"


def test_a_node_that_starts_without_the_centre_goes_on_by_its_replica(
    branch: World, record: Callable[..., None]
) -> None:
    with branch.node():
        pass
    branch.centre.gone = True
    began = time.monotonic()
    with branch.node() as node:
        granted = node.qr(branch.centre.qr_pass("m001"))["decision"] == "granted"
        record("started without the centre", lost=0, wrong=int(not granted), recover_s=time.monotonic() - began)
        assert granted


def test_a_node_that_never_heard_of_the_centre_opens_to_nobody(branch: World, record: Callable[..., None]) -> None:
    branch.centre.gone = True
    with branch.node() as node:
        answers = [node.call("POST", path, json={"token": "x"}) for path in ("/qr", "/exit", "/frames")]
        told = [(answer.status_code, answer.json()["code"]) for answer in answers]
        record(
            "new, and never in contact", lost=0, wrong=sum(each != (503, "not_synced") for each in told), recover_s=None
        )
        assert set(told) == {(503, "not_synced")}


def spoil(path: Path) -> None:
    """Overwrite a database from its head on."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(os.urandom(path.stat().st_size))


def test_a_damaged_replica_opens_to_nobody_without_the_centre_and_is_rebuilt_with_it(
    world: World, model: FaceModel, faces: list[PersonPhotos], record: Callable[..., None]
) -> None:
    world.centre.model(model.version, thresholds=thresholds())
    world.centre.member(faces[0].name)
    world.centre.template(faces[0].name, faces[0].rows, model.version)
    with world.node() as node:
        entry_id = node.face(faces[0].probe)["entry_id"]
        world.centre.gone = True
        wait_for(lambda: not node.node.sync.online)
    spoil(world.folder / "state" / "replica.db")
    with world.node() as node:
        for answer in (node.face(faces[0].probe), node.qr(world.centre.qr_pass(faces[0].name))):
            assert (answer["decision"], answer["reason"], answer["gate"]) == (
                "denied",
                "replica_damaged",
                "not_commanded",
            )
        assert node.call("GET", "/state").json()["reason"] == "replica_damaged"
        assert list(node.http.get(f"{node.url}/readyz").json()["failed"]) == ["replica"]
        assert "smartfit_edge_replica_damaged 1.0" in node.http.get(f"{node.url}/metrics").text
        # The way out needs no replica, and the log is another file.
        assert node.exit()["gate"] == "opened"
        assert node.node.entries.counts()["entry"] == 4
        world.centre.gone = False
        began = time.monotonic()
        wait_for(lambda: not node.node.replica.damaged)
        node.settle()
        granted = node.face(faces[0].probe)["decision"] == "granted"
        recover_s = time.monotonic() - began
        wait_for(lambda: len(world.centre.entries) == 5)
        lost = int(entry_id not in world.centre.entries)
        record(
            "the replica overwritten while the node was down", lost=lost, wrong=int(not granted), recover_s=recover_s
        )
        assert granted
        assert lost == 0


def test_a_replica_that_breaks_while_in_use_is_noticed_and_rebuilt(branch: World, record: Callable[..., None]) -> None:
    with branch.node() as node:
        assert node.qr(branch.centre.qr_pass("m001"))["decision"] == "granted"
        path = branch.folder / "state" / "replica.db"
        node.node.replica.scrub()
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
        began, answers = time.monotonic(), set()
        for _ in range(200):
            # A new connection each time is a new thread of the server, which reads the file anew.
            kiosk = Kiosk(node.url)
            answers.add(kiosk.qr(branch.centre.qr_pass("m002"))["reason"])
            if "granted_qr" in answers and len(answers) > 1:
                break
        assert answers <= {"granted_qr", "replica_damaged"}
        wait_for(lambda: not node.node.replica.damaged and node.node.replica.complete)
        node.settle()
        assert node.qr(branch.centre.qr_pass("m003"))["decision"] == "granted"
        recover_s = time.monotonic() - began
        record(
            "the replica overwritten while in use", lost=400 - node.node.replica.count("member"), recover_s=recover_s
        )
        assert node.node.replica.count("member") == 400


def test_a_log_that_takes_no_more_lets_nobody_in_and_everybody_out(
    branch: World, gate_sandbox: GateSandbox, record: Callable[..., None]
) -> None:
    with branch.node(settings={"edge_log_max_mib": 0.3}) as node:
        branch.centre.gone = True
        wait_for(lambda: not node.node.sync.online)
        opens = gate_sandbox.show("g1")["opens"]
        filled = 0
        with suppress(Exception):
            for _ in range(10_000):
                with node.node.entries.deciding() as ledger:
                    for _ in range(20):
                        ledger.append(Entry("g1", "gangnam", clock.now(), "qr", "in", "denied", "qr_forged"), False)
                filled += 20
        answer = node.qr(branch.centre.qr_pass("m001"))
        assert (answer["decision"], answer["reason"], answer["gate"]) == ("denied", "log_unavailable", "not_commanded")
        assert answer["entry_id"] is None
        assert gate_sandbox.show("g1")["opens"] == opens
        leaving = node.exit()
        assert (leaving["decision"], leaving["gate"]) == ("granted", "opened")
        assert gate_sandbox.show("g1")["opens"] == opens + 1
        assert "log" in node.http.get(f"{node.url}/readyz").json()["failed"]
        # The pass was not used up by the refusal. Back with the centre, nothing is missing.
        branch.centre.gone = False
        began = time.monotonic()
        wait_for(lambda: node.node.entries.counts()["unsent"] + node.node.entries.counts()["deferred"] == 0, 60)
        lost = filled + 1 - len(branch.centre.entries)
        record("the log at its limit", lost=max(0, lost), doubled=max(0, -lost), recover_s=time.monotonic() - began)
        assert len(branch.centre.entries) == filled + 1
        assert [e["reason"] for e in branch.centre.entries.values()].count("exit") == 1
        assert node.qr(branch.centre.qr_pass("m001"))["decision"] == "granted"


class Renamed:
    """The shipped model, under any name."""

    def __call__(self, version: str | None) -> FaceModel:
        model = load_model()
        return model if version in (None, model.version) else FaceModel(str(version), model.detector, model.backend)


def test_models_change_under_load_and_no_request_fails(
    world: World, model: FaceModel, faces: list[PersonPhotos], record: Callable[..., None]
) -> None:
    versions = [model.version, "next-1", "next-2"]
    for person in faces[:4]:
        world.centre.member(person.name)
        for version in versions:
            world.centre.template(person.name, person.rows, version, f"{person.name}-{version}")
    told = {version: {**thresholds(), "model_version": version} for version in versions}
    world.centre.model(model.version, thresholds=told[model.version])
    answers: list[dict[str, Any]] = []
    stop = threading.Event()
    with world.node(load=Renamed()) as node, ThreadPoolExecutor(3) as pool:

        def visit(index: int) -> None:
            kiosk = Kiosk(node.url)
            while not stop.is_set():
                person = faces[index]
                answer = kiosk.face(person.probe)
                answers.append({**answer, "right": answer["member_id"] == person.name})

        visits = [pool.submit(visit, index) for index in range(3)]
        for version in ("next-1", "next-2", "next-1", model.version):
            world.centre.model(version, thresholds=told[version])
            wait_for(lambda version=version: live(node) == version, 30)
            seen = len(answers)
            wait_for(lambda seen=seen: len(answers) >= seen + 6, 60)
        stop.set()
        for visit_ in visits:
            visit_.result()
    wrong = sum(answer["decision"] != "granted" or not answer["right"] for answer in answers)
    record("four changes of the model under load", lost=0, wrong=wrong, recover_s=None, answers=len(answers))
    assert wrong == 0
    assert {answer["model_version"] for answer in answers} == set(versions)


def live(node: RunningNode) -> str:
    """The version of the live bundle."""
    bundle = node.node.holder.current
    return bundle.model.version if bundle else ""


def test_nobody_withdrawn_is_recognised_while_galleries_are_rebuilt_under_load(
    world: World, model: FaceModel, faces: list[PersonPhotos], record: Callable[..., None]
) -> None:
    world.centre.model(model.version, thresholds=thresholds())
    person = faces[0]
    world.centre.member(person.name)
    world.centre.template(person.name, person.rows, model.version)
    rng = np.random.default_rng(5)
    with world.node() as node:
        assert node.face(person.probe)["member_id"] == person.name
        for index in range(300):
            rows = rng.normal(size=(1, 128)).astype(np.float32)
            world.centre.template(f"filler{index}", rows / np.linalg.norm(rows), model.version)
        world.centre.delete("template", f"t-{person.name}-{model.version}")
        wait_for(lambda: node.node.sync.catch_up(10))
        found = node.face(person.probe)["reason"]
        record("withdrawn while the gallery is rebuilt", lost=0, wrong=int(found != "no_match"), recover_s=None)
        assert found == "no_match"
        bundle = node.node.holder.current
        assert bundle is not None
        assert person.name not in bundle.vectors
