"""What is heard of members: in any order, twice, late; and that an erased member never comes back."""

import uuid
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from ml_bentos.face import weights
from ml_bentos.face.gallery import Gallery, probe_factor
from platform_api.access import gallery
from platform_api.access.models import Base, Model
from platform_api.core import migrations as core_migrations
from platform_api.core.database import database, unit_of_work
from platform_api.core.events import PermanentFailure, TransientFailure
from platform_api.core.http import ServiceUnavailable


def scalar(statement: str, **values: Any) -> Any:
    with database("access").connect() as connection:
        return connection.scalar(text(statement), values)


def rows_of(member_id: str) -> int:
    return int(scalar("SELECT count(*) FROM template_row WHERE member_id = :m", m=member_id))


def test_template_is_fetched_with_a_service_token(world: Any) -> None:
    member = world.registered()
    template = world.enrolled(member, 1, rows=3)
    assert world.auth.requests == [(f"/auth/internal/v1/templates/{template}", "Bearer service-token")]
    assert rows_of(member) == 3


def test_suspension_reaches_the_edge(world: Any) -> None:
    world.branch()
    node = world.node()
    member = world.registered()
    world.membership(member)
    node.sync()
    assert node.replica["member", member]["status"] == "active"
    world.event("MemberChanged", member, roles=["customer"], language="ko", status="suspended")
    node.sync()
    assert node.replica["member", member]["status"] == "suspended"


def test_older_news_does_not_undo_newer(world: Any) -> None:
    member = str(uuid.uuid4())
    world.event("MemberChanged", member, 5, roles=["customer"], language="ko", status="suspended")
    world.event("MemberRegistered", member, 1, roles=["customer"], language="ko")
    world.event("MemberChanged", member, 4, roles=["customer"], language="ko", status="active")
    assert scalar("SELECT status FROM member WHERE member_id = :m", m=member) == "suspended"


def test_enrolment_before_registration(world: Any) -> None:
    member = str(uuid.uuid4())
    template = world.auth.add(member, world.rows(1))
    world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")
    world.event("MemberRegistered", member, 1, roles=["customer"], language="ko")
    assert rows_of(member) == 2


def test_new_enrolment_takes_the_place_of_the_old(world: Any) -> None:
    member = world.registered()
    first = world.enrolled(member, 1, rows=2)
    second = world.enrolled(member, 2, rows=4)
    assert rows_of(member) == 4
    # The first comes again, late and doubled.
    world.event("FaceEnrolled", member, 2, template_id=first, model_version="test-model-1")
    world.event("FaceWithdrawn", member, 4, template_ids=[first])
    assert scalar("SELECT DISTINCT template_id FROM template_row WHERE member_id = :m", m=member) == second


def test_models_have_galleries_of_their_own(world: Any) -> None:
    member = world.registered()
    world.enrolled(member, 1, rows=2, model_version="m1")
    world.enrolled(member, 1, rows=2, model_version="m2")
    assert rows_of(member) == 4
    with unit_of_work("access") as session:
        assert gallery.size(session, "m1") == gallery.size(session, "m2") == 1
        assert gallery.search(session, "m3", world.rows(1)) == []


def test_withdrawal_removes_and_outlasts_a_late_enrolment(world: Any) -> None:
    world.branch()
    node = world.node()
    member = world.registered()
    world.membership(member)
    template = world.enrolled(member, 1)
    node.sync()
    world.event("FaceWithdrawn", member, template_ids=[template])
    world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")
    node.sync()
    assert rows_of(member) == 0
    assert not node.keys_of("template")
    assert node.keys_of("member") == {member}


def test_withdrawal_before_enrolment(world: Any) -> None:
    member = world.registered()
    template = world.auth.add(member, world.rows(1))
    world.event("FaceWithdrawn", member, 3, template_ids=[template])
    world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")
    assert rows_of(member) == 0


def test_template_gone_at_auth_is_passed_over(world: Any) -> None:
    member = world.registered()
    world.event("FaceEnrolled", member, 2, template_id=str(uuid.uuid4()), model_version="test-model-1")
    assert rows_of(member) == 0


def test_auth_away_means_try_again_and_nothing_half_written(world: Any) -> None:
    member = world.registered()
    template = world.auth.add(member, world.rows(1))
    world.auth.away = True
    with pytest.raises((ServiceUnavailable, TransientFailure)):
        world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")
    assert rows_of(member) == 0
    assert scalar("SELECT count(*) FROM enrolment") == 0
    world.auth.away = False
    world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")
    assert rows_of(member) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"vectors": "AAAA"},
        {"vectors": "not base64"},
        {"rows": 0},
        {"rows": 3},
        {"member_id": "somebody-else"},
        {"model_version": "another"},
        {"vectors": None},
    ],
)
def test_unusable_template_is_a_dead_letter(world: Any, change: dict[str, Any]) -> None:
    member = world.registered()
    template = world.auth.add(member, world.rows(1))
    world.auth.templates[template].update(change)
    with pytest.raises(PermanentFailure):
        world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")
    assert rows_of(member) == 0


def test_template_of_another_dimension_is_a_dead_letter(world: Any) -> None:
    world.enrolled(world.registered(), 1)
    member = world.registered()
    template = world.auth.add(member, world.rows(1)[:, :64])
    with pytest.raises(PermanentFailure):
        world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")


