"""The replica: pages are all or nothing, faces are sealed and leave nothing behind, damage is noticed and survived."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from access_edge import feed
from access_edge.feed import Change, Delta, RawPage
from access_edge.records import pack
from access_edge.replica import DAMAGED, Replica, ReplicaDamaged
from access_edge.replica_schema import TABLES
from platform_api.core.encryption import Envelope, KeyRing, RingFile
from tests.waiting import wait_for

NOW = datetime(2026, 6, 10, 10, 30, tzinfo=UTC)
RING = KeyRing.generate()
RNG = np.random.default_rng(7)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = Replica(tmp_path, Envelope(RING))
    yield made
    made.close()


def vectors(rows: int = 2) -> np.ndarray:
    made = RNG.normal(size=(rows, 128)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True))


def member(member_id: str) -> dict[str, Any]:
    return {"kind": "member", "key": member_id, "op": "put", "data": {"member_id": member_id, "status": "active"}}


def membership(member_id: str, **data: Any) -> dict[str, Any]:
    document = {"membership_id": f"s-{member_id}", "member_id": member_id, "valid_from": "2026-01-01"} | data
    return {"kind": "membership", "key": f"s-{member_id}", "op": "put", "data": document}


def template(member_id: str, rows: np.ndarray, template_id: str = "", model: str = "v1") -> dict[str, Any]:
    template_id = template_id or f"t-{member_id}"
    data = {
        "template_id": template_id,
        "member_id": member_id,
        "model_version": model,
        "rows": len(rows),
        "vectors": pack(rows),
    }
    return {"kind": "template", "key": template_id, "op": "put", "data": data}


def gone(kind: str, key: str) -> dict[str, Any]:
    return {"kind": kind, "key": key, "op": "delete"}


def gate() -> dict[str, Any]:
    data = {
        "gate_id": "g1",
        "branch_id": "b1",
        "controller_url": "https://c",
        "controller_gate_id": "1",
        "kiosk_key_sha256": "0" * 64,
        "name": "정문",
    }
    return {"kind": "gate", "key": "g1", "op": "put", "data": data}


def checked(*changes: dict[str, Any]) -> list[Change]:
    page = RawPage.model_validate({"cursor": "c", "now": NOW.isoformat(), "changes": list(changes)})
    return feed.check(page)[0]


def apply(replica: Replica, *changes: dict[str, Any], cursor: str = "c1", up_to_date: bool = True) -> Delta:
    return replica.apply(checked(*changes), cursor, up_to_date, NOW)


def test_a_page_and_its_cursor_are_applied_together(replica: Replica) -> None:
    rows = vectors()
    delta = apply(replica, member("m1"), membership("m1"), template("m1", rows), gate(), cursor="c7")
    assert delta.templates == {"m1"}
    assert replica.cursor == "c7"
    assert replica.complete
    assert replica.synced_at == NOW
    assert replica.gates["g1"].name == "정문"
    assert [m.membership_id for m in replica.memberships("m1")] == ["s-m1"]
    ((member_id, read),) = replica.templates("v1")
    assert member_id == "m1"
    np.testing.assert_array_equal(read, rows)
    assert list(replica.templates("v2")) == []


def test_a_page_that_fails_half_way_changes_nothing(replica: Replica) -> None:
    apply(replica, member("m1"), cursor="c1")
    broken = [*checked(member("m2")), Change("no_such_table", "x", None)]
    with pytest.raises(KeyError):
        replica.apply(broken, "c2", True, NOW)
    assert replica.cursor == "c1"
    assert replica.member("m2") is None


def test_a_malformed_record_does_not_hold_up_a_withdrawal_behind_it(replica: Replica) -> None:
    apply(replica, member("m1"), template("m1", vectors()))
    bad = [
        {"kind": "membership", "key": "s9", "op": "put", "data": {"membership_id": "s9"}},
        {**template("m2", vectors()), "data": {**template("m2", vectors())["data"], "vectors": "AAAA"}},
        {"kind": "branch", "key": "b", "op": "put", "data": {"branch_id": "b", "timezone": "Mars/Olympus"}},
        {"kind": "of a later release", "key": "x", "op": "put", "data": {}},
    ]
    page = RawPage.model_validate({"cursor": "c", "now": NOW.isoformat(), "changes": [*bad, gone("template", "t-m1")]})
    changes, malformed = feed.check(page)
    assert malformed == 3
    delta = replica.apply(changes, "c", True, NOW)
    assert delta.withdrawn == {"m1"}
    assert replica.count("template") == 0


def test_faces_are_sealed_on_the_disk(replica: Replica, tmp_path: Path) -> None:
    rows = vectors()
    apply(replica, template("m1", rows))
    for file in tmp_path.iterdir():
        assert rows.tobytes()[:64] not in file.read_bytes()


def test_a_withdrawn_face_leaves_no_row_and_no_bytes(replica: Replica, tmp_path: Path) -> None:
    apply(replica, member("m1"), template("m1", vectors(), "template-to-withdraw-81"))
    delta = apply(replica, gone("template", "template-to-withdraw-81"), cursor="c2")
    assert delta.withdrawn == {"m1"}
    assert delta.erased == set()
    assert replica.count("template") == 0
    assert replica.member("m1") is not None
    for file in tmp_path.iterdir():
        assert b"template-to-withdraw-81" not in file.read_bytes()


def test_an_erased_member_takes_everything_along(replica: Replica, tmp_path: Path) -> None:
    name = "member-to-erase-44"
    apply(replica, member(name), membership(name), template(name, vectors()), member("m2"))
    delta = apply(replica, gone("member", name), cursor="c2")
    assert delta.erased == delta.withdrawn == {name}
    assert [replica.count(table) for table in ("member", "membership", "template")] == [1, 0, 0]
    for file in tmp_path.iterdir():
        assert name.encode() not in file.read_bytes()


def test_a_template_that_moves_to_another_member_is_withdrawn_from_the_first(replica: Replica) -> None:
    apply(replica, template("m1", vectors(), "t1"))
    delta = apply(replica, template("m2", vectors(), "t1"), cursor="c2")
    assert delta.withdrawn == {"m1"}
    assert delta.templates == {"m2"}
    assert [member_id for member_id, _ in replica.templates("v1")] == ["m2"]


def test_a_sealed_template_does_not_open_in_another_row(replica: Replica) -> None:
    apply(replica, template("m1", vectors()))
    replica._connection().execute("UPDATE template SET member_id = 'm2'")
    with pytest.raises(ReplicaDamaged):
        list(replica.templates("v1"))


def test_a_resync_goes_beside_the_old_rows_and_ends_with_what_the_feed_has(replica: Replica) -> None:
    apply(replica, *(change for m in ("m1", "m2") for change in (member(m), membership(m), template(m, vectors()))))
    replica.begin_resync()
    assert replica.cursor == ""
    assert replica.complete
    apply(replica, member("m1"), membership("m1"), cursor="r1", up_to_date=False)
    # Until the end is reached the rules go on by what was known.
    assert replica.count("member") == 2
    delta = apply(replica, template("m1", vectors()), cursor="r2")
    assert delta.erased == {"m2"}
    assert [replica.count(table) for table in ("member", "membership", "template")] == [1, 1, 1]
    # And once it has ended nothing is swept again.
    assert apply(replica, member("m3"), cursor="r3").erased == set()


def test_a_resync_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = Replica(tmp_path, Envelope(RING))
    apply(first, member("m1"), member("m2"))
    first.begin_resync()
    apply(first, member("m1"), cursor="r1", up_to_date=False)
    first.close()
    again = Replica(tmp_path, Envelope(RING))
    assert again.cursor == "r1"
    assert apply(again, member("m3"), cursor="r2").erased == {"m2"}
    again.close()


def test_an_empty_page_every_second_does_not_write_every_second(replica: Replica, tmp_path: Path) -> None:
    apply(replica, member("m1"))
    replica.scrub()
    wal = tmp_path / "replica.db-wal"
    for second in range(1, 30):
        replica.apply([], "c1", True, NOW + timedelta(seconds=second))
    assert wal.stat().st_size == 0
    assert replica.synced_at == NOW + timedelta(seconds=29)
    replica.apply([], "c1", True, NOW + timedelta(seconds=90))
    assert wal.stat().st_size > 0


@pytest.mark.parametrize("where", ["head", "middle", "nothing left"])
def test_a_damaged_replica_is_set_aside_and_the_gates_are_still_known(tmp_path: Path, where: str) -> None:
    first = Replica(tmp_path, Envelope(RING))
    apply(first, gate(), *(template(f"m{i}", vectors(6)) for i in range(200)))
    first.scrub()
    first.close()
    path = tmp_path / "replica.db"
    data = bytearray(path.read_bytes())
    if where == "nothing left":
        data = bytearray(b"x" * 100)
    else:
        start = 0 if where == "head" else len(data) // 2 // 4096 * 4096
        data[start : start + 8192] = b"\xff" * 8192
    path.write_bytes(data)
    again = Replica(tmp_path, Envelope(RING))
    assert again.damaged
    assert not again.complete
    assert again.cursor == ""
    assert "g1" in again.gates
    # Still damaged after another restart, until the centre has filled it.
    again.close()
    third = Replica(tmp_path, Envelope(RING))
    assert third.damaged
    apply(third, gate(), member("m1"))
    assert not third.damaged
    assert third.complete
    assert not list(tmp_path.glob(DAMAGED + "*"))
    third.close()


def test_templates_under_a_lost_key_are_damage(tmp_path: Path) -> None:
    first = Replica(tmp_path, Envelope(RING))
    apply(first, template("m1", vectors()))
    first.close()
    again = Replica(tmp_path, Envelope(KeyRing("k1", {"k1": b"0" * 32})))
    with pytest.raises(ReplicaDamaged) as damage:
        list(again.templates("v1"))
    again.set_aside(damage.value)
    assert again.damaged
    # A second thread that met the same damage does not set the new one aside as well.
    apply(again, member("m1"), up_to_date=False)
    again.set_aside(damage.value)
    assert again.count("member") == 1
    again.close()


def test_templates_are_put_under_a_new_key_and_open_when_the_old_one_is_gone(tmp_path: Path) -> None:
    ring = tmp_path / "ring.json"
    RING.to_file(ring)
    held = RingFile(ring)
    replica = Replica(tmp_path, Envelope(held))
    faces = {f"m{number}": vectors() for number in range(3)}
    apply(replica, *(entry for name, rows in faces.items() for entry in (member(name), template(name, rows))))
    rotated = RING.rotated()
    rotated.to_file(ring)
    wait_for(lambda: held.now().current == "k2", what="the ring is read again")
    apply(replica, member("m3"), template("m3", faces["m0"]))
    assert [replica.reseal(limit=2), replica.reseal(limit=2), replica.reseal(limit=2)] == [2, 1, 0]
    replica.close()
    left = Replica(tmp_path, Envelope(KeyRing("k2", {"k2": rotated.keys["k2"]})))
    found = dict(left.templates("v1"))
    assert set(found) == {*faces, "m3"}
    assert all(np.array_equal(found[name], rows) for name, rows in faces.items())
    left.close()


def test_only_one_model_is_live(replica: Replica) -> None:
    def model(version: str, live: bool) -> dict[str, Any]:
        return {"kind": "model", "key": version, "op": "put", "data": {"version": version, "live": live}}

    apply(replica, model("v1", True))
    apply(replica, model("v2", True), cursor="c2")
    live = replica.live_model()
    assert live is not None
    assert live.version == "v2"
    apply(replica, model("v1", True), model("v2", False), cursor="c3")
    live = replica.live_model()
    assert live is not None
    assert live.version == "v1"


def test_who_may_be_expected_is_who_has_a_right_here_that_has_not_run_out(replica: Replica) -> None:
    apply(
        replica,
        {"kind": "branch", "key": "b1", "op": "put", "data": {"branch_id": "b1"}},
        membership("all"),
        membership("here", branch_ids=["b1"]),
        membership("there", branch_ids=["b2"]),
        membership("over", valid_until="2026-06-09"),
        membership("today", valid_until="2026-06-10"),
    )
    assert replica.entitled(NOW) == {"all", "here", "today"}


def test_every_kind_of_the_feed_has_a_table(replica: Replica) -> None:
    assert set(feed.KINDS) == set(TABLES)
    assert [replica.count(table) for table in TABLES] == [0] * len(TABLES)
