"""The push gateway's and the mail server's sandboxes behave as the real ones do, where we rely on it."""

import json
import smtplib
import ssl
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

Outside = Any
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
PATH = "/v1/projects/smartfit-sandbox/messages:send"
TOKEN = "phone-" + "x" * 30


def account(outside: Outside) -> dict[str, Any]:
    file = Path(outside.environment["SMARTFIT_FCM_CREDENTIALS_FILE"])
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def grant(outside: Outside, **changes: Any) -> requests.Response:
    known, now = account(outside), int(time.time())
    claims = {
        "iss": known["client_email"], "aud": known["token_uri"], "iat": now, "exp": now + 3600, "scope": SCOPE, **changes,
    }  # fmt: skip
    assertion = jwt.encode(claims, known["private_key"], algorithm="RS256")
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    answer: requests.Response = outside.fcm.session.post(outside.fcm.url + "/token", data=form, timeout=5)
    return answer


def send(outside: Outside, body: Any, path: str = PATH, token: str | None = None) -> requests.Response:
    token = token or grant(outside).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer: requests.Response = outside.fcm.session.post(outside.fcm.url + path, json=body, headers=headers, timeout=5)
    return answer


def code(answer: requests.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    codes = [detail["errorCode"] for detail in error["details"] if "errorCode" in detail]
    return answer.status_code, error["status"], codes[0] if codes else None


@pytest.fixture(autouse=True)
def fresh(outside: Outside) -> None:
    outside.reset()


def test_a_token_is_granted_to_the_service_account_alone(outside: Outside) -> None:
    granted = grant(outside).json()
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 3599)
    old = {"iat": 1, "exp": 100}
    for wrong in ({"iss": "somebody@else"}, {"aud": "https://example.com"}, {"scope": "email"}, old):
        answer = grant(outside, **wrong)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), wrong
    assert code(send(outside, {}, token="guess")) == (401, "UNAUTHENTICATED", None)


def test_a_message_is_taken(outside: Outside) -> None:
    message = {"token": TOKEN, "notification": {"title": "제목", "body": "내용"}, "data": {"a": "b"}}
    name = send(outside, {"message": message}).json()["name"]
    (kept,) = outside.fcm.taken()
    assert (kept["name"], kept["message"]) == (name, message)
    assert outside.fcm.taken(after=kept["position"]) == []
    assert send(outside, {"message": message, "validate_only": True}).status_code == 200
    assert len(outside.fcm.taken()) == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("unregistered", (404, "NOT_FOUND", "UNREGISTERED")),
        ("invalid", (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")),
        ("mismatch", (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")),
        ("quota", (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")),
        ("unavailable", (503, "UNAVAILABLE", "UNAVAILABLE")),
    ],
)
def test_tokens_say_what_is_to_happen(outside: Outside, word: str, expected: tuple[int, str, str]) -> None:
    answer = send(outside, {"message": {"token": f"{word}-{'x' * 30}"}})
    assert code(answer) == expected
    assert ("Retry-After" in answer.headers) == (word == "quota")


def test_what_is_no_message_is_refused_by_field(outside: Outside) -> None:
    token = grant(outside).json()["access_token"]
    for body, field in (
        (None, "message"),
        ({}, "message"),
        ({"message": {"notification": {"title": "x"}}}, "message.token"),
        ({"message": {"token": "?"}}, "message.token"),
        ({"message": {"token": TOKEN, "data": {"a": 1}}}, "message.data.a"),
        ({"message": {"token": TOKEN, "data": {"from": "x"}}}, "message.data"),
        ({"message": {"token": TOKEN, "colour": "red"}}, "message.colour"),
        ({"message": {"token": TOKEN, "android": {"ttl": "4h"}}}, "message.android.ttl"),
        ({"message": {"token": TOKEN, "data": {"a": "가" * 1500}}}, "message"),
    ):
        answer = send(outside, body, token=token)
        assert code(answer)[:2] == (400, "INVALID_ARGUMENT"), body
        fields = [
            each["field"] for detail in answer.json()["error"]["details"] for each in detail.get("fieldViolations", [])
        ]
        assert fields == [field], body
    other = send(outside, {"message": {"token": TOKEN}}, "/v1/projects/another/messages:send", token)
    assert code(other) == (403, "PERMISSION_DENIED", None)
    assert outside.fcm.taken() == []


def test_faults_have_the_gateways_shape(outside: Outside) -> None:
    token = grant(outside).json()["access_token"]
    outside.fcm.faults(fail_next=1, status=429, retry_after_s=17)
    answer = send(outside, {"message": {"token": TOKEN}}, token=token)
    assert code(answer) == (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert answer.headers["Retry-After"] == "17"
    unlocked = requests.post(f"{outside.fcm.url}/sandbox/faults", json={}, verify=outside.fcm.session.verify, timeout=5)
    assert unlocked.status_code == 401


def test_mail_needs_tls_and_a_login(outside: Outside) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "제목"
    mail.set_content("내용")
    port = int(outside.environment["SMARTFIT_SMTP_PORT"])
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as server, pytest.raises(smtplib.SMTPException):
        server.send_message(mail)
    context = ssl.create_default_context(cafile=outside.environment["SMARTFIT_SMTP_CA_FILE"])
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as server:
        server.starttls(context=context)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            server.login("smartfit", "guess")
        server.login("smartfit", "sandbox-key")
        server.send_message(mail)
    (kept,) = outside.smtp.taken(to="b@example.com")
    assert (kept["headers"]["Subject"], kept["text"].strip()) == ("제목", "내용")
