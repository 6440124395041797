"""Money: credited once whatever is delivered twice, never edited, never below zero, whoever comes at once."""

import concurrent.futures
import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from platform_api.core.database import database, unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.inbox import accept, handle_next, receive
from platform_api.helper import ledger

BANK = {"bank": "신한은행", "account_number": "110-123-456789", "holder": "홍길동"}


def withdrawal(won: int = 5000) -> dict[str, Any]:
    return {"json": {"won": won, "destination": BANK}}


def test_good_work_is_paid_once(world: Any) -> None:
    task = world.submit()
    for _ in range(3):
        world.decide(task)
    world.decide(task, "redo", "not_done")
    assert world.balance() == (500, 0)
    (line,) = world.ok("GET", "/statement", world.helper())["items"]
    assert (line["won"], line["balance_won"], line["reference"]) == (500, 500, f"reward:{task['task_id']}")


@pytest.mark.parametrize(
    ("outcome", "label", "won"),
    [("confirmed", "done", 500), ("corrected", "done", 500), ("confirmed", "not_done", 0), ("corrected", "not_done", 0), ("redo", "not_done", 0)],
)  # fmt: skip
def test_what_is_paid(world: Any, outcome: str, label: str, won: int) -> None:
    world.decide(world.submit(), outcome, label)
    assert world.balance() == (won, 0)


def test_fifty_confirmations_at_once_pay_once(world: Any) -> None:
    """Twenty-five deliveries of one event, and twenty-five events of their own, all about one task."""
    task = world.submit()
    event_types = ("branch.TaskConfirmed", task["task_id"], 1)
    same = Event.new(*event_types, world.decision(task))
    events = [same] * 25 + [Event.new(*event_types, world.decision(task)) for _ in range(25)]
    barrier = threading.Barrier(len(events))

    def deliver(event: Event) -> str:
        barrier.wait()
        for _ in range(20):
            try:
                with unit_of_work("helper") as session:
                    accept(session, event, "helper")
                return "delivered"
            except Exception as error:  # a broker would deliver again
                last = repr(error)
        return last

    with concurrent.futures.ThreadPoolExecutor(len(events)) as pool:
        assert set(pool.map(deliver, events)) == {"delivered"}
    for _ in range(100):
        with unit_of_work("helper") as session:
            if not handle_next(session, "helper"):
                break
    assert world.rows("SELECT status, count(*) FROM inbox GROUP BY status") == [("done", 26)]
    assert world.balance() == (500, 0)
    assert world.rows("SELECT count(*) FROM posting")[0][0] == 2
    assert world.rows("SELECT count(*) FROM audit_log WHERE action = 'task.decided'")[0][0] == 1


def test_a_confirmation_of_an_unknown_task_waits_and_pays_when_the_task_is_there(world: Any) -> None:
    task = world.submit()
    event = Event.new("branch.TaskConfirmed", task["task_id"], 1, {**world.decision(task), "task_id": "not-here-yet"})
    with unit_of_work("helper") as session:
        accept(session, event, "helper")
    assert world.rows("SELECT status, attempts FROM inbox") == [("pending", 1)]
    for _ in range(9):
        with database("helper").begin() as connection:
            connection.execute(text("UPDATE inbox SET next_attempt_at = clock_timestamp()"))
        with unit_of_work("helper") as session:
            assert handle_next(session, "helper")
    ((status, error),) = world.rows("SELECT status, last_error FROM inbox")
    assert (status, error) == ("dead", "NotKnownYet: task not-here-yet is not known here")


def test_the_promised_reward_stands_though_the_tariff_changes(world: Any) -> None:
    assert world.ok("PUT", "/tariffs/*/hanging", json={"won": 700})["version"] == 1
    first = world.submit()
    world.ok("PUT", "/tariffs/gangnam/hanging", json={"won": 900}, headers={"If-Match": '"0"'})
    second, other = world.submit(), world.submit(kind="folding")
    assert [task["reward_won"] for task in (first, second, other)] == [700, 900, 500]
    stale = world.refused("PUT", "/tariffs/gangnam/hanging", json={"won": 1}, headers={"If-Match": '"7"'})
    assert stale == (412, "precondition_failed")
    assert world.refused("PUT", "/tariffs/*/baking", json={"won": 1}) == (422, "kind_unknown")
    assert world.refused("PUT", "/tariffs/nowhere/hanging", json={"won": 1}) == (404, "branch_not_found")
    assert world.refused("PUT", "/tariffs/*/hanging", json={"won": -1})[0] == 422
    assert world.refused("PUT", "/tariffs/*/hanging", json={"won": 1.5})[0] == 422
    assert world.refused("PUT", "/tariffs/*/hanging", world.helper(), json={"won": 10**6})[0] == 403
    shown = world.ok("GET", "/tariffs?branch_id=gangnam", world.helper())
    assert {(item["branch_id"], item["won"]) for item in shown["items"]} == {("*", 700), ("gangnam", 900)}
    assert (shown["otherwise_won"], shown["kinds"]) == (500, ["hanging", "sorting", "folding"])


