"""Auth and access together, over real sockets: an enrolled face reaches the gallery, is found there when somebody else
enrols it, and leaves it with the member."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from werkzeug.serving import make_server

from infra.local.postgres import free_port
from platform_api.access.models import TemplateRow
from platform_api.app import create_app
from platform_api.auth import bootstrap
from platform_api.core.database import unit_of_work
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.inbox import dead_letters, handle_next
from platform_api.core.events.relay import relay_batch
from tests.integration.auth.conftest import PASSWORD, Configure, Member, NewMember

PERSON = "Angelina_Jolie"
SECRET = "a-secret-of-the-access-domain-which-is-long"


@pytest.fixture
def both(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both domains served by one process, as on a single machine."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AUTH_INTERNAL_URL": address,
        "ACCESS_CLIENT_SECRET": SECRET,
        "SERVICE_CLIENTS": json.dumps({"access": SECRET}),
        "OPERATOR_EMAIL": "op@example.com",
        "OPERATOR_PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
    # Only what was enrolled long ago is asked of access alone.
    configure(access_internal_url=address, face_unheard_window_s=0)
    server = make_server("127.0.0.1", port, create_app(["auth", "access"]), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    bootstrap.main()
    yield
    server.shutdown()
    thread.join()


def deliver() -> None:
    """Bring every event of auth to access."""
    while relay_batch("auth", LocalBus()):
        pass
    more = True
    while more:
        with unit_of_work("access") as session:
            more = handle_next(session, "access")
    with unit_of_work("access") as session:
        assert dead_letters(session, "access") == []


def enrol(member: Member, lfw: Path, *numbers: int) -> int:
    said = {"kind": "face", "granted": True, "text_version": "1"}
    member.call("POST", "/members/me/consents", json=said)
    photos = [(lfw / PERSON / f"{PERSON}_{number:04}.jpg").read_bytes() for number in numbers]
    parts = {"photos": [(io.BytesIO(data), "p.jpg") for data in photos]}
    return member.call("POST", "/members/me/face", data=parts).status_code


def gallery() -> int:
    with unit_of_work("access") as session:
        return session.scalar(select(func.count()).select_from(TemplateRow)) or 0


def test_a_face_reaches_the_gallery_is_found_there_and_leaves_it(new_member: NewMember, both: None, lfw: Path) -> None:
    first, second = new_member(), new_member()
    assert enrol(first, lfw, 1, 2, 3) == 201
    assert gallery() == 0
    deliver()
    assert gallery() > 0
    assert enrol(second, lfw, 4, 5) == 202
    # Their own face is nobody else's.
    assert enrol(first, lfw, 6, 7) == 201
    deliver()
    assert gallery() > 0
    assert first.call("DELETE", "/members/me").status_code == 204
    deliver()
    assert gallery() == 0
    assert enrol(second, lfw, 4, 5) == 201