def test_erasure_leaves_no_row_and_no_vector(world: Any, make_entry: Any) -> None:
    world.branch()
    node = world.node()
    gate = world.gate(node)["gate_id"]
    member, other = world.registered(), world.registered()
    for who in (member, other):
        world.membership(who)
        world.enrolled(who, 5)
    world.ok("POST", "/qr-passes", world.token_for(member, "customer"), json={"branch_id": "gangnam"})
    node.entries(make_entry(gate, member_id=member), make_entry(gate, member_id=other))
    node.sync()

    world.event("MemberErased", member)
    world.event("MemberErased", member)

    assert rows_of(member) == 0
    assert scalar("SELECT count(*) FROM template_row") == 2
    for table in ("membership", "enrolment", "withdrawn_template", "qr_pass", "entry", "stranger"):
        assert scalar(f"SELECT count(*) FROM {table} WHERE member_id = :m", m=member) == 0, table
    assert scalar("SELECT count(*) FROM entry") == 2
    node.sync()
    assert node.keys_of("member") == {other}
    assert len(node.keys_of("template")) == len(node.keys_of("membership")) == 1
    found = node.call("POST", "/identify", json={"vectors": world.packed(5), "model_version": "test-model-1"}).json
    assert {candidate["member_id"] for candidate in found["candidates"]} == {other}
    assert found["gallery_size"] == 1


def test_nothing_brings_an_erased_member_back(world: Any, make_entry: Any) -> None:
    world.branch()
    node = world.node()
    gate = world.gate(node)["gate_id"]
    member = world.registered()
    template = world.auth.add(member, world.rows(1))
    world.event("MemberErased", member, 9)

    world.event("FaceEnrolled", member, 10, template_id=template, model_version="test-model-1")
    world.event("MemberChanged", member, 8, roles=["customer"], language="ko", status="active")
    world.event("FaceWithdrawn", member, 7, template_ids=[template])
    assert rows_of(member) == 0
    assert scalar("SELECT status FROM member WHERE member_id = :m", m=member) == "erased"
    wanted = {
        "member_id": member,
        "plan": "x",
        "valid_from": "2026-01-01",
        "valid_until": None,
        "branch_ids": ["gangnam"],
    }
    assert world.refused("POST", "/memberships", json=wanted) == (409, "member_erased")
    # A log entry that was under way when the member was erased arrives without the name.
    sent = make_entry(gate, member_id=member)
    node.entries(sent)
    assert scalar("SELECT member_id FROM entry WHERE entry_id = :e", e=sent["entry_id"]) is None
    assert scalar("SELECT envelope->'data'->>'member_id' FROM outbox") is None


def test_erasure_during_the_fetch_wins(world: Any) -> None:
    member = world.registered()
    template = world.auth.add(member, world.rows(1))
    world.auth.before_answer = lambda: world.event("MemberErased", member, 3)
    world.event("FaceEnrolled", member, 2, template_id=template, model_version="test-model-1")
    assert rows_of(member) == 0


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
def test_tables_are_what_the_models_say(world: Any) -> None:
    assert core_migrations.is_current("access")
    known = set(Base.metadata.tables)
    with database("access").connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in known, "compare_type": True},
        )
        differences = list(compare_metadata(context, Base.metadata))
    assert differences == []


def test_hnsw_index_finds_what_exact_search_finds(world: Any) -> None:
    version = "it's:a-model"
    members = {world.registered(): seed for seed in range(8)}
    for member, seed in members.items():
        world.enrolled(member, seed, model_version=version)
    wanted = next(iter(members))
    probe = world.rows(members[wanted])
    with unit_of_work("access") as session:
        exact = gallery.search(session, version, probe)
        assert gallery.build_indexes(session, 4) == [version]
        assert gallery.build_indexes(session, 4) == []
        session.execute(text("SET LOCAL enable_seqscan = off"))
        statement = gallery._search_statement(session, session.get_one(Model, version))
        values = {"probe": str(probe[0].tolist()), "exclude": "", "limit": 64}
        plan = session.scalars(text(f"EXPLAIN {statement.text}"), values).all()
        found = gallery.search(session, version, probe)
        without = gallery.search(session, version, probe, exclude=wanted)
        session.execute(text(f"DROP INDEX {gallery._index_name(version)}"))
    assert any("hnsw" in line for line in plan)
    assert found[0].member_id == exact[0].member_id == wanted
    assert [candidate.member_id for candidate in found] == [candidate.member_id for candidate in exact]
    assert wanted not in {candidate.member_id for candidate in without}


def test_the_centre_scores_as_the_gate_node_does(world: Any) -> None:
    """Under the shipped model scores are normalised by the probe; both must read the same thresholds the same way."""
    members = [world.registered() for _ in range(4)]
    for seed, member in enumerate(members):
        world.enrolled(member, seed, model_version=weights.DEFAULT)
    node = Gallery.build(members, [world.rows(seed) for seed in range(4)], weights.DEFAULT)
    frames = world.rows(2)
    with unit_of_work("access") as session:
        centre = gallery.search(session, weights.DEFAULT, frames)
    assert [c.member_id for c in centre] == [c.member_id for c in node.search(frames)]
    assert [c.score for c in centre] == pytest.approx([c.score for c in node.search(frames)], abs=1e-4)
    mean = frames.mean(0) / np.linalg.norm(frames.mean(0))
    assert abs(probe_factor(weights.DEFAULT, mean) - 1) > 0.01


def test_rotation_survives_being_sealed_anew(world: Any) -> None:
    member = world.registered()
    world.enrolled(member, 3)
    with unit_of_work("access") as session:
        before = gallery.search(session, "test-model-1", world.rows(3))
        for model in session.scalars(select(Model)):
            context = gallery.rotation_context(model.version)
            model.rotation_sealed = gallery.envelope().rewrap(bytes(model.rotation_sealed), context)
    with unit_of_work("access") as session:
        assert gallery.search(session, "test-model-1", world.rows(3)) == before
    assert before[0].member_id == member
    assert before[0].score > 0.9
