"""Texts that no database holds are refused where they come in."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields
from sqlalchemy import BigInteger, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.schemas import Strict
from platform_api.core.texts import is_storable


class Inner(Strict):
    text = fields.String()


class Outer(Strict):
    name = fields.String()
    inner = fields.Nested(Inner)
    many = fields.List(fields.String())
    free = fields.Dict()


@given(st.text())
def test_what_utf_8_can_write_and_has_no_nul_is_storable(text: str) -> None:
    writable = True
    try:
        text.encode()
    except UnicodeEncodeError:
        writable = False
    assert is_storable(text) == (writable and "\0" not in text)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a\0"},
        {"name": "\ud800"},
        {"inner": {"text": "\0"}},
        {"many": ["fine", "\0"]},
        {"free": {"a": {"b": ["\0"]}}},
        {"free": {"\0": 1}},
        {"\0": 1},
    ],
)
def test_a_request_with_such_a_text_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Outer().load(body)


def test_other_texts_pass() -> None:
    body = {"name": "헬스장 💪", "inner": {"text": "\n"}, "many": [], "free": {"a": [1, None, "x"]}}
    assert Outer().load(body) == body


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "row"
    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


@pytest.mark.parametrize(
    ("column", "value"), [("number", 2**63), ("number", -(2**70)), ("number", 1e300), ("name", "a\0b")]
)
def test_a_forged_cursor_is_refused_before_it_reaches_the_database(column: str, value: object) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([value]).encode()).decode()
    with pytest.raises(Problem) as refused, Session() as session:
        page(session, select(Row), [getattr(Row, column)], cursor, 10)
    assert refused.value.code == "bad_cursor"