def test_work_without_a_reward_moves_no_money(world: Any) -> None:
    world.ok("PUT", "/tariffs/*/hanging", json={"won": 0})
    world.decide(world.submit())
    assert world.balance() == (0, 0)


def test_withdrawing(world: Any) -> None:
    who = world.paid(won=20_000)
    first = world.ok("POST", "/withdrawals", who, **withdrawal(12_000))
    assert (first["state"], first["account_tail"]) == ("requested", "6789")
    assert world.balance(who) == (8_000, 12_000)
    refused = world.call("POST", "/withdrawals", who, **withdrawal(8_001))
    assert (refused.status_code, refused.json["code"], refused.json["available_won"]) == (409, "balance_too_low", 8_000)
    path = f"/withdrawals/{first['withdrawal_id']}"
    etag = world.call("GET", path).headers["ETag"]
    approved = world.ok("POST", f"{path}/decision", json={"decision": "approve"}, headers={"If-Match": etag})
    assert (approved["state"], approved["decided_by"]) == ("approved", "operator-1")
    assert world.balance(who) == (8_000, 0)
    again = world.refused("POST", f"{path}/decision", json={"decision": "reject", "reason": "?"})
    assert again == (409, "decided_already")
    assert world.refused("POST", f"{path}/cancel", who) == (409, "decided_already")
    second = world.ok("POST", "/withdrawals", who, **withdrawal(8_000))
    path = f"/withdrawals/{second['withdrawal_id']}"
    stale = world.refused("POST", f"{path}/decision", json={"decision": "approve"}, headers={"If-Match": '"9"'})
    assert stale == (412, "precondition_failed")
    assert world.refused("POST", f"{path}/decision", json={"decision": "reject"}) == (422, "reason_required")
    world.ok("POST", f"{path}/decision", json={"decision": "reject", "reason": "계좌 불일치"})
    third = world.ok("POST", "/withdrawals", who, **withdrawal(8_000))
    world.ok("POST", f"/withdrawals/{third['withdrawal_id']}/cancel", who)
    assert world.balance(who) == (8_000, 0)
    assert world.ok("GET", "/ledger/trial-balance") == {
        "available": 8_000, "held": 0, "rewards": -20_000, "payouts": 12_000, "total": 0,
    }  # fmt: skip


def test_money_of_others(world: Any) -> None:
    who, other = world.paid(won=9_000), world.helper("helper-2")
    made = world.ok("POST", "/withdrawals", who, **withdrawal())
    path = f"/withdrawals/{made['withdrawal_id']}"
    assert world.refused("GET", path, other)[0] == 404
    assert world.refused("POST", f"{path}/cancel", other)[0] == 404
    assert world.refused("POST", f"{path}/decision", who, json={"decision": "approve"})[0] == 403
    assert world.refused("GET", f"{path}/destination", who)[0] == 403
    assert world.ok("GET", "/withdrawals?helper_id=helper-1", other)["items"] == []
    assert world.ok("GET", "/statement?helper_id=helper-1", other)["items"] == []
    assert world.balance(other) == (0, 0)
    assert world.ok("GET", "/balance?helper_id=helper-1") == {"available_won": 4_000, "held_won": 5_000}
    assert (
        world.refused("POST", "/adjustments", who, json={"helper_id": "helper-1", "won": 10**6, "reason": "me"})[0]
        == 403
    )
    assert world.refused("GET", "/ledger/trial-balance", who)[0] == 403


def test_the_bank_account_is_sealed_and_looking_is_noted(world: Any) -> None:
    made = world.ok("POST", "/withdrawals", world.paid(won=5_000), **withdrawal())
    (sealed,) = world.rows("SELECT destination_sealed FROM withdrawal")[0]
    assert b"110-123" not in bytes(sealed)
    assert world.ok("GET", f"/withdrawals/{made['withdrawal_id']}/destination") == BANK
    assert world.rows("SELECT actor FROM audit_log WHERE action = 'withdrawal.view_destination'") == [("operator-1",)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"won": 4_999, "destination": BANK}, "amount_too_small"),
        ({"won": 0, "destination": BANK}, "invalid"),
        ({"won": -5_000, "destination": BANK}, "invalid"),
        ({"won": 5_000.5, "destination": BANK}, "invalid"),
        ({"won": "5000", "destination": BANK}, "invalid"),
        ({"won": 10**12, "destination": BANK}, "invalid"),
        ({"won": 5_000}, "invalid"),
        ({"won": 5_000, "destination": {**BANK, "account_number": "12 or 13"}}, "invalid"),
        ({"won": 5_000, "destination": BANK, "state": "approved"}, "invalid"),
    ],
)
def test_bad_withdrawals(world: Any, body: dict[str, Any], code: str) -> None:
    who = world.paid(won=10_000)
    assert world.refused("POST", "/withdrawals", who, json=body) == (422, code)
    assert world.balance(who) == (10_000, 0)


