"""Auth and access together, over real sockets: an enrolled face reaches the gallery, is found there when somebody else
enrols it, and leaves it with the member."""

from __future__ import annotations

import io
from pathlib import Path

from flask import Flask
from sqlalchemy import func, select

from platform_api.access.models import TemplateRow
from platform_api.core.database import unit_of_work
from tests.integration.auth.conftest import Member, NewMember, deliver

PERSON = "Angelina_Jolie"


def enrol(member: Member, lfw: Path, *numbers: int) -> int:
    said = {"kind": "face", "granted": True, "text_version": "1"}
    member.call("POST", "/members/me/consents", json=said)
    photos = [(lfw / PERSON / f"{PERSON}_{number:04}.jpg").read_bytes() for number in numbers]
    parts = {"photos": [(io.BytesIO(data), "p.jpg") for data in photos]}
    return member.call("POST", "/members/me/face", data=parts).status_code


def gallery() -> int:
    with unit_of_work("access") as session:
        return session.scalar(select(func.count()).select_from(TemplateRow)) or 0


def test_a_face_reaches_the_gallery_is_found_there_and_leaves_it(new_member: NewMember, both: Flask, lfw: Path) -> None:
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
