"""What the platform writes down while it is attacked, searched for every secret that passed through it.

Secrets are collected where they pass: in the requests and answers of the application, by the names under which they are sent,
and in the settings. The list of names is this test's own; what the product takes out of its logs is what is tested.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, request
from sqlalchemy import text

from platform_api.core.database import DOMAINS, unit_of_work
from tests.contract_values import CARD, PASSWORD, UNIT, VECTOR
from tests.contract_world import CARD_KEY, SECRET

# By these names secrets travel, whichever way.
NAMES = frozenset(
    {
        "password", "current_password", "new_password", "refresh_token", "access_token", "client_secret", "token", "number",
        "email", "phone", "kiosk_key", "private_key", "vectors", "account_number", "p256dh", "auth", "endpoint", "code_sent",
    }
)  # fmt: skip
PASSWORDS = frozenset({"password", "current_password", "new_password", "client_secret"})
# Who writes here: the APIs, and the gate node that some of the tests start in the same process.
SERVICES = frozenset({"smartfit-api", "access-edge"})
# Shorter ones would be found in anything.
SHORTEST = 8


class Written:
    """The log of the application, and the secrets that must not be in it."""

    def __init__(self) -> None:
        self._log = io.StringIO()
        self.secrets: dict[str, str] = {
            PASSWORD: "password", SECRET: "client secret", CARD_KEY: "API key", CARD["number"]: "card number",
            UNIT: "template", VECTOR: "template",
        }  # fmt: skip
        # What an attack sends where a secret is wanted, and that is none.
        self.harmless = {"gangnam", "x" * 40}

    @contextmanager
    def listening(self) -> Iterator[Written]:
        """While this lasts, what `watch` was told of writes here."""
        handlers: list[logging.Handler] = []
        self._handlers = handlers
        yield self
        for handler in handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(io.StringIO())

    def watch(self, app: Flask) -> None:
        """Read the log of an application that was just made, and what passes through it."""
        self.attach()
        app.after_request(self._note)

    def attach(self) -> None:
        """Read what the process logs from now on; whoever sets up its log anew sends it elsewhere."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and type(handler) is logging.StreamHandler:
                handler.setStream(self._log)
                self._handlers.append(handler)

    def _note(self, answer: Response) -> Response:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if given:
            self.add(given, f"{kind} token")
        taken = answer.status_code < 400
        if request.is_json:
            # What was refused may be no secret at all, a wrong password still is somebody's.
            self._collect(request.get_json(silent=True), NAMES if taken else PASSWORDS)
        if answer.is_json and taken:
            self._collect(answer.get_json(silent=True), NAMES)
        return answer

    def _collect(self, value: Any, names: frozenset[str]) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                if name in names and isinstance(item, str):
                    self.add(item, name)
                self._collect(item, names)
        elif isinstance(value, list):
            for item in value:
                self._collect(item, names)

    def add(self, secret: str, kind: str) -> None:
        """One more that must not be written down."""
        if len(secret) >= SHORTEST and secret not in self.harmless and not secret.isspace():
            self.secrets.setdefault(secret, kind)

    def lines(self) -> list[str]:
        """Of the log so far."""
        return self._log.getvalue().splitlines()

    def broken(self) -> list[str]:
        """Lines that are no event of the platform: what was sent broke out of the line that tells of it."""
        found = []
        for line in self.lines():
            try:
                event = json.loads(line)
            except ValueError:
                found.append(line[:200])
                continue
            if not (isinstance(event, dict) and event.get("service.name") in SERVICES):
                found.append(line[:200])
        return found

    def found(self) -> list[str]:
        """The secrets that stand in the log or in an audit trail: kind and line, without the secret."""
        told = "\n".join(_plain(line) for line in self.lines())
        trails = "\n".join(_trail(domain) for domain in DOMAINS)
        found = []
        for place, whole in (("log", told), ("audit trail", trails)):
            for secret, kind in self.secrets.items():
                at = whole.find(secret)
                if at >= 0:
                    start = whole.rfind("\n", 0, at) + 1
                    line = whole[start : at + len(secret) + 60].replace(secret, "<HERE>")
                    found.append(f"{kind} in the {place}: {line[-300:]}")
        return found


def _plain(line: str) -> str:
    # As its reader sees it, without the escapes of JSON.
    try:
        return json.dumps(json.loads(line), ensure_ascii=False).replace('\\"', '"')
    except ValueError:
        return line


def _trail(domain: str) -> str:
    with unit_of_work(domain) as session:
        rows = session.execute(text("SELECT actor, action, target, details::text FROM audit_log"))
        return "\n".join(" ".join(str(value) for value in row) for row in rows)
