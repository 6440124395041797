"""`python -m platform_api.auth.bootstrap`: the first operator and the service clients. Safe to run at every start.

From SMARTFIT_OPERATOR_EMAIL, SMARTFIT_OPERATOR_PASSWORD_FILE and SMARTFIT_SERVICE_CLIENTS_FILE, a JSON object
{client_id: secret}. An operator who exists keeps their own password; a service client gets the secret of the file, and
one that is no longer in it is disabled.
"""

from __future__ import annotations

import json
import re
import sys

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from platform_api.auth import announcing
from platform_api.auth.members import email_key
from platform_api.auth.models import Member, ServiceClient
from platform_api.auth.passwords import check_password, hash_password, verify_password
from platform_api.core.clock import now
from platform_api.core.database import unit_of_work
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.security.audit import record
from platform_api.core.settings import Settings, SettingsError, load, required
from platform_api.core.telemetry import configure_logging

log = structlog.get_logger(__name__)
ACTOR = "bootstrap"
# One at a time: two that start together would both find nobody there.
_LOCK = 0x5F18
MIN_SECRET = 32
_CLIENT_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")


def ensure_operator(session: Session, email: str, password: str) -> bool:
    """Create the operator, or give the role to the member of that address. Returns whether anything changed.

    Raises:
        SettingsError: the password is too weak or the address is none.
    """
    if "@" not in email:
        raise SettingsError("SMARTFIT_OPERATOR_EMAIL: 이메일이 아닙니다 (not an e-mail address)")
    member = session.scalar(select(Member).where(Member.email_key == email_key(email)).with_for_update())
    if member is not None:
        if "operator" in member.roles:
            return False
        member.roles = sorted({*member.roles, "operator"})
        announcing.member_changed(session, member)
        record(session, ACTOR, "roles.changed", member.id, {"after": member.roles})
        return True
    try:
        check_password(password, email)
    except Problem as problem:
        raise SettingsError(f"SMARTFIT_OPERATOR_PASSWORD: {problem.detail_ko} ({problem.detail_en})") from None
    member = Member(
        id=new_id(),
        email=email.strip(),
        email_key=email_key(email),
        password_hash=hash_password(password),
        name="Operator",
        language="ko",
        roles=["operator"],
        branch_ids=[],
    )
    session.add(member)
    session.flush()
    announcing.member_registered(session, member)
    record(session, ACTOR, "member.registered", member.id, {"roles": member.roles})
    return True


def ensure_clients(session: Session, clients: dict[str, str]) -> list[str]:
    """Make the service clients as the file says. Returns the ids of those that changed."""
    changed = []
    known = {client.client_id: client for client in session.scalars(select(ServiceClient).with_for_update())}
    for client_id, secret in sorted(clients.items()):
        client = known.pop(client_id, None)
        if client is None:
            session.add(ServiceClient(client_id=client_id, secret_hash=hash_password(secret)))
        elif client.disabled_at is not None or not verify_password(secret, client.secret_hash):
            client.secret_hash, client.disabled_at = hash_password(secret), None
        else:
            continue
        changed.append(client_id)
    for client in known.values():
        if client.disabled_at is None:
            client.disabled_at = now()
            changed.append(client.client_id)
    for client_id in changed:
        record(session, ACTOR, "service_client.set", client_id)
    return changed


def parse_clients(text: str) -> dict[str, str]:
    """The clients in the file's text.

    Raises:
        SettingsError: it is not JSON of that form, or a secret is short.
    """
    name = "SMARTFIT_SERVICE_CLIENTS"
    try:
        clients = json.loads(text)
    except ValueError:
        raise SettingsError(f"{name}: JSON이 아닙니다 (not JSON)") from None
    if not isinstance(clients, dict) or not all(isinstance(secret, str) for secret in clients.values()):
        raise SettingsError(f"{name}: {{client_id: secret}} 형식의 JSON이어야 합니다 (not a JSON object of strings)")
    for client_id, secret in clients.items():
        if not _CLIENT_ID.fullmatch(client_id) or len(secret) < MIN_SECRET:
            raise SettingsError(
                f"{name}: {client_id}: 비밀 값은 {MIN_SECRET}자 이상이어야 합니다 "
                f"(an id is lower case, a secret has {MIN_SECRET} characters or more)"
            )
    return clients


def main() -> None:
    """Read the settings and do it; on a wrong setting, name it and exit with 2."""
    try:
        configure_logging("smartfit-auth-bootstrap", load(Settings).log_level)
        email, password = required("SMARTFIT_OPERATOR_EMAIL"), required("SMARTFIT_OPERATOR_PASSWORD")
        clients = parse_clients(required("SMARTFIT_SERVICE_CLIENTS"))
        with unit_of_work("auth") as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            operator_changed = ensure_operator(session, email, password)
            changed = ensure_clients(session, clients)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    log.info("bootstrapped", operator_changed=operator_changed, clients_changed=changed)


if __name__ == "__main__":
    main()
