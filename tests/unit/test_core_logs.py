"""Log lines: fields of the Elastic Common Schema, and nothing in them that must not be there."""

import base64
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
import requests
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from infra.observability.elk import calls
from platform_api.core.database import database
from platform_api.core.telemetry import configure_logging, ecs
from platform_api.core.telemetry.redaction import LONGEST_TEXT, redact_text

ROOT = Path(__file__).resolve().parents[2]
EMAIL = "kim.minsu@example.co.kr"
JWT = ".".join(("eyJhbGciOiJFZERTQSJ9", "eyJzdWIiOiJtMSIsImV4cCI6MX0", "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"))


class Lines:
    """What was logged since."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def take(self) -> list[dict[str, Any]]:
        found = self.stream.getvalue().splitlines()
        self.stream.seek(0)
        self.stream.truncate()
        return [json.loads(line) for line in found]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    before, level = logging.getLogger().handlers[:], logging.getLogger().level
    found = Lines()
    monkeypatch.setattr(sys, "stderr", found.stream)
    # As a process has it, without pytest's own.
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    configure_logging("smartfit-test")
    yield found
    logging.getLogger().handlers[:] = before
    logging.getLogger().setLevel(level)


log = structlog.get_logger("tests.logs")


def test_a_line_has_the_fields_of_the_schema(lines: Lines) -> None:
    log.info("request", method="GET", route="/a/<id>", status=200, ms=1.5, principal="m1", request_id="r-1")
    (line,) = lines.take()
    assert line.pop("@timestamp").endswith("Z")
    assert line.pop("service.version")
    assert line == {
        "log.level": "info",
        "message": "request",
        "event.action": "request",
        "event.dataset": "smartfit-test.log",
        "log.logger": "tests.logs",
        "service.name": "smartfit-test",
        "ecs.version": ecs.VERSION,
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.request.id": "r-1",
        "event.duration": 1_500_000,
        "user.id": "m1",
        "smartfit.route": "/a/<id>",
    }


def test_what_libraries_log_is_a_message_and_no_action(lines: Lines) -> None:
    logging.getLogger("library").warning("plain %s", "words")
    (line,) = lines.take()
    assert (line["log.logger"], line["log.level"], line["message"]) == ("library", "warning", "plain words")
    assert "event.action" not in line


def test_an_exception_has_its_type_message_and_stack(lines: Lines) -> None:
    try:
        requests.Request("GET", "no-address").prepare()
    except requests.RequestException:
        log.exception("failed", error="less than the exception says")
    (line,) = lines.take()
    assert line["error.type"] == "requests.exceptions.MissingSchema"
    assert "No scheme supplied" in line["error.message"]
    assert line["error.stack_trace"].startswith("Traceback (most recent call last)")


def test_an_exception_that_nobody_caught_is_a_line_as_well(lines: Lines) -> None:
    def fail() -> None:
        raise RuntimeError(f"for {EMAIL}")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    (line,) = lines.take()
    assert (line["log.level"], line["error.type"], line["error.message"]) == (
        "critical",
        "RuntimeError",
        "for [redacted]",
    )


def test_names_and_kinds_of_values_are_taken_out_at_any_depth(lines: Lines) -> None:
    log.info(
        "enrolled",
        member="m1",
        password="hunter22",
        blob=b"\xff\xd8jpeg",
        probe=np.zeros((1, 128)),
        scores=[0.5] * 40,
        nested={"card_number": "4111111111111111", "list": [{"kiosk_key": "k-1"}]},
    )
    (line,) = lines.take()
    assert line["labels.member"] == "m1"
    assert line["labels.blob"] == "[6 bytes]"
    assert line["labels.scores"] == "[40 numbers]"
    # A dictionary is one text: it makes no fields in the index.
    assert json.loads(line["labels.nested"]) == {"card_number": "[redacted]", "list": [{"kiosk_key": "[redacted]"}]}
    whole = json.dumps(line)
    assert not [secret for secret in ("hunter22", "4111111111111111", "k-1", "jpeg") if secret in whole]


def _pem() -> str:
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _vector() -> str:
    return base64.b64encode(np.random.default_rng(1).normal(size=128).astype(np.float32).tobytes()).decode()


KEY = base64.b64encode(bytes(range(7, 39))).decode()
PEM, VECTOR = _pem(), _vector()
TEXTS = {
    "e-mail": (f"no such member: {EMAIL}", EMAIL),
    "JWT": (f"signature of {JWT} is wrong", JWT.split(".")[1]),
    "bearer header": ("{'Authorization': 'Bearer opaque-0123456789'}", "opaque-0123456789"),
    "basic header": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "PEM": (f"cannot read {PEM}", PEM.splitlines()[1]),
    "PEM, cut": (f"cannot read {PEM}"[:90], PEM.splitlines()[1][:20]),
    "vector": (f"bad template {VECTOR}!", VECTOR[:60]),
    "vector in numbers": (f"bad template {np.linspace(0.1, 0.9, 40).tolist()}", "0.18205"),
    "array": (f"bad template {np.linspace(0.1, 0.9, 40)}", "0.18205"),
    "key": (f"no key {KEY} in the ring", KEY),
    "URL with a token": ("GET https://api.example/v1/x?access=1&t=s3cr3t-value failed", "s3cr3t-value"),
    "path with a query": ("Max retries exceeded with url: /v1/reset?code=998877", "998877"),
    "URL with a password": ("amqp://smartfit:s3cr3t@broker:5672/ refused", "s3cr3t"),
    "setting": ("password=hunter22 user=x", "hunter22"),
    "JSON": ('{"client_secret": "s3cr3t-value", "a": 1}', "s3cr3t-value"),
    "dictionary": ("{'refresh_token': 's3cr3t value'}", "s3cr3t value"),
    "bytes": (f"cannot decode {bytes(range(128, 200))!r}", "\\x81"),
    "phone": ("called 010-1234-5678", "1234-5678"),
    "phone abroad": ("called +82 10 1234 5678", "1234 5678"),
    "card": ("declined: 4111 1111 1111 1111", "4111"),
    "row of a database": ("DETAIL:  Key (name)=(kim minsu) already exists.", "kim minsu"),
    "statement": ("LINE 1: INSERT INTO m VALUES ('kim minsu')", "kim minsu"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_that_must_not_be_logged_are_taken_out_wherever_they_stand(lines: Lines, kind: str) -> None:
    said, secret = TEXTS[kind]
    assert secret in said
    try:
        raise ValueError(said)
    except ValueError as error:
        log.exception("failed", reason=str(error), nested={"deep": [said]}, **{"error": said})
        log.warning(said)
        logging.getLogger("library").error("it said: %s", said, exc_info=True)
    told = lines.take()
    assert len(told) == 3
    assert secret not in json.dumps(told, ensure_ascii=False)
    assert "[" in told[0]["error.message"]


HARMLESS = (
    "the database of access is not at the newest revision",
    "/access/v1/branches/<branch_id>/gates/0192f3a8-7c1e-7b3a-9f00-1234567890ab",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 differs",
    "/opt/smartfit/.venv/lib/python3.11/site-packages/sqlalchemy/engine/base.py",
    "connection to server at 127.0.0.1, port 5432 failed: FATAL: the database system is starting up",
    "2026-11-26T19:05:57.249Z took 1234567890123 ns, 3 of 10 attempts",
    "smartfit.access.work: no answer of the broker within 20 s",
    "토큰이 아니라 평범한 문장입니다. 010으로 시작해도 괜찮습니다.",
)


@pytest.mark.parametrize("words", HARMLESS)
def test_what_is_needed_to_understand_a_failure_stays(words: str) -> None:
    assert redact_text(words) == words


def test_a_long_text_is_cut_in_its_middle_and_no_secret_is_cut_in_two() -> None:
    # The cut goes through the token; what is left of it would not have the form of one.
    half = LONGEST_TEXT // 2
    said = "begin\n" + "x" * (half - 30) + f"\nBearer {JWT}\n" + "y\n" * LONGEST_TEXT + "end"
    kept = redact_text(said)
    assert len(kept) < LONGEST_TEXT + 100
    assert kept.startswith("begin")
    assert kept.endswith("end")
    assert "eyJ" not in kept


class Form(BaseModel):
    age: int


def test_errors_of_the_libraries_in_use_tell_no_values(lines: Lines, postgres: Any) -> None:
    secret = "kim-minsu-4711"
    with pytest.raises(DBAPIError) as unique, database("access").begin() as connection:
        connection.execute(text("CREATE TEMP TABLE t (name text PRIMARY KEY)"))
        for _ in range(2):
            connection.execute(text("INSERT INTO t VALUES (:name)"), {"name": secret})
    with pytest.raises(DBAPIError) as syntax, database("access").connect() as connection:
        connection.execute(text("SELECT CAST(:name AS integer)"), {"name": secret})
    # An engine that is not ours, without hide_parameters.
    engine = create_engine(database("access").url)
    with pytest.raises(DBAPIError) as other, engine.connect() as connection:
        connection.execute(text("SELECT CAST(:token AS integer)"), {"token": secret})
    engine.dispose()
    with pytest.raises(psycopg2.Error) as away:
        psycopg2.connect(f"postgresql://u:{secret}@127.0.0.1:1/d")
    with pytest.raises(ValidationError) as form:
        Form.model_validate({"age": secret})
    with pytest.raises(requests.RequestException) as http:
        requests.get("http://127.0.0.1:1/v1/x", params={"code": secret}, timeout=1)
    for error in (unique, syntax, other, away, form, http):
        log.error("failed", exc_info=error.value)
    told = lines.take()
    assert len(told) == 6
    assert [line["error.type"] for line in told if secret in json.dumps(line)] == []
    assert "duplicate key value violates unique constraint" in told[0]["error.message"]


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({name.rpartition(".")[2] for name in ecs.FIELDS} | {"ms", "error", "status"})) | st.text(
    min_size=1, max_size=8
)


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_whatever_is_logged_has_no_field_and_no_type_that_the_index_does_not_know(values: dict[str, Any]) -> None:
    for field, value in ecs.placed(values).items():
        assert calls.fits("flattened" if field.startswith("labels.") else ecs.FIELDS[field], value), (field, value)


def test_every_field_that_the_product_names_in_a_call_has_a_place_of_its_own() -> None:
    found = calls.logged(ROOT)
    assert {"error", "model", "request_id", "principal", "route"} <= set(found)
    missing = {name: found[name] for name in ecs.missing(found)}
    assert not missing, f"{missing}: name them in ecs.py by their type, then run python -m infra.observability.elk"
