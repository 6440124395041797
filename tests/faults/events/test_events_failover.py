"""The database goes while events flow: connections cut, the server killed, another server at its address. Nothing is lost or doubled.

The other server is a streaming replica that confirms each commit (synchronous_standby_names), promoted when the first is
killed: with a replica that lags, what it had not heard would be lost, whatever a relay does.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg2
import pytest

from infra.local.postgres import PostgresServer, binaries, server_user
from infra.local.rabbitmq import RabbitNode
from tests.events_world import Line, Producer, send, standing
from tests.results import save, sized
from tests.tcp_switch import Switch
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

EVENTS = sized(600, 2000)
CUTS = sized(3, 12)
QUIET_S = 30.0
MOST_RECOVERY_S = 15.0
BAR = (
    "No event whose commit was answered is lost, none has two effects, and effects go on within "
    f"{MOST_RECOVERY_S:g} s of the database's answering again, while a producer, two relays and two consumers work"
)


class Flow:
    """The line under load, and the address its database is reached by."""

    def __init__(self, line: Line, switch: Switch) -> None:
        self.line, self.switch = line, switch
        self.standby: PostgresServer | None = None

    def admin(self, server: PostgresServer, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as the superuser, past the switch."""
        connection = psycopg2.connect(server.admin_url, connect_timeout=5)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@pytest.fixture
def flow(rabbitmq_installed: None) -> Iterator[Flow]:
    """One broker, two relays, two consumers; the database behind a switch."""
    switches: list[Switch] = []

    def behind(port: int) -> str:
        switches.append(Switch(port).__enter__())
        return switches[0].address

    with standing(lambda folder: [RabbitNode(folder)], behind) as line:
        line.start("consumer", 2)
        line.start("relay", 2)
        made = Flow(line, switches[0])
        yield made
        line.stop()
        if made.standby is not None:
            made.standby.stop()
    switches[0].__exit__(None, None, None)


def _follow(flow: Flow) -> PostgresServer:
    """A replica without which nothing is committed any more."""
    first = flow.line.server
    rules = first.data_dir / "pg_hba.conf"
    rules.write_text(rules.read_text() + "host replication all 127.0.0.1/32 scram-sha-256\n")
    flow.admin(first, "SELECT pg_reload_conf()")
    where, copy = urlsplit(first.admin_url), first.data_dir.with_name("standby")
    command = [str(binaries() / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(first.port), "-U", str(where.username)]
    command += ["-D", str(copy), "-R", "-X", "stream", "-c", "fast"]
    copy.mkdir(mode=0o700)
    identity: dict[str, object] = {}
    if (user := server_user()) is not None:
        os.chown(copy, user.pw_uid, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        cwd="/",
        timeout=120,
        env={"PGPASSWORD": str(where.password)},
        **identity,
    )  # type: ignore[call-overload]
    made = flow.standby = PostgresServer(copy, password_file=first.password_file)
    made.start()
    wait_for(lambda: flow.admin(first, "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), 20, "it follows")
    flow.admin(first, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    flow.admin(first, "SELECT pg_reload_conf()")
    wait_for(
        lambda: flow.admin(first, "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"),
        20,
        "commits wait for it",
    )
    return made


def cut(flow: Flow) -> float:
    """All connections, again and again."""
    for number in range(CUTS):
        time.sleep(0.5 if number else 0.0)
        flow.admin(flow.line.server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'sf_%'")
    return time.time()


def killed(flow: Flow) -> float:
    """kill -9 of the server, which is started again."""
    server = flow.line.server
    assert server._process is not None
    server._process.kill()
    server._process.wait()
    server.start(60)
    return time.time()


def failed_over(flow: Flow) -> float:
    """kill -9 of the server; its replica is promoted and answers at its address."""
    server, standby = flow.line.server, flow.standby
    assert standby is not None
    assert server._process is not None
    server._process.kill()
    server._process.wait()
    # Nobody reaches what may be left of the first, which must answer no more.
    flow.switch.turn(1)
    flow.admin(standby, "ALTER SYSTEM SET synchronous_standby_names = ''")
    assert flow.admin(standby, "SELECT pg_promote(true, 60)") == [(True,)]
    flow.switch.turn(standby.port)
    return time.time()


@pytest.mark.parametrize(
    ("name", "damage"),
    [("events_cut", cut), ("events_killed", killed), ("events_failover", failed_over)],
)
def test_nothing_is_lost_or_doubled_when_the_database_goes(
    flow: Flow, name: str, damage: Callable[[Flow], float]
) -> None:
    line = flow.line
    if damage is failed_over:
        _follow(flow)
    producer = Producer(EVENTS, together=EVENTS // 10)
    producer.start()
    wait_for(lambda: len(producer.ids) >= EVENTS // 5 and line.count() > 0, 60, "events are flowing", every=0.02)
    together = send(EVENTS // 4)  # so that relays and consumers have their hands full
    on_the_way, begun = len(producer.ids) + len(together) - line.count(), time.time()
    answers_at = damage(flow)
    wait_for(lambda: not producer.is_alive(), 300, "the producer has committed all", every=0.1)
    line.settle(QUIET_S)
    line.stop()
    wait_for(lambda: line.at_broker() == 0, 20, "the broker has nothing left")
    after = [at for at in line.committed().values() if at > answers_at]
    figures = {
        "events": len(producer.ids) + len(together),
        "on_the_way_at_the_damage": on_the_way,
        "commits_refused": producer.refused,
        **line.outcome([*producer.ids, *together]),
        "unhandled": line.unhandled() + line.unsent(),
        "came_again_at_least": line.repeated(),
        "database_away_s": round(answers_at - begun, 2),
        "recovery_s": round(min(after) - answers_at, 2) if after else None,
    }
    wrong = {each: figures[each] for each in ("lost", "doubled", "unasked", "unhandled") if figures[each]}
    in_time = figures["recovery_s"] is not None and figures["recovery_s"] <= MOST_RECOVERY_S
    save("faults", name, figures, bar=BAR, holds=not wrong and in_time)
    assert not wrong
    assert in_time
    # The damage was felt: commits failed (where cuts alone did not fall between two), and events were on their way.
    assert producer.refused > 0 or damage is cut
    assert on_the_way > 0