def test_withdrawals_side_by_side_never_take_the_same_won_twice(application: Flask, world: Any) -> None:
    who = world.paid(won=12_000)
    barrier = threading.Barrier(10)

    def ask(_: int) -> int:
        barrier.wait()
        return application.test_client().post("/helper/v1/withdrawals", headers=who, **withdrawal(5_000)).status_code

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = sorted(pool.map(ask, range(10)))
    assert answers == [201] * 2 + [409] * 8
    assert world.balance(who) == (2_000, 10_000)


def test_deciding_and_cancelling_side_by_side_happens_once(application: Flask, world: Any) -> None:
    who = world.paid(won=5_000)
    path = f"/helper/v1/withdrawals/{world.ok('POST', '/withdrawals', who, **withdrawal())['withdrawal_id']}"
    barrier = threading.Barrier(9)

    def close(number: int) -> int:
        barrier.wait()
        client = application.test_client()
        if number % 3 == 0:
            return client.post(f"{path}/cancel", headers=who).status_code
        body = {"decision": ("approve", "reject")[number % 2], "reason": "x"}
        return client.post(f"{path}/decision", headers=world.operator, json=body).status_code

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        assert sorted(pool.map(close, range(9))) == [200] + [409] * 8
    available, held = world.balance(who)
    assert (held, available + world.ok("GET", "/ledger/trial-balance")["payouts"]) == (0, 5_000)


def test_at_most_three_requests_wait(world: Any) -> None:
    who = world.paid(won=50_000)
    for _ in range(3):
        world.ok("POST", "/withdrawals", who, **withdrawal())
    assert world.refused("POST", "/withdrawals", who, **withdrawal()) == (409, "withdrawals_open")


def test_the_statement_goes_back_page_by_page_and_adds_up(world: Any) -> None:
    who = world.paid(won=1_000)
    for won in (300, -200, 50, -1_000):
        world.ok("POST", "/adjustments", json={"helper_id": "helper-1", "won": won, "reason": "r"})
    lines, cursor = [], None
    while True:
        page = world.ok("GET", "/statement", who, query_string={"limit": 2, **({"cursor": cursor} if cursor else {})})
        lines += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert [(line["won"], line["balance_won"]) for line in lines] == [
        (-1_000, 150), (50, 1_150), (-200, 1_100), (300, 1_300), (1_000, 1_000),
    ]  # fmt: skip
    assert world.refused("POST", "/adjustments", json={"helper_id": "helper-1", "won": -151, "reason": "r"}) == (
        409, "balance_too_low",
    )  # fmt: skip
    assert world.refused("POST", "/adjustments", json={"helper_id": "nobody", "won": 1, "reason": "r"})[0] == 404
    assert world.refused("POST", "/adjustments", json={"helper_id": "helper-1", "won": 0, "reason": "r"})[0] == 422


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("UPDATE posting SET won = won + 1", "SF001"),
        ("DELETE FROM posting", "SF001"),
        ("TRUNCATE posting", "SF001"),
        ("UPDATE ledger_transaction SET memo = 'x'", "SF001"),
        ("DELETE FROM ledger_transaction", "SF001"),
        ("UPDATE account SET kind = 'payouts' WHERE kind = 'held'", "SF001"),
        ("UPDATE account SET helper_id = 'thief' WHERE kind = 'available'", "SF001"),
        (
            "INSERT INTO posting (transaction_id, account_id, won) SELECT transaction_id, account_id, 1 FROM posting",
            "SF002",
        ),
        (
            "WITH t AS (INSERT INTO ledger_transaction (transaction_id, kind, reference, at) VALUES ('t', 'k', 'r', now()))"
            " SELECT 1",
            "SF004",
        ),
    ],
)
def test_the_database_itself_refuses_to_change_the_books(world: Any, statement: str, state: str) -> None:
    world.paid(won=1_000)
    before = world.rows("SELECT * FROM posting ORDER BY position")
    with pytest.raises(DBAPIError) as refused, database("helper").begin() as connection:
        connection.execute(text(statement))
    assert refused.value.orig.pgcode == state  # type: ignore[union-attr]
    assert world.rows("SELECT * FROM posting ORDER BY position") == before


