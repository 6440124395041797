"""The platform and the gate node as an app, a kiosk and the operations team reach them: HTTPS, JSON, tokens."""

import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

# The identity that the sandbox of the card company confirms; see infra/sandboxes/card.py.
_CARD = {"number": "4111111111111111", "expiry": "12/30"}
_LONGEST_WAIT = 30.0


class Refused(Exception):
    """The platform answered with a problem."""

    def __init__(self, answer: requests.Response) -> None:
        try:
            problem = answer.json()
        except ValueError:
            problem = {"code": "not_json", "detail_en": answer.text[:200]}
        self.status = answer.status_code
        self.problem: dict[str, Any] = problem
        method = answer.request.method or "?"
        detail = problem.get("detail_en") or problem.get("detail")
        path = answer.url.split("/", 3)[-1]
        super().__init__(f"{method} /{path}: {answer.status_code} {problem.get('code')}: {detail}")

    @property
    def code(self) -> str:
        """The reason code of the problem."""
        return str(self.problem.get("code"))


class Http:
    """HTTPS to one address with one CA; a session for each thread, kept alive."""

    def __init__(self, base: str, ca: Path) -> None:
        self.base = base.rstrip("/")
        self.ca = str(ca)
        self._local = threading.local()

    def send(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        """Send a request; waits and repeats while the answer is 429 or 503, as a good client does.

        Raises:
            Refused: the answer is a problem.
        """
        headers = dict(options.pop("headers", None) or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        deadline = time.monotonic() + _LONGEST_WAIT
        while True:
            answer = self._session().request(method, self.base + path, headers=headers, timeout=(3, 60), **options)
            if answer.status_code not in (429, 503) or time.monotonic() > deadline:
                break
            time.sleep(min(5.0, float(answer.headers.get("Retry-After", "1"))))
        if not answer.ok:
            raise Refused(answer)
        return answer

    def json(self, method: str, path: str, token: str | None = None, **options: Any) -> Any:
        """As `send`, with the JSON of the answer; None where it is empty."""
        answer = self.send(method, path, token, **options)
        return answer.json() if answer.content else None

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.verify = self.ca
            self._local.session.trust_env = False
        session: requests.Session = self._local.session
        return session


@dataclass(frozen=True)
class Account:
    """A member of the demonstration and the password made for them."""

    member_id: str
    email: str
    password: str


class Platform:
    """The public API, seen by an app (members) and by operations (an operator's token, renewed as needed)."""

    def __init__(self, http: Http, operator_email: str, operator_password: str) -> None:
        self.http = http
        self._operator = (operator_email, operator_password)
        self._token = ""
        self._renew_at = 0.0
        self._lock = threading.Lock()

    def operator(self) -> str:
        """A token of the operator."""
        with self._lock:
            if time.monotonic() > self._renew_at:
                self._token, life = self.sign_in(*self._operator)
                self._renew_at = time.monotonic() + life * 0.8
            return self._token

    def sign_in(self, email: str, password: str) -> tuple[str, float]:
        """An access token and its life in seconds."""
        got = self.http.json("POST", "/auth/v1/tokens", json={"email": email, "password": password})
        return str(got["access_token"]), float(got["expires_in"])

    def register(self, name: str, run: str) -> Account:
        """Register somebody, as the app does."""
        email = f"{secrets.token_hex(6)}.{run}@example.com"
        password = secrets.token_urlsafe(18)
        person = {
            "email": email,
            "password": password,
            "name": name,
            "phone": "+82 10-0000-0000",
            "birth_date": "1990-01-01",
            "language": "ko",
            "card": _CARD,
        }
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        got = self.http.json("POST", "/auth/v1/members", json=person, headers=headers)
        return Account(got["member_id"], email, password)

    def enrol_face(self, account: Account, token: str, photos: Iterable[Path]) -> dict[str, Any]:
        """Consent to the use of the face and enrol it. The answer tells about each photo."""
        path = f"/auth/v1/members/{account.member_id}"
        consent = {"kind": "face", "granted": True, "text_version": "2026-01"}
        self.http.json("POST", f"{path}/consents", token, json=consent)
        files = [("photos", (photo.name, photo.read_bytes(), "image/jpeg")) for photo in photos]
        got: dict[str, Any] = self.http.json("POST", f"{path}/face", token, files=files)
        return got

    def give_membership(self, account: Account, branch_id: str, valid_from: str, valid_until: str) -> dict[str, Any]:
        """Sell a membership, as the front office does. The answer has its id."""
        wanted = {
            "member_id": account.member_id,
            "plan": "demo",
            "valid_from": valid_from,
            "valid_until": valid_until,
            "branch_ids": [branch_id],
            "hours": None,
        }
        got: dict[str, Any] = self.http.json("POST", "/access/v1/memberships", self.operator(), json=wanted)
        return got

    def change_membership(self, membership_id: str, changes: dict[str, Any]) -> None:
        """Change a membership, by its ETag."""
        path = f"/access/v1/memberships/{membership_id}"
        etag = self.http.send("GET", path, self.operator()).headers["ETag"]
        self.http.json("PATCH", path, self.operator(), json=changes, headers={"If-Match": etag})

    def erase(self, member_id: str) -> None:
        """Erase a member; nothing happens where it was done already."""
        try:
            self.http.send("DELETE", f"/auth/v1/members/{member_id}", self.operator())
        except Refused as refused:
            if refused.status != 404:
                raise

    def pass_of(self, token: str, branch_id: str) -> str:
        """A QR pass of the member, as the app shows it."""
        got = self.http.json("POST", "/access/v1/qr-passes", token, json={"branch_id": branch_id})
        return str(got["token"])


class Gate:
    """One gate of the edge node, as its kiosk reaches it."""

    def __init__(self, http: Http, gate_id: str, kiosk_key: str) -> None:
        self.http = http
        self.path = f"/edge/v1/gates/{gate_id}"
        self.key = kiosk_key

    def show_face(self, photo: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Send one frame; the decision."""
        sent = {"Content-Type": "image/jpeg", **(headers or {})}
        got: dict[str, Any] = self.http.json("POST", f"{self.path}/frames", self.key, data=photo, headers=sent)
        return got

    def show_pass(self, token: str) -> dict[str, Any]:
        """Show a QR pass; the decision."""
        got: dict[str, Any] = self.http.json("POST", f"{self.path}/qr", self.key, json={"token": token})
        return got
