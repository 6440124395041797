"""Requests that want more than they say: keys used again, fields that are not theirs to set, and texts that some language reads."""

from __future__ import annotations

import concurrent.futures
import re
import time
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from sqlalchemy import text

from platform_api.core.database import DOMAINS, unit_of_work
from platform_api.core.models import new_id
from tests.contract_document import NAMES, OPERATIONS, address, allowed, properties
from tests.contract_examples import body, json_schema, options, put, resolved
from tests.contract_world import Headers, World
from tests.faults.attacks.ownership import path_parameters
from tests.faults.attacks.tally import Tally
from tests.faults.attacks.written import Written
from tests.results import full

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PART = "requests"
BAR = "keys used again, fields that are not the caller's to set, and texts with another language in them have no effect"
IDEMPOTENT = [
    name
    for name in NAMES
    if any(known["name"] == "Idempotency-Key" for known in OPERATIONS[name].get("parameters", ()))
]
PRIVILEGED: dict[str, Any] = {
    "roles": ["operator"], "role": "operator", "branch_ids": ["*"], "status": "active", "state": "approved", "balance": 10**9,
    "id": "x", "member_id": "x", "helper_id": "x", "branch_id": "gangnam", "manager_ids": ["x"], "version": 999, "is_admin": True,
    "admin": True, "created_by": "x", "actor": "x", "decided_by": "x", "created_at": "2020-01-01T00:00:00Z", "password_hash": "x",
    "kiosk_key_sha256": "0" * 64, "verified": True, "email_verified": True, "live": True, "won": 10**6, "reward_won": 10**6,
    "erased_at": None, "valid_until": "2999-12-31", "blocked": None, "__proto__": {"roles": ["operator"]},
    "constructor": {"prototype": {"admin": True}}, "roles[]": "operator", "roles.0": "operator", "$where": "1",
}  # fmt: skip


def caller(name: str, world: World) -> Headers:
    """Somebody who may."""
    owner = world.owners.get(name.split(" ", 1)[1])
    return {**(world.headers(owner) if owner else allowed(name, world)), "If-Match": "*"}


# --- keys that are used again


def test_a_key_does_one_request_of_one_caller(world: World, tally: Tally) -> None:
    """Every operation that takes a key: again it is answered again, another body is refused, another caller's is another."""
    answered = 0
    for name in IDEMPOTENT:
        if path_parameters(name) and not full() and hash_of(name) % 2:
            continue
        method, url, key = name.split(" ", 1)[0], address(name, world), {"Idempotency-Key": new_id()}
        told = options(name, world)
        if "data" in told:
            # Files are read as they are sent.
            continue
        first = world.client.open(url, method=method, headers={**caller(name, world), **key}, **told)
        if first.status_code >= 300:
            continue
        answered += 1
        again = world.client.open(url, method=method, headers={**caller(name, world), **key}, **told)
        same = again.headers.get("Idempotency-Replayed") == "true" and (again.status_code, again.data) == (
            first.status_code,
            first.data,
        )
        tally.judge("the same again", same, f"{name}: {again.status_code} {again.text[:100]}")
        other = world.client.open(
            f"{url}?another=1", method=method, headers={**caller(name, world), **key}, **{**told, "query_string": None}
        )
        tally.judge(
            "the same key for another request",
            other.status_code in (409, 422),
            f"{name}: {other.status_code} {other.text[:100]}",
        )
        if isinstance(told.get("json"), dict):
            changed = {**told, "json": {**told["json"], "reason": "something else"}}
            other = world.client.open(url, method=method, headers={**caller(name, world), **key}, **changed)
            tally.judge(
                "the same key for another body",
                other.status_code in (409, 422),
                f"{name}: {other.status_code} {other.text[:100]}",
            )
        # The answer that was kept may hold what is the first one's.
        for stranger in ({}, world.token_for(new_id(), "customer"), world.token_for(new_id(), "operator")):
            theirs = world.client.open(url, method=method, headers={**stranger, "If-Match": "*", **key}, **told)
            replayed = "Idempotency-Replayed" in theirs.headers
            tally.judge(
                "somebody else's key", not replayed or not OPERATIONS[name]["security"], f"{name}: {theirs.status_code}"
            )
    assert answered > 15
    tally.more["operations_with_a_key"] = answered
    tally.check()


def hash_of(name: str) -> int:
    """The same in each run."""
    return sum(name.encode())


