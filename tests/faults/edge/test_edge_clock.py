"""Time itself goes wrong: the centre gone for 36 hours over the ends of memberships, and the node's clock set while people come.

What must hold: the rules go by the right moment, nobody is locked out, no pass opens twice, and the log is whole and in order.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from access_edge.hours import parse_moment, zone
from ml_bentos.face import FaceModel
from platform_api.core import clock
from tests.edge_world import PersonPhotos, RunningNode, World, strangers, wait_for
from tests.results import sized

pytestmark = pytest.mark.faults

BAR = (
    "over a cut of 36 h and clocks set by minutes to years: every decision by the right moment, no pass used twice, nobody "
    "locked out, every entry once at the centre and in order"
)
SEOUL = zone("Asia/Seoul")
AT_ONCE_S = 2.0
"""Nobody may be kept out for longer after a clock was set."""
AHEAD = timedelta(minutes=5)
"""The centre takes no entries from further ahead."""


def at(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])


def in_order(world: World) -> int:
    """How many entries came to the centre with a time before the one logged before them."""
    times = [at(entry) for entry in world.centre.entries.values()]
    return sum(later < earlier for earlier, later in itertools.pairwise(times))


def back(node: RunningNode, world: World) -> float:
    """Seconds from the return of the centre until it has the whole log and the node is ready."""
    began = time.monotonic()
    world.centre.gone = False
    node.node.sync.loop.wake()
    wait_for(lambda: node.node.entries.counts()["unsent"] == 0, 30)
    wait_for(lambda: node.node.sync.online)
    return time.monotonic() - began


def test_a_cut_of_36_hours_over_both_ends_of_memberships(
    branch: World, model: FaceModel, faces: list[PersonPhotos], record: Callable[..., None]
) -> None:
    today = clock.now().astimezone(SEOUL).date()
    tomorrow = today + timedelta(days=1)
    midnight = parse_moment(str(tomorrow), SEOUL)
    branch.centre.member("ends", valid_until=str(today))
    branch.centre.member("begins", valid_from=str(tomorrow))
    branch.centre.member("frozen", freezes=[{"from": str(tomorrow), "until": str(tomorrow)}])
    by_face = faces[0]
    branch.centre.member(by_face.name, valid_until=str(today))
    branch.centre.template(by_face.name, by_face.rows, model.version)
    until = midnight - clock.now()
    moments = [timedelta(hours=h) for h in sized((0, 35.9), (*tuple(range(36)), 35.9))]
    moments += [until - timedelta(minutes=1), until + timedelta(minutes=1)]
    wrong: list[str] = []
    logged: list[str] = []
    with branch.node() as node:
        branch.centre.gone = True
        wait_for(lambda: not node.node.sync.online)
        opens = branch.gate.show("g1")["opens"]
        granted = 0
        for ahead in sorted(moments):
            with clock.travel(ahead):
                branch.centre.ahead = ahead
                before = clock.now() < midnight
                late = clock.now() >= midnight + timedelta(days=1)
                expected = {
                    "ends": "granted_qr" if before else "membership_expired",
                    "begins": "membership_not_started" if before else "granted_qr",
                    "frozen": "granted_qr" if before or late else "membership_frozen",
                    "m001": "granted_qr",
                }
                answers = {who: node.qr(branch.centre.qr_pass(who)) for who in expected}
                answers["face"] = node.face(by_face.probe)
                expected["face"] = "granted" if before else "membership_expired"
                wrong += [
                    f"{who} at +{ahead}: {a['reason']}" for who, a in answers.items() if a["reason"] != expected[who]
                ]
                logged += [answer["entry_id"] for answer in answers.values()]
                granted += sum(reason in ("granted", "granted_qr") for reason in expected.values())
        assert not branch.centre.entries
        with clock.travel(timedelta(hours=36)):
            branch.centre.ahead = timedelta(hours=36)
            recover_s = back(node, branch)
            after = node.qr(branch.centre.qr_pass("begins"))
            logged.append(after["entry_id"])
            wrong += [after["reason"]] * (after["reason"] != "granted_qr")
            wait_for(lambda: node.node.entries.counts()["unsent"] == 0)
        lost = len(set(logged) - set(branch.centre.entries))
        strange = len(set(branch.centre.entries) - set(logged))
        opened = branch.gate.show("g1")["opens"] - opens
    record(
        "centre gone for 36 h, memberships end and begin in between",
        lost=lost, doubled=strange, wrong=len(wrong), recover_s=recover_s,
        entries=len(logged), granted=granted, out_of_order=in_order(branch),
    )  # fmt: skip
    assert wrong == []
    assert (lost, strange, in_order(branch)) == (0, 0, 0)
    assert opened == granted + 1
    assert recover_s < 10


JUMPS = sized(
    (timedelta(minutes=3), timedelta(hours=-2), timedelta(days=400)),
    tuple(
        sign * delta
        for delta in (
            timedelta(minutes=1),
            timedelta(minutes=7),
            timedelta(hours=2),
            timedelta(hours=40),
            timedelta(days=400),
        )
        for sign in (1, -1)
    ),
)


@pytest.mark.parametrize("reachable", [True, False], ids=["centre there", "centre gone"])
def test_the_clock_is_set_forward_and_back_while_people_come(
    branch: World, lfw: Path, reachable: bool, record: Callable[..., None]
) -> None:
    branch.centre.gate(
        "g1", branch.gate.url, anti_passback={"mode": "timeout", "minutes": 10},
        lockout={"enabled": True, "misses": 3, "window_s": 60, "block_s": 2},
    )  # fmt: skip
    # Where a real centre would say so.
    branch.centre.refuse_entry = lambda entry: "at_in_future" if at(entry) > clock_of_centre(branch) + AHEAD else None
    stranger = strangers(lfw, 1)[0]
    wrong: list[str] = []
    logged: list[str] = []
    waited = [0.0]
    members = iter(range(400))

    def expect(what: str, answer: dict[str, Any], *reasons: str) -> None:
        logged.extend(filter(None, [answer["entry_id"]]))
        if answer["reason"] not in reasons:
            wrong.append(f"{what}: {answer['reason']}")

    with branch.node() as node:

        def comes_in(what: str) -> tuple[str, str]:
            """Somebody new comes: with what delay is told. Returns the member and the pass."""
            who, began = f"m{next(members):03d}", time.monotonic()
            while True:
                token = branch.centre.qr_pass(who)
                answer = node.qr(token)
                if answer["entry_id"]:
                    logged.append(answer["entry_id"])
                if answer["decision"] == "granted":
                    waited.append(time.monotonic() - began)
                    return who, token
                if time.monotonic() - began > AT_ONCE_S:
                    wrong.append(f"{what}: kept out, {answer['reason']}")
                    return who, token
                time.sleep(0.05)

        if not reachable:
            branch.centre.gone = True
            wait_for(lambda: not node.node.sync.online)
        before, last_token = comes_in("before any jump")
        for jump in JUMPS:
            name = f"{jump.total_seconds() / 3600:+g} h"
            for _ in range(3):
                expect(f"{name}: a stranger", node.face(stranger), "no_match")
            with clock.jump(jump):
                expect(f"{name}: faces are paused", node.face(stranger), "lockout")
                node.node._tidy()
                expect(f"{name}: replay", node.qr(last_token), "qr_replayed", "anti_passback")
                expect(f"{name}: once more", node.qr(branch.centre.qr_pass(before)), "anti_passback")
                during, token = comes_in(f"{name}: during")
                node.node._tidy()
            expect(f"{name}: replay after", node.qr(token), "qr_replayed", "anti_passback")
            expect(f"{name}: once more after", node.qr(branch.centre.qr_pass(during)), "anti_passback")
            wait_for(lambda: node.call("GET", "/state").json()["lockout"]["active"] is False, 5)
            before, last_token = comes_in(f"{name}: after")
        # The pause of faces ended by itself, each time.
        expect("the end: faces", node.face(stranger), "no_match")
        recover_s = back(node, branch)
        entries = branch.centre.entries
        off = max(abs(at(entry) - clock_of_centre(branch)) for entry in entries.values())
    lost, strange = len(set(logged) - set(entries)), len(set(entries) - set(logged))
    record(
        f"the clock is set {len(JUMPS)} times, {'with the centre' if reachable else 'without the centre'}",
        lost=lost, doubled=strange, wrong=len(wrong), recover_s=max(*waited, recover_s), entries=len(entries),
        longest_kept_out_s=round(max(waited), 2), out_of_order=in_order(branch),
    )  # fmt: skip
    assert wrong == []
    assert (lost, strange, in_order(branch)) == (0, 0, 0)
    # The log tells when it really was.
    assert off < timedelta(minutes=5)


def clock_of_centre(branch: World) -> datetime:
    return branch.centre.now()


@pytest.fixture
def wrong_clock() -> Iterator[ExitStack]:
    """Clocks that are set and stay so, to the end of the test."""
    with ExitStack() as stack:
        yield stack


def test_a_node_that_starts_alone_with_a_dead_battery_or_a_clock_set_meanwhile(
    branch: World, wrong_clock: ExitStack, record: Callable[..., None]
) -> None:
    with branch.node() as node:
        used = branch.centre.qr_pass("m000")
        logged = [node.qr(used)["entry_id"]]
        branch.centre.gone = True
        wait_for(lambda: not node.node.sync.online)
        # Set while it runs, kept for the next start.
        wrong_clock.enter_context(clock.jump(timedelta(hours=-3)))
        kept = node.node.replica.meta("clock_offset")
        node.node.sync.loop.wake()
        wait_for(lambda: node.node.replica.meta("clock_offset") != kept, 20)
    wrong: list[str] = []
    began = time.monotonic()
    with branch.node() as node:
        answers = [node.qr(branch.centre.qr_pass("m001")), node.qr(used)]
        logged += [answer["entry_id"] for answer in answers]
        wrong += [answer["reason"] for answer in answers if answer["reason"] not in ("granted_qr", "qr_replayed")]
        wrong += ["replayed"] * (answers[1]["decision"] == "granted")
    # The battery is dead: it wakes up years ago, and is not believed.
    wrong_clock.enter_context(clock.jump(timedelta(days=-900)))
    with branch.node() as node:
        answer = node.qr(branch.centre.qr_pass("m002"))
        logged.append(answer["entry_id"])
        # It goes on from the last contact that it has kept; passes newer than that wait for the centre, rules by day do not.
        wrong += [answer["reason"]] * (answer["reason"] not in ("granted_qr", "qr_not_yet_valid"))
        behind = branch.centre.now() - node.node.clock.now()
        wrong += ["the time of years ago"] * (abs(behind) > timedelta(minutes=2))
    first_s = time.monotonic() - began
    # Years ahead, it cannot know; it opens to nobody wrongly, and is right as soon as the centre is heard.
    wrong_clock.enter_context(clock.jump(timedelta(days=1800)))
    branch.centre.refuse_entry = lambda entry: "at_in_future" if at(entry) > clock_of_centre(branch) + AHEAD else None
    with branch.node() as node:
        answer = node.qr(branch.centre.qr_pass("m003"))
        logged.append(answer["entry_id"])
        wrong += ["opened by a clock years ahead"] * (answer["decision"] == "granted")
        began = time.monotonic()
        branch.centre.gone = False
        node.node.sync.loop.wake()
        answer = {}

        def let_in() -> bool:
            answer.update(node.qr(branch.centre.qr_pass("m004")))
            return bool(answer["decision"] == "granted")

        wait_for(let_in, 20)
        recover_s = time.monotonic() - began
        # What lies ahead waits, and holds nothing up.
        wait_for(lambda: answer["entry_id"] in branch.centre.entries, 20)

        def only_those_ahead() -> bool:
            waiting = [at(document) for _, document in node.node.entries.unsent(500)]
            return bool(waiting) and min(waiting) > clock_of_centre(branch) + AHEAD

        wait_for(only_those_ahead, 20)
        assert node.node.entries.counts()["rejected"] == 0
        branch.centre.refuse_entry = lambda _: None
        wait_for(lambda: node.node.entries.counts()["unsent"] == 0, 20)
    lost = len(set(logged) - set(branch.centre.entries))
    record(
        "restarted without the centre, the clock 3 h behind, 900 days behind, 900 days ahead",
        lost=lost, wrong=len(wrong), recover_s=recover_s, two_restarts_s=round(first_s, 2),
    )  # fmt: skip
    assert wrong == []
    assert lost == 0
    assert recover_s < 10