@pytest.mark.parametrize(
    ("lines", "state"),
    [({"available": 5, "rewards": -4}, "SF004"), ({"available": 5}, "SF004"), ({"available": -1_001, "rewards": 1_001}, "SF003")],
)  # fmt: skip
def test_the_database_refuses_transactions_that_make_no_sense(world: Any, lines: dict[str, int], state: str) -> None:
    world.paid(won=1_000)
    accounts = dict(world.rows("SELECT kind, account_id FROM account"))
    with pytest.raises(DBAPIError) as refused, database("helper").begin() as connection:
        connection.execute(
            text("INSERT INTO ledger_transaction (transaction_id, kind, reference, at) VALUES ('t', 'k', 'r', now())")
        )
        for kind, won in lines.items():
            connection.execute(
                text("INSERT INTO posting (transaction_id, account_id, won) VALUES ('t', :account, :won)"),
                {"account": accounts[kind], "won": won},
            )
    assert refused.value.orig.pgcode == state  # type: ignore[union-attr]
    assert world.balance() == (1_000, 0)


def test_unbalanced_lines_are_refused_before_they_reach_the_database(world: Any) -> None:
    with unit_of_work("helper") as session:
        mine = ledger.accounts(session, "helper-1")
        for lines in (
            {mine["available"]: 1},
            {mine["available"]: 1, ledger.REWARDS: -2},
            {mine["available"]: 0, ledger.REWARDS: 0},
        ):
            with pytest.raises(ValueError):
                ledger.post(session, "reward", "x", lines)


def test_after_erasure_the_books_stand_and_lead_to_nobody(world: Any) -> None:
    helper_id = world.member()
    who = world.paid(helper_id, won=20_000)
    done, open_one = world.submit(who, note="my note"), world.submit(who)
    world.decide(done)
    first = world.ok("POST", "/withdrawals", who, **withdrawal())
    world.ok("POST", f"/withdrawals/{first['withdrawal_id']}/decision", json={"decision": "approve"})
    waiting = world.ok("POST", "/withdrawals", who, **withdrawal(6_000))
    before = world.rows("SELECT * FROM posting ORDER BY position")
    for _ in range(2):
        world.deliver("auth.MemberErased", helper_id, 9, {"member_id": helper_id})
    assert not [path for path in (world.objects / "tasks").rglob("*") if path.is_file()]
    assert world.rows("SELECT count(*) FROM training_tasks")[0][0] == 0
    assert world.rows("SELECT * FROM posting ORDER BY position") == before
    for table in ("task", "withdrawal", "account", "daily_count", "photo", "idempotency_key"):
        held = [str(row) for row in world.rows(f"SELECT * FROM {table}")]
        assert not [row for row in held if helper_id in row or "my note" in row], table
    states = dict(world.rows("SELECT task_id, state FROM task"))
    assert (states[done["task_id"]], states[open_one["task_id"]]) == ("confirmed", "expired")
    assert world.refused("POST", "/tasks", who, **world.form()) == (403, "suspended")
    assert world.refused("POST", "/withdrawals", who, **withdrawal()) == (403, "suspended")
    path = f"/withdrawals/{waiting['withdrawal_id']}"
    assert world.ok("GET", f"{path}/destination") == BANK
    world.ok("POST", f"{path}/decision", json={"decision": "approve"})
    assert world.refused("GET", f"{path}/destination") == (410, "destination_gone")
    assert world.refused("GET", f"/withdrawals/{first['withdrawal_id']}/destination") == (410, "destination_gone")
    world.decide(open_one)
    assert world.ok("GET", "/ledger/trial-balance") == {
        "available": 10_000, "held": 0, "rewards": -21_000, "payouts": 11_000, "total": 0,
    }  # fmt: skip


def test_the_events_of_an_erased_member_come_late(world: Any) -> None:
    helper_id = world.member()
    world.deliver("auth.MemberErased", helper_id, 5, {"member_id": helper_id})
    data = {"member_id": helper_id, "roles": ["helper"], "language": "ko"}
    world.deliver("auth.MemberRegistered", helper_id, 1, data)
    world.deliver("auth.MemberChanged", helper_id, 6, {**data, "status": "active"})
    assert world.rows("SELECT status FROM helper") == [("erased",)]


def test_delivered_and_received_are_one(world: Any) -> None:
    """The local bus puts the event into the inbox; a second delivery of it is no second event."""
    task = world.submit()
    event = Event.new("branch.TaskConfirmed", task["task_id"], 1, world.decision(task))
    with unit_of_work("helper") as session:
        assert (receive(session, event, "helper"), receive(session, event, "helper")) == (True, False)