def test_one_key_at_once_has_one_effect(world: World, tally: Tally) -> None:
    """Money, by twelve at once: credited once; and paid out no more often than there is money, by different keys."""
    helper = world.people["helper"]

    def balance() -> int:
        return int(
            world.call("operator", "GET", "/helper/v1/balance", query_string={"helper_id": helper})["available_won"]
        )

    rounds, at_once = (10, 12) if full() else (3, 12)
    for _ in range(rounds):
        before, key = balance(), new_id()
        given = {"helper_id": helper, "won": 1_000, "reason": "once"}
        headers = {**world.headers("operator"), "Idempotency-Key": key}

        def send(_: int, headers: Headers = headers, given: dict[str, Any] = given) -> int:
            return world.app.test_client().post("/helper/v1/adjustments", headers=headers, json=given).status_code

        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            codes = list(pool.map(send, range(at_once)))
        gained = balance() - before
        tally.tried("one key at once", at_once)
        if gained != 1_000 or not set(codes) <= {201, 409}:
            tally.accepted("one key at once", f"{gained} won by {codes}")
    account = {"bank": "한국은행", "account_number": "110-123-456789", "holder": "김하늘"}
    before = balance()
    half = before // 2 + 1
    headers = world.headers("helper")

    def withdraw(_: int) -> int:
        wanted = {"won": half, "destination": account}
        sent = {**headers, "Idempotency-Key": new_id()}
        return world.app.test_client().post("/helper/v1/withdrawals", headers=sent, json=wanted).status_code

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        codes = list(pool.map(withdraw, range(at_once)))
    tally.tried("one balance at once", at_once)
    if codes.count(201) != 1 or balance() < 0:
        tally.accepted("one balance at once", f"{codes}, {balance()} of {before}")
    trial = world.call("operator", "GET", "/helper/v1/ledger/trial-balance")
    assert trial["total"] == 0, trial
    tally.check()


# --- fields that are not theirs


@pytest.mark.parametrize("part", range(4))
def test_no_field_can_be_set_that_is_not_in_the_document(world: World, tally: Tally, part: int) -> None:
    """Every JSON body with every privileged field that it does not have, one by one: refused for that field."""
    for name in [name for name in NAMES if properties(name)][part::4]:
        method, url, good = name.split(" ", 1)[0], address(name, world), body(name, world)
        extra = [word for word in PRIVILEGED if word not in properties(name)]
        for word in extra if full() else extra[hash_of(name) % 5 :: 5]:
            answer = world.client.open(
                url, method=method, headers=caller(name, world), json={**good, word: PRIVILEGED[word]}
            )
            refused = answer.status_code == 422 and word.split(".")[0] in answer.text
            # A rule may have refused it before.
            refused = refused or answer.status_code in (404, 409)
            tally.judge("privileged fields", refused, f"{name} with {word}: {answer.status_code} {answer.text[:160]}")
        for inner, schema in (json_schema(name) or {}).get("properties", {}).items():
            if (
                resolved(schema).get("type") == "object"
                and isinstance(good.get(inner), dict)
                and "properties" in resolved(schema)
            ):
                sent = {**good, inner: {**good[inner], "roles": ["operator"]}}
                answer = world.client.open(url, method=method, headers=caller(name, world), json=sent)
                tally.judge(
                    "privileged fields within",
                    answer.status_code in (404, 409, 422),
                    f"{name} in {inner}: {answer.status_code}",
                )
    tally.check()


def test_what_a_member_may_set_of_themselves_changes_nothing_else(world: World, tally: Tally) -> None:
    """After all of it, roles, branches, status and balance are what they were."""
    member_id = world.people["customer"]
    shown = world.call("operator", "GET", f"/auth/v1/members/{member_id}")
    with unit_of_work("auth") as session:
        row = session.execute(
            text("SELECT roles, branch_ids, status FROM member WHERE id = :id"), {"id": member_id}
        ).one()
    tally.judge("rights after all", list(row.roles) == shown["roles"] == ["customer"], str(row))
    tally.judge("rights after all", not row.branch_ids and row.status == "active", str(row))
    tally.check()


# --- texts that some language reads

