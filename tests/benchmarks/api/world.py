"""A whole installation with people in it, and the ten common calls as they make them."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from infra.local import environment
from infra.local.credentials import Credentials
from infra.local.demo.client import Account, Gate, Http
from infra.local.state import State
from infra.local.supervisor import Supervisor
from tests.benchmarks.capacity.processor import Clock
from tests.benchmarks.web.__main__ import World as WebWorld
from tests.load_process import Caller, Shot
from tests.waiting import wait_for

CALLS = (
    "sign in", "renew a session", "own profile", "entries of a branch", "QR pass", "branch search", "branch profile",
    "helper's statement", "equipment overview", "notifications read",
)  # fmt: skip
SERVICES = ("api", "gateway", "postgres")
SENTENCE = "성동구 샤워실 있는 지금 여는 곳"
PASSES_A_MINUTE = "60"
"""Of a member, where 12 are allowed by default: a few members stand for many."""
SETTINGS = {"SMARTFIT_QR_PASSES_PER_MINUTE": PASSES_A_MINUTE}


@dataclass
class Member:
    """A customer with a membership, signed in. `said`: the refresh token, good once; whoever renews the session puts the next one there."""

    account: Account
    token: str = ""
    said: dict[str, str] = field(default_factory=dict)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class World(WebWorld):
    """The installation, and its people."""

    def __init__(self, state: State, branches: int, items: int, members: int) -> None:
        super().__init__(state)
        self.state = state
        self.manager = self.seed(branches, items)
        with ThreadPoolExecutor(4) as pool:
            self.members = list(pool.map(self._member, range(members)))
        self._enter(self.members)
        self.sign_in()

    def sign_in(self) -> None:
        """Everybody anew: an access token lives for 15 minutes."""
        self.manager_token = self.platform.sign_in(self.manager.email, self.manager.password)[0]
        mine = self.http.json("GET", "/branch/v1/branches/mine", self.manager_token)["items"]
        self.branch_id = next(each["branch_id"] for each in mine if each["branch_id"] != "local")
        for member in self.members:
            said = {"email": member.account.email, "password": member.account.password}
            got = self.http.json("POST", "/auth/v1/tokens", json=said)
            member.token, member.said["refresh_token"] = got["access_token"], got["refresh_token"]

    def _member(self, number: int) -> Member:
        account = self.platform.register(f"회원 {number}", "bench")
        today = datetime.now(UTC).date()
        self.platform.give_membership(
            account, "local", str(today - timedelta(days=1)), str(today + timedelta(days=365))
        )
        return Member(account, self.platform.sign_in(account.email, account.password)[0])

    def _enter(self, members: list[Member]) -> None:
        """Each shows a pass at the gate, so that there are entries to list."""
        place = json.loads(Credentials(self.state.secrets).provision.read_text("utf-8"))
        way_in = place["gates"]["in"]
        gate = Gate(
            Http(environment.edge_url(self.state), self.state.tls / "ca.pem"), way_in["gate_id"], way_in["kiosk_key"]
        )

        def come_in(member: Member) -> bool:
            return bool(gate.show_pass(self.platform.pass_of(member.token, "local"))["decision"] == "granted")

        for member in members:
            wait_for(functools.partial(come_in, member), 60, "a member who comes in", every=2)
        wait_for(lambda: len(self._entries()) >= min(len(members), 20), 60, "entries at the centre")

    def _entries(self) -> list[Any]:
        got: list[Any] = self.http.json("GET", "/access/v1/entries?branch_id=local", self.platform.operator())["items"]
        return got

    def calls(self, member: Member) -> dict[str, Shot]:
        """The ten, as this member and the operator make them."""
        own, operators = _bearer(member.token), _bearer(self.platform.operator())
        people, key = _bearer(self.manager_token), {"Idempotency-Key": "{key}"}
        said = json.dumps({"email": member.account.email, "password": member.account.password})
        renewed = json.dumps({"refresh_token": "@"}).replace("@", "{refresh_token}")
        wanted = json.dumps({"branch_id": "local"})
        return {
            "sign in": Shot("POST", "/auth/v1/tokens", {}, said),
            "renew a session": Shot("POST", "/auth/v1/tokens/refresh", {}, renewed, learns=True),
            "own profile": Shot("GET", f"/auth/v1/members/{member.account.member_id}", own),
            "entries of a branch": Shot("GET", "/access/v1/entries?branch_id=local&limit=20", people),
            "QR pass": Shot("POST", "/access/v1/qr-passes", own, wanted),
            "branch search": Shot("GET", f"/search/v1/branches?q={quote(SENTENCE)}"),
            "branch profile": Shot("GET", f"/branch/v1/branches/{self.branch_id}"),
            "helper's statement": Shot("GET", "/helper/v1/statement", people),
            "equipment overview": Shot("GET", "/monitoring/v1/overview", operators),
            "notifications read": Shot("POST", "/notification/v1/notifications/read", {**own, **key}, "{}"),
        }

    def callers(self, names: list[str], count: int) -> list[Caller]:
        """As many connections, each of which makes these calls in turn, not all the same at once, for members of its own where there are
        enough (a session is renewed for one: its token is good once)."""
        made = []
        for number in range(count):
            mine = self.members[number::count] or [self.members[number % len(self.members)]]
            calls = [self.calls(member) for member in (mine[:1] if "renew a session" in names else mine)]
            turned = names[number % len(names) :] + names[: number % len(names)]
            made.append(Caller([each[name] for each in calls for name in turned], mine[0].said))
        return made

    def clock(self) -> Clock:
        """Processor time of the services that answer."""
        supervisor = Supervisor(self.state)
        return Clock({name: [supervisor.pid(name)] for name in SERVICES})
