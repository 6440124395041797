"""Who may what, as hypothesis plays it through the public API: signing in and out, roles, branches, suspension, new passwords, old tokens.

The model knows of each token which state of the member it was issued in and whether its session lives; after each step every
token is shown at a door of each role, and at a branch of the manager's own and another.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contract_values import CARD, PASSWORD
from tests.contract_world import World

ROLES = ("customer", "helper", "branch_manager", "operator")
DOORS = {
    "/helper/v1/statement": "helper",
    "/branch/v1/tasks?branch_id=gangnam": "branch_manager",
    "/branch/v1/tasks?branch_id=mapo": "branch_manager",
    "/auth/v1/members": "operator",
}
BRANCHES = ("gangnam", "mapo")
MOST_TOKENS = 6
_numbers = itertools.count()


@dataclass
class Login:
    """A session: its refresh tokens, the last of which is good."""

    refresh: list[str]
    alive: bool = True


@dataclass
class Held:
    """An access token: of which session, and issued in which state of the member."""

    login: Login
    state: int
    headers: dict[str, str] = field(repr=False)


class Permissions(RuleBasedStateMachine):
    """One member, an operator, and everything that changes what the member may do."""

    world: ClassVar[World]
    asked: ClassVar[int] = 0

    @initialize()
    def join(self) -> None:
        number = next(_numbers)
        self.email = f"permissions{number}@example.com"
        # Of its own: log-ins that are refused count against an address, over all members.
        self.address = {"REMOTE_ADDR": f"198.18.{number // 250 % 250}.{number % 250 + 1}"}
        self.password = PASSWORD
        wanted = {
            "email": self.email, "password": PASSWORD, "name": "김하늘", "phone": "+82 10-1234-5678", "birth_date": "1995-04-12", "card": CARD,
        }  # fmt: skip
        made = self.world.client.post("/auth/v1/members", json=wanted, environ_base=self.address)
        assert made.status_code == 201, made.text
        self.member = str(made.json["member_id"])
        self.roles, self.branches, self.active, self.state = {"customer"}, set[str](), True, 0
        self.logins: list[Login] = []
        self.held: list[Held] = []
        self.refused = 0

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        return self.world.client.post(f"/auth/v1{path}", json=body, headers=headers, environ_base=self.address)

    def _keep(self, login: Login, tokens: dict[str, Any]) -> None:
        login.refresh.append(tokens["refresh_token"])
        self.held.append(Held(login, self.state, {"Authorization": f"Bearer {tokens['access_token']}"}))
        del self.held[:-MOST_TOKENS]

    @precondition(lambda self: self.active or self.refused < 3)
    @rule()
    def sign_in(self) -> None:
        answer = self._post("/tokens", {"email": self.email, "password": self.password})
        assert answer.status_code == (200 if self.active else 403), answer.text
        if self.active:
            self.refused = 0
            self.logins.append(Login([]))
            self._keep(self.logins[-1], answer.json)
        else:
            self.refused += 1

    @precondition(lambda self: self.logins)
    @rule(which=st.integers(0, 99), old=st.booleans())
    def refresh(self, which: int, old: bool) -> None:
        login = self.logins[which % len(self.logins)]
        reused = old and len(login.refresh) > 1
        answer = self._post("/tokens/refresh", {"refresh_token": login.refresh[0 if reused else -1]})
        good = login.alive and self.active and not reused
        assert answer.status_code == (200 if good else 401), answer.text
        if good:
            self._keep(login, answer.json)
        elif reused:
            # Two hold it: the whole session ends.
            login.alive = False

    @precondition(lambda self: self.logins)
    @rule(which=st.integers(0, 99))
    def sign_out(self, which: int) -> None:
        login = self.logins[which % len(self.logins)]
        assert self._post("/tokens/revoke", {"refresh_token": login.refresh[-1]}).status_code == 204
        login.alive = False

    @rule(roles=st.sets(st.sampled_from(ROLES), min_size=1), branches=st.sets(st.sampled_from(BRANCHES), min_size=1))
    def set_roles(self, roles: set[str], branches: set[str]) -> None:
        branches = branches if "branch_manager" in roles else set()
        wanted = {"roles": sorted(roles), "branch_ids": sorted(branches)}
        self.world.call("operator", "PUT", f"/auth/v1/members/{self.member}/roles", json=wanted)
        self.roles, self.branches, self.state = roles, branches, self.state + 1

    @rule(active=st.booleans())
    def set_status(self, active: bool) -> None:
        wanted = {"status": "active" if active else "suspended", "reason": "시험"}
        self.world.call("operator", "PUT", f"/auth/v1/members/{self.member}/status", json=wanted)
        if not active:
            for login in self.logins:
                login.alive = False
        self.state += active != self.active
        self.active = active

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99))
    def change_password(self, which: int) -> None:
        held = self.held[which % len(self.held)]
        new = f"또-다른-긴-암호-{len(self.logins)}-{which}"
        said = {"current_password": self.password, "new_password": new}
        answer = self.world.client.put(
            f"/auth/v1/members/{self.member}/password", json=said, headers=held.headers, environ_base=self.address
        )
        if not self._good(held):
            assert answer.status_code == 401, answer.text
        elif new == self.password:
            assert answer.status_code == 422, answer.text
        else:
            assert answer.status_code == 204, answer.text
            self.password = new
            for login in self.logins:
                login.alive = False

    def _good(self, held: Held) -> bool:
        return self.active and held.login.alive and held.state == self.state

    def _expected(self, held: Held, path: str, role: str) -> set[int]:
        if not self._good(held):
            return {401}
        if role == "branch_manager" and "operator" not in self.roles:
            if role not in self.roles:
                return {403}
            # Another's branch is refused, or as good as not there.
            return {200} if path.partition("branch_id=")[2] in self.branches else {403, 404}
        return {200} if {role, "operator"} & self.roles else {403}

    @invariant()
    def each_token_opens_what_it_should(self) -> None:
        for held in getattr(self, "held", ()):
            for path, role in DOORS.items():
                answer = self.world.client.get(path, headers=held.headers)
                type(self).asked += 1
                assert answer.status_code in self._expected(held, path, role), (path, self.roles, self.branches, self._good(held), answer.text)  # fmt: skip
