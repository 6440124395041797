"""A member known to all domains is erased, and every domain is looked through for what is left: rows, files, the search index,
and vectors.

What may stay is told here, table by table: who reads this list reads what is kept of an erased member.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from platform_api.access.models import TemplateRow
from platform_api.core.database import DOMAINS, database, unit_of_work
from platform_api.search.engines.choice import engine
from platform_api.search.indexer import Indexer
from tests.contract_world import Standing, World, settle

FACE = "Angelina_Jolie"
NOTICE_ADDRESS = "member@example.com"
REVIEWS = ("깨끗하고 조용해요", "별로예요")
KNOWN = {
    "customer": {"auth", "access", "helper", "search", "branch", "notification"},
    "helper": {"auth", "access", "helper", "search", "branch", "notification", "mlops"},
}
"""Domains that must have known the member, else nothing is proven."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "platform"


@pytest.fixture
def world(standing: Standing, folder: Path) -> Iterator[World]:
    folder.mkdir()
    with standing(folder) as made:
        yield made


def rows_with(*words: str) -> dict[str, list[str]]:
    """The rows of every table of every database that mention one of `words`, as text or as bytes."""
    found: dict[str, list[str]] = {}
    for domain in DOMAINS:
        with database(domain).connect() as connection:
            tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
            for table in tables:
                for row in connection.scalars(text(f'SELECT t::text FROM "{table}" t')).all():
                    if any(word in row or word.encode().hex() in row for word in words):
                        found.setdefault(f"{domain}.{table}", []).append(row)
    return found


def files_with(folder: Path, *words: str) -> list[str]:
    """The files below `folder` whose name or content mentions one of `words`."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            if any(word in str(file.relative_to(folder)) or word.encode() in content for word in words):
                found.append(str(file.relative_to(folder)))
    return found


def index() -> None:
    with engine().writer() as writer:
        while Indexer(engine()).drain(writer):
            pass


def face(world: World, role: str) -> None:
    """Enrol a face, where there are photographs."""
    folder = Path(os.environ.get("SMARTFIT_DATA") or "none") / "faces" / "lfw_home" / "lfw_funneled" / FACE
    if folder.is_dir():
        parts = {"photos": [((folder / f"{FACE}_{number:04}.jpg").open("rb"), "p.jpg") for number in (1, 2)]}
        headers = {"Idempotency-Key": "face"}
        world.call(role, "POST", "/auth/v1/members/me/face", data=parts, headers=headers)


def vectors(member_id: str) -> int:
    """Rows of the member in the full gallery, of which edges make their own."""
    with unit_of_work("access") as session:
        query = select(func.count()).select_from(TemplateRow).where(TemplateRow.member_id == member_id)
        return session.scalar(query) or 0


def replica(world: World) -> dict[tuple[str, str], Any]:
    """What a gate node holds that has followed the feed from its beginning."""
    held: dict[tuple[str, str], Any] = {}
    cursor, more = "", True
    while more:
        page = world.call("device", "GET", "/access/v1/edge/changes", query_string={"cursor": cursor, "limit": 500})
        for change in page["changes"]:
            place = (change["kind"], change["key"])
            if change["op"] == "put":
                held[place] = change["data"]
            else:
                held.pop(place, None)
        cursor, more = page["cursor"], page["has_more"]
    return held


TOMBSTONE = "opaque id and time of erasure: an event that comes late must not bring the member back"
TRAIL = "the audit trail names opaque ids and nothing else of a person"
ERASURE = "MemberErased, and what says that a review was removed; gone after seven days"
STAYS = {
    "access.member": TOMBSTONE,
    "helper.helper": TOMBSTONE,
    "search.member": TOMBSTONE,
    "branch.erased_member": TOMBSTONE,
    "notification.member": TOMBSTONE,
    "access.change": "that the member is to be deleted, for gate nodes which have not heard yet",
    **{f"{domain}.audit_log": TRAIL for domain in DOMAINS},
    **{f"{domain}.outbox": ERASURE for domain in DOMAINS},
    **{f"{domain}.inbox": ERASURE for domain in DOMAINS},
}


@pytest.mark.parametrize(
    ("role", "email"), [("customer", "contract0@example.com"), ("helper", "contract1@example.com")]
)
def test_an_erased_member_is_gone_from_every_domain(world: World, folder: Path, role: str, email: str) -> None:
    member = world.people[role]
    personal = [email, *((NOTICE_ADDRESS, *REVIEWS) if role == "customer" else ())]
    if role == "customer":
        face(world, role)
    settle()
    index()
    known = {table.partition(".")[0] for table in rows_with(member, *personal)}
    assert known >= KNOWN[role]
    if os.environ.get("SMARTFIT_DATA") and role == "customer":
        assert vectors(member) > 0
        assert files_with(folder / "objects", member)
        assert member in str(replica(world))

    gone = world.client.delete("/auth/v1/members/me", headers=world.headers(role))
    assert gone.status_code == 204, gone.text
    settle()
    index()

    # What identifies a person or was written by one is nowhere; the id is where it is told above, and nowhere else.
    assert rows_with(*personal) == {}
    left = rows_with(member)
    assert set(left) <= set(STAYS), {table: rows for table, rows in left.items() if table not in STAYS}
    for table in (table for table in left if table.endswith(("outbox", "inbox"))):
        assert [row for row in left[table] if "MemberErased" not in row and '""removed""' not in row] == [], table
    assert files_with(folder, member, *personal) == []
    assert vectors(member) == 0
    assert member not in str(replica(world))
