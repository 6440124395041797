"""A whole installation at work, by good clients: every write has an Idempotency-Key and is tried again until it is answered.

People come in by pass and by face, join and write reviews, helpers hand in photos that a manager decides on, equipment sends its
heartbeats. What was acknowledged is noted; `Busy.count` looks for each of it in the databases of the domains.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import requests

from infra.local import environment
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.demo.client import Account, Gate, Http, Platform, Refused
from infra.local.postgres import DOMAINS, free_port
from infra.local.services import ROOT, postgres_server
from infra.local.state import State
from tests.contract_values import picture
from tests.waiting import wait_for

BRANCH_ID = "local"
PATIENCE_S = 180.0
"""A client that has no answer for so long gives up: that is a failure of the test."""
_JPEG = {"Content-Type": "image/jpeg"}
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
BRANCH = {
    "branch_id": BRANCH_ID, "name": "성수 24시 피트니스", "address": "서울 성동구 성수동2가 1", "region": "성동구",
    "latitude": 37.5446, "longitude": 127.0559, "amenities": ["shower"], "status": "open",
}  # fmt: skip
NO_LIMIT = {"helper_daily_limit": 10_000, "branch_daily_limit": 10_000}
SAID = {"decision": "correct", "label": "done", "reason": "다 걸려 있습니다."}


# Where each kind of what was acknowledged must be, once: database, and a query for its id and how often.
COUNTED = {
    "entries": ("access", "SELECT entry_id::text, count(*) FROM entry WHERE outcome = 'granted' GROUP BY 1"),
    "entries_heard": ("branch", "SELECT entry_id::text, count(*) FROM visit GROUP BY 1"),
    "members": ("auth", "SELECT id::text, count(*) FROM member GROUP BY 1"),
    "memberships": ("access", "SELECT member_id::text, count(*) FROM membership GROUP BY 1"),
    "tasks": ("helper", "SELECT task_id::text, count(*) FROM task GROUP BY 1"),
    "tasks_queued": ("branch", "SELECT task_id::text, count(*) FROM task GROUP BY 1"),
    "rewards": (
        "helper",
        "SELECT substr(reference, 8), count(*) FROM ledger_transaction WHERE reference LIKE 'reward:%' GROUP BY 1",
    ),
    "reviews": ("search", "SELECT review_id::text, count(*) FROM review GROUP BY 1"),
    "reviews_heard": ("branch", "SELECT review_id::text, count(*) FROM review GROUP BY 1"),
}


@dataclass(frozen=True)
class Try:
    """One request: when, and how it ended (a status, or the name of an error)."""

    began: float
    ended: float
    outcome: str
    write: bool

    @property
    def good(self) -> bool:
        return self.outcome[0] in "234" and int(self.outcome) not in _LATER


@dataclass(frozen=True)
class Acknowledged:
    """A write from its first try to its answer."""

    began: float
    ended: float
    what: str


@dataclass
class Told:
    """What was acknowledged, by kind: the ids that must be there, each once."""

    ids: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in COUNTED})
    tries: list[Try] = field(default_factory=list)
    writes: list[Acknowledged] = field(default_factory=list)


class Busy:
    """The installation and its people. `faces`: (photos to enrol, photo at the gate) of each who comes by face."""

    def __init__(self, state: State, faces: Sequence[tuple[Sequence[Path], Path]] = ()) -> None:
        self.state, self.held = state, Credentials(state.secrets)
        self.url = environment.gateway_url(state)
        ca = state.tls / "ca.pem"
        self.verify = str(ca)
        self.platform = Platform(Http(self.url, ca), OPERATOR_EMAIL, self.held.operator_password.read_text())
        self.told = Told()
        self.failed: list[str] = []
        self.reasons: Counter[str] = Counter()
        self._lock, self._local, self._stop = threading.Lock(), threading.local(), threading.Event()
        self._tokens: dict[str, tuple[str, float]] = {}
        self._threads: list[threading.Thread] = []
        self._pictures = itertools.count(secrets.randbelow(10**9))
        self._to_decide: queue.Queue[str] = queue.Queue()
        gates = self.provision()["gates"]
        gate = Gate(Http(environment.edge_url(state), ca), gates["in"]["gate_id"], gates["in"]["kiosk_key"])
        self._gate = (environment.edge_url(state) + gate.path, gate.key)
        self._open()
        self._members = [self._member(f"member{number}") for number in range(4)]
        self._helpers = [self._helper(f"helper{number}") for number in range(2)]
        self._faces = [self._enrolled(photos, probe) for photos, probe in faces]

    def provision(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.held.provision.read_text())
        return found

    # -- a good client -------------------------------------------------------------------------------------------

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env, self._local.session.verify = False, self.verify
        made: requests.Session = self._local.session
        return made

    def ask(
        self,
        method: str,
        url: str,
        who: Account | str | None,
        what: str = "",
        patience_s: float = PATIENCE_S,
        **options: Any,
    ) -> requests.Response:
        """An answer that is no excuse. `who`: an account that signs in as needed, a bearer's token, or None: the operator.
        `what` names a write: it has one key for all its tries.
        """
        headers = options.pop("headers", {}) | ({"Idempotency-Key": secrets.token_hex(16)} if what else {})
        first = time.monotonic()
        while True:
            began = time.monotonic()
            answer: requests.Response | None = None
            try:
                bearer = {"Authorization": f"Bearer {self._token(who)}"}
                answer = self._session().request(method, url, headers=headers | bearer, timeout=(5, 20), **options)
                outcome = str(answer.status_code)
            except (requests.RequestException, Refused) as error:
                outcome = type(error).__name__
            now = time.monotonic()
            with self._lock:
                self.told.tries.append(Try(began, now, outcome, bool(what)))
            if answer is not None and answer.status_code == 401 and not isinstance(who, str):
                self._tokens.pop(who.member_id if who else "", None)
            elif answer is not None and answer.status_code not in _LATER and "Retry-After" not in answer.headers:
                if what and answer.ok:
                    with self._lock:
                        self.told.writes.append(Acknowledged(first, now, what))
                return answer
            if now - first > patience_s:
                raise TimeoutError(f"{method} {url}: {outcome} for {patience_s:g} s")
            pause = float(answer.headers.get("Retry-After", 0.3)) if answer is not None else 0.3
            time.sleep(min(pause, 2.0))

    def _token(self, who: Account | str | None) -> str:
        if isinstance(who, str):
            return who
        name = who.member_id if who else ""
        token, until = self._tokens.get(name, ("", 0.0))
        if time.monotonic() > until:
            email, password = (
                (who.email, who.password) if who else (OPERATOR_EMAIL, self.held.operator_password.read_text())
            )
            said = {"email": email, "password": password}
            answer = self._session().post(f"{self.url}/auth/v1/tokens", json=said, timeout=(5, 20))
            if not answer.ok:
                raise Refused(answer)
            token, life = answer.json()["access_token"], float(answer.json()["expires_in"])
            self._tokens[name] = token, time.monotonic() + 0.8 * life
        return token

    def write(self, what: str, path: str, who: Account | None = None, **options: Any) -> dict[str, Any]:
        """A POST that must succeed in the end."""
        answer = self.ask("POST", self.url + path, who, what, **options)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:300]}"
        document: dict[str, Any] = answer.json()
        return document

    def note(self, kind: str, key: str) -> None:
        with self._lock:
            self.told.ids[kind].append(key)

    # -- who is there --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.write("branch", "/branch/v1/branches", json=BRANCH)
        path = f"{self.url}/helper/v1/branches/{BRANCH_ID}/limits"
        found = wait_for(lambda: (got := self.ask("GET", path, None)).ok and got, 60, "helper hears of the branch", 0.3)
        headers = {"If-Match": found.headers["ETag"], "Authorization": f"Bearer {self._token(None)}"}
        put = self._session().put(path, json=NO_LIMIT, headers=headers, timeout=20)
        assert put.ok, put.text

    def _member(self, name: str) -> Account:
        account = self.platform.register(name, "busy")
        self._give_membership(account)
        return account

    def _give_membership(self, account: Account) -> None:
        today = datetime.now(UTC)
        first, last = ((today + timedelta(days=days)).strftime("%Y-%m-%d") for days in (-1, 365))
        wanted = {
            "member_id": account.member_id, "plan": "busy", "valid_from": first, "valid_until": last,
            "branch_ids": [BRANCH_ID], "hours": None,
        }  # fmt: skip
        self.write("membership", "/access/v1/memberships", json=wanted)
        self.note("memberships", account.member_id)

    def _helper(self, name: str) -> Account:
        account = self.platform.register(name, "busy")
        path = f"/auth/v1/members/{account.member_id}"
        etag = self.platform.http.send("GET", path, self.platform.operator()).headers["ETag"]
        roles = {"roles": ["customer", "helper"]}
        self.platform.http.json(
            "PUT", f"{path}/roles", self.platform.operator(), json=roles, headers={"If-Match": etag}
        )
        return account

    def _enrolled(self, photos: Sequence[Path], probe: Path) -> bytes:
        account = self._member("face")
        token, _ = self.platform.sign_in(account.email, account.password)
        self.platform.enrol_face(account, token, photos)
        return probe.read_bytes()

    # -- what they do --------------------------------------------------------------------------------------------

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Everybody is busy while the context lasts, and finishes what was begun."""
        works: list[Callable[[], None]] = [self._visit, self._join, self._decide, self._work]
        works += [self._show_face] if self._faces else []
        self._threads = [threading.Thread(target=self._repeated, args=(work,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(PATIENCE_S + 60)
                if thread.is_alive():
                    self.failed.append("somebody did not finish")
            # Work that was handed in is decided on.
            while not self._to_decide.empty():
                self._one(self._decide)

    def _repeated(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            self._one(work)
            self._stop.wait(0.3)

    def _one(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.failed.append(f"{work.__name__}: {type(error).__name__}: {str(error)[:300]}")

    def _enter(self, who: Account) -> str | None:
        """A pass, shown until the gate answers. Returns the entry's id where it let in."""
        got = self.write("pass", "/access/v1/qr-passes", who, json={"branch_id": BRANCH_ID})
        answer = self.ask("POST", f"{self._gate[0]}/qr", self._gate[1], json={"token": got["token"]}).json()
        return self._came(answer)

    def _came(self, answer: dict[str, Any]) -> str | None:
        with self._lock:
            self.reasons[str(answer.get("reason") or answer.get("code"))] += 1
        if answer.get("decision") != "granted":
            return None
        self.note("entries", answer["entry_id"])
        self.note("entries_heard", answer["entry_id"])
        return str(answer["entry_id"])

    def _visit(self) -> None:
        for who in self._members:
            if not self._stop.is_set():
                self._enter(who)
                # As many passes as a member may have.
                self._stop.wait(1.3)

    def _show_face(self) -> None:
        for probe in self._faces:
            self._came(self.ask("POST", f"{self._gate[0]}/frames", self._gate[1], data=probe, headers=_JPEG).json())
            self._stop.wait(1.0)

    def _work(self) -> None:
        for who in self._helpers:
            if self._to_decide.qsize() > 4:
                return
            photo = picture(next(self._pictures))
            form = {"branch_id": BRANCH_ID, "kind": "hanging"}
            task = self.write(
                "task", "/helper/v1/tasks", who, data=form, files=[("photos", ("a.jpg", photo, "image/jpeg"))]
            )
            self.note("tasks", task["task_id"])
            self.note("tasks_queued", task["task_id"])
            self._to_decide.put(task["task_id"])

    def _decide(self) -> None:
        with contextlib.suppress(queue.Empty):
            path = f"/branch/v1/tasks/{self._to_decide.get(timeout=1)}"
            wait_for(lambda: self.ask("GET", self.url + path, None).ok, PATIENCE_S, f"{path} is judged", 0.3)
            self.write("decision", f"{path}/decision", json=SAID)
            self.note("rewards", path.rsplit("/", 1)[-1])

    def _join(self) -> None:
        """Somebody new: joins, buys, signs in, comes in, writes a review."""
        email, password = f"{secrets.token_hex(8)}@example.com", secrets.token_urlsafe(18)
        person = {
            "email": email, "password": password, "name": "김새봄", "phone": "+82 10-0000-0000", "birth_date": "1990-01-01",
            "language": "ko", "card": {"number": "4111111111111111", "expiry": "12/39"},
        }  # fmt: skip
        made = self.write("member", "/auth/v1/members", json=person)
        account = Account(made["member_id"], email, password)
        self.note("members", account.member_id)
        self._give_membership(account)

        def entered() -> str | None:
            found = self._enter(account)
            if found is None:
                time.sleep(2.0)
            return found

        wait_for(entered, PATIENCE_S, "the new member is let in", 0.3)
        path = f"{self.url}/search/v1/branches/{BRANCH_ID}/reviews"

        def reviewed() -> Any:
            said = self.ask(
                "POST", path, account, "review", json={"rating": 5, "text": f"깨끗하고 조용해요 {email[:6]}"}
            )
            return said.json() if said.ok else None

        review = wait_for(reviewed, PATIENCE_S, "the visit is heard of", 0.5)
        self.note("reviews", review["review_id"])
        self.note("reviews_heard", review["review_id"])

    # -- what is there -------------------------------------------------------------------------------------------

    def rows(self, domain: str, query: str) -> list[tuple[Any, ...]]:
        url = postgres_server(self.state, self.held).admin_url.rsplit("/", 1)[0] + f"/sf_{domain}"
        with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def settled(self) -> bool:
        """Whether nothing is on its way between the domains."""
        unsent = "SELECT count(*) FROM outbox WHERE sent_at IS NULL"
        unheard = "SELECT count(*) FROM inbox WHERE status = 'pending'"
        return all(self.rows(domain, query)[0][0] == 0 for domain in DOMAINS for query in (unsent, unheard))

    def count(self) -> dict[str, dict[str, int]]:
        """Of each kind: acknowledged, lost, doubled."""
        found = {}
        for kind, (domain, query) in COUNTED.items():
            there = dict(self.rows(domain, query))
            ids = self.told.ids[kind]
            found[kind] = {
                "acknowledged": len(ids),
                "lost": sum(each not in there for each in ids),
                "doubled": sum(there.get(each, 0) > 1 for each in ids) + len(ids) - len(set(ids)),
            }
        dead = sum(self.rows(d, "SELECT count(*) FROM inbox WHERE status = 'dead'")[0][0] for d in DOMAINS)
        paid = self.rows("helper", "SELECT coalesce(sum(won), 0) FROM posting")[0][0]
        found["events"] = {"acknowledged": 0, "lost": dead, "doubled": 0}
        found["ledger"] = {"acknowledged": 0, "lost": int(paid != 0), "doubled": 0}
        return found

    def unasked(self) -> dict[str, int]:
        """What is there though nobody was told so: more than the tries that had no answer explain would be doubled writes."""
        tasks = {row[0] for row in self.rows("helper", "SELECT task_id FROM task")} - set(self.told.ids["tasks"])
        rewards = {row[0] for row in self.rows(*COUNTED["rewards"])} - set(self.told.ids["rewards"])
        reviews = {row[0] for row in self.rows("search", "SELECT review_id FROM review")} - set(
            self.told.ids["reviews"]
        )
        return {"tasks": len(tasks), "rewards": len(rewards), "reviews": len(reviews)}

    def searched(self) -> int:
        """Reviews of the branch, as the index has them; -1 where it has no such branch."""
        answer = self.ask("GET", f"{self.url}/search/v1/branches", None, params={"q": "성수"})
        found = [item["reviews"] for item in answer.json()["items"] if item["branch_id"] == BRANCH_ID]
        return int(found[0]) if found else -1


@contextmanager
def equipment(busy: Busy, count: int = 3) -> Iterator[list[str]]:
    """Simulated equipment of the branch that beats every few seconds and answers the prober. Gives the ids."""
    state, port, tls = busy.state, free_port(), busy.state.tls
    files = ["--cert", str(tls / "sandbox.pem"), "--key", str(tls / "sandbox.key")]
    places = ["--port", str(port), "--api-key-file", str(busy.held.gate_api_key)]
    lines = ["--heartbeat", f"127.0.0.1:{state.ports['heartbeat']}", "--heartbeat-ca", str(tls / "ca.pem")]
    process = subprocess.Popen([sys.executable, "-m", "infra.sandboxes.equipment", *places, *files, *lines], cwd=ROOT)
    fleet, devices = f"https://127.0.0.1:{port}", []
    try:
        for number in range(count):
            wanted = {"branch_id": BRANCH_ID, "name": f"러닝머신 {number}", "kind": "treadmill", "severity": "critical"}
            item = busy.write("equipment", "/monitoring/v1/equipment", json=wanted)["equipment_id"]
            path = f"{busy.url}/monitoring/v1/equipment/{item}"
            key = busy.write("key", f"/monitoring/v1/equipment/{item}/key", json={})["private_key"]
            headers = {"Authorization": f"Bearer {busy.platform.operator()}"}
            with requests.Session() as session:
                session.trust_env, session.verify = False, busy.verify
                etag = session.get(path, headers=headers, timeout=20).headers["ETag"]
                echo = {"echo_url": f"{fleet}/devices/{item}/echo"}
                session.patch(path, json=echo, headers={**headers, "If-Match": etag}, timeout=20).raise_for_status()
            devices.append({"equipment_id": item, "private_key": key, "heartbeat_s": 10})
        gates = {"Authorization": f"Bearer {busy.held.gate_api_key.read_text()}"}

        def taken() -> bool:
            with requests.Session() as session, contextlib.suppress(requests.ConnectionError):
                session.trust_env, session.verify = False, busy.verify
                return session.post(f"{fleet}/sandbox/devices", json={"devices": devices}, headers=gates, timeout=10).ok
            return False

        wait_for(taken, 30, "the equipment is there")
        yield [str(device["equipment_id"]) for device in devices]
    finally:
        process.terminate()
        process.wait(20)
