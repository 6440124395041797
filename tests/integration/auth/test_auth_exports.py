"""Exports: collected from every domain or not at all, for the member alone, for a while. What is in them: tests/integration/privacy."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from sqlalchemy import select

from platform_api.auth import exporting, jobs, vault
from platform_api.auth.models import MemberExport
from platform_api.core import clock
from platform_api.core.database import DOMAINS, unit_of_work
from platform_api.core.models import AuditRecord
from platform_api.core.personal import packed
from tests.integration.auth.conftest import PASSWORD, Configure, Member, NewMember

OTHERS = tuple(domain for domain in DOMAINS if domain != "auth")
LONG = timedelta(hours=2)
"""Longer than any pause between two tries."""


@dataclass
class Domains:
    """The other domains, by HTTP. down: those that answer 503; odd: what others answer instead of their part."""

    url: str
    down: set[str] = field(default_factory=set)
    odd: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    callers: set[tuple[str, str]] = field(default_factory=set)

    def answer(self, path: str) -> tuple[int, bytes]:
        domain, rest = path.strip("/").split("/", 1)
        assert rest.startswith("internal/v1/members/")
        self.asked.append(domain)
        if domain in self.down:
            return 503, b""
        said = {"domain": domain, "tables": {"member": [{"note": f"of {domain}"}]}, "left_out": {}}
        return 200, self.odd.get(domain, packed([("data.json", json.dumps(said).encode())]))


@pytest.fixture
def domains() -> Iterator[Domains]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            claims = jwt.decode(token, options={"verify_signature": False})
            made.callers.add((claims["sub"], *claims["roles"]))
            status, body = made.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Domains(f"http://127.0.0.1:{listener.server_port}")
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    listener.shutdown()
    listener.server_close()


@pytest.fixture
def member(configure: Configure, domains: Domains, client: object, new_member: NewMember) -> Member:
    """A member of an auth domain that asks those domains."""
    configure(domains_internal_url=domains.url, exports_timeout_s=5)
    return new_member()


def ask(member: Member, of: str = "me") -> str:
    answer = member.call("POST", f"/members/{of}/exports")
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"].endswith(answer.json["export_id"])
    return str(answer.json["export_id"])


def make(member: Member, export_id: str) -> dict[str, Any]:
    """Go on with what is due, and look."""
    while exporting.make_next():
        pass
    shown: dict[str, Any] = member.call("GET", f"/members/me/exports/{export_id}").json
    return shown


def download(member: Member, export_id: str, password: str = PASSWORD) -> Any:
    return member.call("POST", f"/members/me/exports/{export_id}/download", json={"password": password})


def acts(member: Member) -> list[str]:
    with unit_of_work("auth") as session:
        query = select(AuditRecord.action).where(AuditRecord.target == member.id).order_by(AuditRecord.position)
        return [action for action in session.scalars(query) if action.startswith("export.")]


def test_every_domain_is_in_it_and_each_step_is_audited(member: Member, domains: Domains) -> None:
    export_id = ask(member)
    assert make(member, export_id)["state"] == "ready"
    got = download(member, export_id)
    assert got.headers["Cache-Control"] == "no-store"
    assert "attachment" in got.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(got.data)) as archive:
        assert {f"{domain}/data.json" for domain in DOMAINS} <= set(archive.namelist())
    assert sorted(domains.asked) == sorted(OTHERS)
    assert domains.callers == {("auth", "service")}
    assert acts(member) == ["export.requested", "export.ready", "export.downloaded"]
    assert member.call("GET", "/members/me/exports").json["items"][0]["downloads"] == 1


def test_a_domain_that_is_away_is_asked_again_and_nothing_is_given_without_its_part(
    member: Member, domains: Domains
) -> None:
    domains.down = {"helper", "search"}
    export_id = ask(member)
    shown = make(member, export_id)
    assert (shown["state"], shown["waits_for"]) == ("pending", ["helper", "search"])
    assert download(member, export_id).json["code"] == "export_not_ready"
    domains.down = {"search"}
    domains.asked.clear()
    with clock.travel(LONG):
        shown = make(member, export_id)
    # What was given is kept: the others are not asked again.
    assert shown["waits_for"] == ["search"]
    assert set(domains.asked) == {"helper", "search"}
    domains.down = set()
    with clock.travel(2 * LONG):
        assert make(member, export_id)["state"] == "ready"


def test_what_is_no_part_or_that_of_another_domain_is_not_taken(member: Member, domains: Domains) -> None:
    of_branch = packed([("data.json", b'{"domain": "branch", "tables": {}, "left_out": {}}')])
    domains.odd = {"access": b"<html>", "helper": of_branch, "mlops": packed([("other.json", b"{}")])}
    shown = make(member, ask(member))
    assert (shown["state"], shown["waits_for"]) == ("pending", ["access", "helper", "mlops"])


def test_it_fails_and_says_so_where_a_domain_stays_away_for_days(member: Member, domains: Domains) -> None:
    domains.down = {"branch"}
    export_id = ask(member)
    make(member, export_id)
    with clock.travel(timedelta(days=11)):
        shown = make(member, export_id)
    assert (shown["state"], shown["waits_for"]) == ("failed", ["branch"])
    assert "export.failed" in acts(member)
    assert download(member, export_id).status_code == 409


def test_only_the_member_gets_it_whoever_asked(member: Member, new_member: NewMember, operator: Member) -> None:
    export_id = ask(operator, member.id)
    make(member, export_id)
    path = f"/members/{member.id}/exports/{export_id}"
    assert operator.call("GET", path).json["state"] == "ready"
    refused = operator.call("POST", f"{path}/download", json={"password": PASSWORD})
    assert (refused.status_code, refused.json["code"]) == (403, "members_only")
    other = new_member()
    # Neither by the member's path nor by one's own.
    for place in (path, f"/members/me/exports/{export_id}"):
        assert other.call("GET", place).status_code == 404
        assert other.call("DELETE", place).status_code == 404
        assert other.call("POST", f"{place}/download", json={"password": PASSWORD}).status_code == 404
    assert other.call("POST", f"/members/{member.id}/exports").status_code == 404
    assert download(member, export_id).status_code == 200


@pytest.mark.parametrize("role", ["service", "device"])
def test_services_and_devices_get_none(member: Member, token_for: Any, role: str) -> None:
    export_id = ask(member)
    make(member, export_id)
    path = f"/auth/v1/members/{member.id}/exports/{export_id}"
    headers = token_for("access", role)
    assert member.client.get(path, headers=headers).status_code == 403
    said = {"password": PASSWORD}
    assert member.client.post(f"{path}/download", headers=headers, json=said).status_code == 403
    assert member.client.post(f"{path}/download", json=said).status_code == 401


def test_the_password_is_asked_for_and_guesses_lock(member: Member) -> None:
    export_id = ask(member)
    make(member, export_id)
    statuses = [download(member, export_id, "not-the-password").status_code for _ in range(6)]
    assert statuses == [403] * 5 + [429]
    assert download(member, export_id).status_code == 429
    assert acts(member).count("export.refused") == 5


def test_asking_twice_asks_once_and_too_often_is_refused(member: Member) -> None:
    first = ask(member)
    assert ask(member) == first
    for number in range(3):
        export_id = ask(member)
        make(member, export_id)
        # Taking it back does not give another try.
        if number == 1:
            assert member.call("DELETE", f"/members/me/exports/{export_id}").status_code == 204
    refused = member.call("POST", "/members/me/exports")
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_exports")
    assert int(refused.headers["Retry-After"]) > 80_000


def test_it_lies_sealed_and_goes_after_its_time(member: Member, object_store_dir: Path) -> None:
    export_id = ask(member)
    make(member, export_id)
    files = [path for path in (object_store_dir / "exports").rglob("*") if path.is_file()]
    # The parts went when the whole was there.
    assert len(files) == 1
    assert not zipfile.is_zipfile(files[0])
    with clock.travel(timedelta(days=6)):
        jobs.expire_exports()
    assert download(member, export_id).status_code == 200
    with clock.travel(timedelta(days=8)):
        assert download(member, export_id).status_code == 410
        jobs.expire_exports()
    assert vault.store().list("exports") == []
    with unit_of_work("auth") as session:
        assert session.scalars(select(MemberExport)).all() == []
    assert acts(member)[-1] == "export.expired"


def test_an_erased_member_leaves_no_export_behind(member: Member, domains: Domains) -> None:
    make(member, ask(member))
    domains.down = {"search"}
    make(member, ask(member))
    assert len(vault.store().list("exports")) == len(DOMAINS)
    assert member.call("DELETE", "/members/me").status_code == 204
    assert vault.store().list("exports") == []
    domains.down = set()
    with clock.travel(LONG):
        assert not exporting.make_next()
