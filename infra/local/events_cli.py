"""`smartfit events`: what moves between the domains, and what has come to a stop."""

import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from pika.exceptions import AMQPError
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from infra.local import console as out
from infra.local import environment
from infra.local.credentials import Credentials
from infra.local.postgres import DOMAINS
from infra.local.state import State
from platform_api.app import installed_domains
from platform_api.core.database import unit_of_work
from platform_api.core.events import inbox
from platform_api.core.events.asyncapi import document
from platform_api.core.events.bus import rabbitmq
from platform_api.core.models import OutboxEvent
from platform_api.core.operations.standing import at_broker
from platform_api.worker import import_handlers

STATE = click.option(
    "--state", "folder", type=click.Path(path_type=Path, file_okay=False), help="상태 폴더 (state folder)"
)


@click.group("events")
def command() -> None:
    """도메인 사이의 이벤트 (events between the domains)"""


def connect(folder: Path | None) -> None:
    """Take over the settings of the installation in `folder`; those of the environment where there is none."""
    state = State.chosen(folder)
    if state.secrets.is_dir():
        os.environ.update(environment.platform(state, Credentials(state.secrets)))


@command.command()
@STATE
@click.option("-f", "--follow", is_flag=True, help="이어서 보기 (follow)")
@click.option(
    "-n", "--lines", default=20, show_default=True, help="도메인마다 마지막 몇 개 (last events of each domain)"
)
def tail(folder: Path | None, follow: bool, lines: int) -> None:
    """보낸 이벤트를 봅니다 (events as they are published)"""
    connect(folder)
    seen: dict[str, int] = {}
    while True:
        rows: list[tuple[datetime, dict[str, Any], bool]] = []
        for domain in DOMAINS:
            with unit_of_work(domain) as session:
                query = select(OutboxEvent).order_by(OutboxEvent.position.desc())
                query = query.where(OutboxEvent.position > seen[domain]) if domain in seen else query.limit(lines)
                found = list(session.scalars(query))
                seen[domain] = max([row.position for row in found], default=seen.get(domain, 0))
                rows += [(row.created_at, row.envelope, row.sent_at is not None) for row in found]
        for at, envelope, sent in sorted(rows, key=lambda row: row[0]):
            mark = "✓" if sent else "…"
            click.echo(f"{at:%H:%M:%S.%f} {mark} {envelope['type']} {json.dumps(envelope['data'], ensure_ascii=False)}")
        if not follow:
            return
        time.sleep(0.5)


def _at_broker(subscriber: str, ask: Callable[[str, str], int]) -> int:
    """What `ask` answers of a subscriber's dead-letter queue; 0 where no broker is used."""
    try:
        return at_broker(subscriber, ask)
    except (AMQPError, OSError) as error:
        message = f"브로커에 연결할 수 없습니다 (cannot reach the broker): {error or type(error).__name__}"
        raise click.ClickException(message) from error


@command.command()
@STATE
@click.option("--json", "as_json", is_flag=True, help="JSON으로 (machine-readable)")
def dead(folder: Path | None, as_json: bool) -> None:
    """처리하지 못한 이벤트와 까닭 (dead letters, with the reason)"""
    connect(folder)
    rows = []
    for domain in DOMAINS:
        with unit_of_work(domain) as session:
            rows += [
                {
                    "subscriber": domain,
                    "event_id": str(letter.event_id),
                    "type": letter.type,
                    "received_at": letter.received_at.isoformat(),
                    "attempts": letter.attempts,
                    "error": letter.last_error,
                }
                for letter in inbox.dead_letters(session, domain)
            ]
        if count := _at_broker(domain, rabbitmq.dead_messages):
            queue = rabbitmq.dead_queue_name(domain)
            row = dict.fromkeys(("event_id", "type", "received_at", "attempts"))
            rows.append({"subscriber": domain, **row, "error": f"{count} unreadable in the broker's queue {queue}"})
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    if not rows:
        out.say("처리하지 못한 이벤트가 없습니다.", "no dead letters", "green")
        return
    table = Table(box=None)
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    out.console.print(table)


@command.command()
@STATE
@click.argument("subscriber")
def replay(folder: Path | None, subscriber: str) -> None:
    """처리하지 못한 이벤트를 다시 처리하게 합니다 (give a subscriber's dead letters another run)"""
    connect(folder)
    if subscriber not in DOMAINS:
        raise click.BadParameter(f"없는 도메인입니다 (there are {', '.join(DOMAINS)})")
    try:
        with unit_of_work(subscriber) as session:
            count = inbox.replay(session, subscriber)
    except SQLAlchemyError as error:
        raise click.ClickException(f"데이터베이스에 연결할 수 없습니다 (cannot reach the database): {error}") from error
    count += _at_broker(subscriber, rabbitmq.replay_dead)
    out.say(f"{count}개를 다시 처리합니다.", f"{count} events will be handled again", "green")


@command.command()
def schema() -> None:
    """모든 이벤트의 AsyncAPI 문서 (AsyncAPI document of all events)"""
    import_handlers(installed_domains())
    click.echo(json.dumps(document(), ensure_ascii=False, indent=1))