SQL = (
    "'", "' OR '1'='1", "'; DROP TABLE member; --", "x' UNION SELECT password_hash FROM member --", "1; SELECT pg_sleep(3)",
    "' || pg_sleep(3) || '", "%' OR 1=1 --", "\\'", "$$;SELECT 1;$$", "{0}", "%s%s%n", ":id", "gangnam'--",
)  # fmt: skip
SEARCH = (
    "*", "*:*", "a* OR *:*", "field:[* TO *]", "name:(a", '"unclosed', "a AND (b OR", "~", "^9", "/.*/", "_exists_:x", "((((((((((",
    '{"match_all":{}}', "+-&&||!(){}[]^\"~*?:\\/",
)  # fmt: skip
OTHERS = (
    "{{7*7}}", "${7*7}", "<%= 7*7 %>", "${jndi:ldap://127.0.0.1:9/a}", "<script>alert(1)</script>", "../../../../etc/passwd",
    "..\\..\\windows\\win.ini", "file:///etc/passwd", "$(id)", "`id`", "| id", "=cmd|' /C calc'!A0", "[$ne]", '{"$gt":""}',
)  # fmt: skip
BREAKS = (
    "x\r\nSet-Cookie: smartfit_attack=1", "x\nX-Attack: 1", "x\r\n\r\n<html>", "x%0d%0aSet-Cookie: smartfit_attack=1",
    'x"}\n{"log.level":"info","message":"smartfit_attack"}', "x\u2028smartfit_attack", "x\x1b[2Jsmartfit_attack", "x\x85smartfit_attack",
)  # fmt: skip
PAYLOADS = (*SQL, *SEARCH, *OTHERS, *BREAKS)
TOLD = re.compile(
    r"psycopg|sqlalchemy|syntax error at|Traceback|SELECT |pg_catalog|tantivy|root:x:0|unterminated", re.IGNORECASE
)
SLEEP_S = 2.5


def judge(answer: Any, spent: float, payload: str, told: str, tally: Tally, kind: str) -> None:
    """No fault of ours, nothing of the inside told, no header made, no time lost."""
    echoed = answer.data.decode(errors="replace").replace(payload, "") if "image" not in answer.content_type else ""
    bad = []
    if answer.status_code >= 500:
        bad.append("a fault")
    # What was found may have been written by anybody, a payload of before among it; a refusal has words of its own.
    if answer.status_code >= 400 and TOLD.search(echoed):
        bad.append("tells of the inside")
    if "smartfit_attack" in str(answer.headers) and any(
        word.lower() in ("set-cookie", "x-attack") for word, _ in answer.headers
    ):
        bad.append("a header")
    if any("\n" in value or "\r" in value for _, value in answer.headers):
        bad.append("a broken header")
    # Two slashes are one: the way there is told, on this host, and as text.
    moved = (
        answer.status_code == 308
        and answer.headers["Location"].startswith("http://localhost/")
        and "<script" not in echoed
    )
    if "text/html" in answer.content_type and not moved:
        bad.append("HTML")
    if "sleep" in payload and spent > SLEEP_S:
        bad.append(f"{spent:.1f} s")
    tally.judge(kind, not bad, f"{told} {payload!r}: {answer.status_code} {bad} {echoed[:160]}")


def chosen(name: str, word: str) -> list[str]:
    """Payloads of a field: all, or in a small run a few of them, others for each field."""
    if full():
        return list(PAYLOADS)
    return list(PAYLOADS[hash_of(name + word) % 12 :: 12])


def rows() -> dict[str, int]:
    """Tables of each domain."""
    count = {}
    for domain in DOMAINS:
        with unit_of_work(domain) as session:
            found = session.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
            count[domain] = int(found or 0)
    return count


@pytest.fixture(scope="module", autouse=True)
def harmless(written: Written) -> None:
    """These are secrets nowhere, wherever they are sent."""
    written.harmless.update(PAYLOADS)


@pytest.mark.parametrize("part", range(4))
def test_texts_that_a_language_reads_are_texts(world: World, written: Written, tally: Tally, part: int) -> None:
    before = rows()
    for name in NAMES[part::4]:
        method, path = name.split(" ", 1)
        url = address(name, world)
        parameters = OPERATIONS[name].get("parameters", ())
        for word in [known["name"] for known in parameters if known["in"] == "query"]:
            for payload in chosen(name, word):
                begun = time.monotonic()
                told = options(name, world)
                told["query_string"] = {**told["query_string"], word: payload}
                answer = world.client.open(url, method=method, headers=caller(name, world), **told)
                judge(answer, time.monotonic() - begun, payload, f"{name}?{word}", tally, "in a query")
        for word in path_parameters(name):
            for payload in chosen(name, word):
                begun = time.monotonic()
                ids = dict.fromkeys(path_parameters(name), "none") | {word: quote(payload, safe="")}
                answer = world.client.open(
                    put(path, ids), method=method, headers=caller(name, world), **options(name, world)
                )
                judge(answer, time.monotonic() - begun, payload, f"{name} {word}", tally, "in a path")
    assert rows() == before
    tally.check()


