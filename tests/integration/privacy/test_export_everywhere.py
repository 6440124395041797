"""A member known to all domains asks for everything that is held of them: no table that mentions them is passed over in silence."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator

import pytest

from platform_api.auth import exporting, vault
from platform_api.core.database import DOMAINS
from tests.contract_values import PASSWORD
from tests.contract_world import PEOPLE, Standing, World, settle
from tests.integration.privacy.test_erasure_everywhere import KNOWN, NOTICE_ADDRESS, REVIEWS, face, rows_with

EMAILS = {role: f"contract{number}@example.com" for number, role in enumerate(PEOPLE)}


@pytest.fixture(scope="module")
def world(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with standing(tmp_path_factory.mktemp("platform"), EXPORTS_PER_DAY="100") as made:
        face(made, "customer")
        settle()
        yield made


def exported(world: World, role: str) -> dict[str, bytes]:
    """The files of an export, from the request to the download."""
    asked = world.client.post("/auth/v1/members/me/exports", headers=world.headers(role))
    assert asked.status_code == 202, asked.text
    exporting.make_next()
    shown = world.client.get(asked.headers["Location"], headers=world.headers(role))
    assert (shown.json["state"], shown.json["waits_for"]) == ("ready", []), shown.text
    got = world.client.post(
        f"{asked.headers['Location']}/download", headers=world.headers(role), json={"password": PASSWORD}
    )
    assert got.status_code == 200, got.text
    assert hashlib.sha256(got.data).hexdigest() == shown.json["sha256"]
    with zipfile.ZipFile(io.BytesIO(got.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("role", PEOPLE)
def test_every_table_that_mentions_the_member_is_exported_or_left_out_for_a_reason(world: World, role: str) -> None:
    member = world.people[role]
    mentioned = rows_with(member, EMAILS[role], *((NOTICE_ADDRESS, *REVIEWS) if role == "customer" else ()))
    assert {table.partition(".")[0] for table in mentioned} >= KNOWN.get(role, set())
    files = exported(world, role)
    for domain in DOMAINS:
        said = json.loads(files[f"{domain}/data.json"])
        held = {table.partition(".")[2] for table in mentioned if table.startswith(f"{domain}.")}
        told = {name.partition(".")[0] for name in said["left_out"]}
        silent = {table for table in held if not said["tables"].get(table) and table not in told}
        assert silent == set(), f"{domain}: neither exported nor left out: {silent}"
        assert all(reason.strip() for reason in said["left_out"].values())
        # What is left out is told truly: no table is both.
        assert set(said["tables"]) & set(said["left_out"]) == set()


def test_what_a_customer_gave_and_did_is_in_it(world: World) -> None:
    files = exported(world, "customer")
    said = {domain: json.loads(files[f"{domain}/data.json"])["tables"] for domain in DOMAINS}
    (me,) = said["auth"]["member"]
    assert (me["email"], me["name"], me["phone"]) == (EMAILS["customer"], "김하늘", "+82 10-1234-5678")
    assert said["auth"]["card_identity"][0]["token"]
    assert {row["kind"] for row in said["auth"]["consent"]} >= {"face", "terms"}
    assert said["access"]["membership"]
    assert said["access"]["entry"][0]["outcome"] == "granted"
    assert {row["text"] for row in said["search"]["review"]} == set(REVIEWS)
    assert said["branch"]["visit"]
    assert said["notification"]["email_address"][0]["address"] == NOTICE_ADDRESS
    assert said["notification"]["device"]
    (stranger,) = said["access"]["stranger"]
    assert files[stranger["file"]].startswith(b"\xff\xd8")
    for row in said["auth"]["face_crop"]:
        assert files[row["file"]].startswith(b"\xff\xd8")


def test_what_a_helper_did_and_earned_is_in_it(world: World) -> None:
    files = exported(world, "helper")
    said = json.loads(files["helper/data.json"])["tables"]
    assert len(said["task"]) == 3
    assert len(said["photo"]) == 6
    assert all(files[row["file"]].startswith(b"\xff\xd8") for row in said["photo"])
    assert 90_000 in {row["won"] for row in said["posting"]}
    assert said["withdrawal"][0]["destination"]["account_number"] == "110-123-456789"


@pytest.mark.parametrize("role", PEOPLE)
def test_no_secret_and_nobody_else_is_in_it(world: World, role: str) -> None:
    files = exported(world, role)
    text = b"".join(data for name, data in files.items() if name.endswith((".json", ".txt"))).decode()
    for secret in ("password_hash", "token_sha256", "token_sealed", "argon2", f"first-{'x' * 40}", "object_key"):
        assert secret not in text, secret
    for other, email in EMAILS.items():
        if other != role:
            assert email not in text
            assert world.people[other] not in text, other


def test_it_can_be_read_by_people_and_machines(world: World) -> None:
    files = exported(world, "customer")
    manifest = json.loads(files["manifest.json"])
    assert manifest["domains"] == sorted(DOMAINS)
    assert manifest["member_id"] == world.people["customer"]
    assert manifest["sha256"] == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "manifest.json"
    }
    readme = files["README.txt"].decode()
    assert "당신에 관한 모든 기록" in readme
    assert "all that is held of you" in readme


def test_an_export_is_gone_with_the_member(world: World) -> None:
    member = world.spare["auth"]["member_id"][3]
    headers = world.token_for(member, "customer", version=10)
    assert world.client.post("/auth/v1/members/me/exports", headers=headers).status_code == 202
    exporting.make_next()
    before = vault.store().list("exports")
    assert world.client.delete("/auth/v1/members/me", headers=headers).status_code == 204
    assert len(vault.store().list("exports")) == len(before) - 1