@pytest.mark.parametrize("part", range(4))
def test_texts_in_bodies_and_headers(world: World, tally: Tally, part: int) -> None:
    before = rows()
    for name in NAMES[part::4]:
        method, url = name.split(" ", 1)[0], address(name, world)
        if properties(name) and not re.search("/(status|roles|password)$", name):
            for word, schema in (json_schema(name) or {}).get("properties", {}).items():
                kinds = resolved(schema).get("type", "string")
                if "string" not in kinds or "enum" in resolved(schema):
                    continue
                for payload in chosen(name, word):
                    begun = time.monotonic()
                    answer = world.client.open(
                        url, method=method, headers=caller(name, world), json={**body(name, world), word: payload}
                    )
                    judge(answer, time.monotonic() - begun, payload, f"{name} {word}", tally, "in a body")
        for header in (
            "If-Match",
            "Idempotency-Key",
            "Accept-Language",
            "User-Agent",
            "X-Request-Id",
            "X-Forwarded-For",
            "traceparent",
        ):
            for payload in chosen(name, header)[:: 1 if full() else 4]:
                # Such a line the server in front takes apart before anybody reads it.
                sent = re.sub(r"[\r\n]", " ", payload).encode().decode("latin-1")
                begun = time.monotonic()
                told = options(name, world) if method == "GET" else {"json": {}}
                answer = world.client.open(url, method=method, headers={**caller(name, world), header: sent}, **told)
                judge(answer, time.monotonic() - begun, payload, f"{name} {header}", tally, "in a header")
    assert rows() == before
    tally.check()


def test_a_condition_that_is_always_true_finds_no_more(world: World, tally: Tally) -> None:
    """Lists that are narrowed by a text: a text that is SQL or a query finds what any nonsense finds."""
    for name in NAMES:
        if not name.startswith("GET") or OPERATIONS[name]["responses"].get("200") is None:
            continue
        for known in OPERATIONS[name].get("parameters", ()):
            word, schema = known["name"], known.get("schema", {})
            if known["in"] != "query" or schema.get("type") != "string" or "enum" in schema or word in ("cursor", "q"):
                continue
            url = address(name, world)
            nothing = world.client.get(url, headers=caller(name, world), query_string={word: "nothing-of-that-name"})
            # None of these was sent before, lest something be called so by now.
            for payload in (
                f"{new_id()}' OR '1'='1",
                "%%",
                "_%_",
                "**",
                f"{new_id()}' OR 1=1 --",
                f"{new_id()}' OR 'a'='a",
            ):
                answer = world.client.get(url, headers=caller(name, world), query_string={word: payload})
                more = answer.status_code == 200 and len(answer.json.get("items", ())) > len(
                    (nothing.json or {}).get("items", ())
                )
                tally.judge("always true", not more, f"{name}?{word}={payload}: {answer.text[:160]}")
    tally.check()


def test_no_text_breaks_out_of_its_line_of_the_log(world: World, written: Written, tally: Tally) -> None:
    """After all of it each line of the log is one event of the platform."""
    for payload in BREAKS:
        world.client.get(f"/branch/v1/branches/{quote(payload, safe='')}", headers=world.headers("customer"))
        world.client.post("/auth/v1/tokens", json={"email": f"{payload}@example.com", "password": payload})
    broken = written.broken()
    tally.tried("log lines", len(written.lines()))
    for line in broken:
        tally.accepted("log lines", line)
    assert len(written.lines()) > 100
    tally.check()


def test_no_secret_is_written_down(world: World, written: Written, tally: Tally) -> None:
    """Passwords, tokens, keys, cards, addresses, accounts and templates of all that was sent and answered: none of them is in the log."""
    assert len(written.secrets) > 50
    for secret in written.found():
        tally.accepted("secrets written down", secret)
    tally.tried("secrets written down", len(written.secrets))
    # What is looked for would be found.
    planted = f"planted {new_id()}"
    written.add(planted, "planted")
    structlog.get_logger("tests").warning("attacked", what=planted)
    assert [told.partition(" ")[0] for told in written.found() if told.startswith("planted")] == ["planted"]
    del written.secrets[planted]
    tally.check()
