"""`smartfit audit`: whether the audit trails are what was written."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from infra.local import console as out
from infra.local.events_cli import STATE, connect
from infra.local.postgres import DOMAINS
from platform_api.core.database import unit_of_work
from platform_api.core.events.worker import seal_trail
from platform_api.core.security import audit_chain
from platform_api.core.security.audit_chain import Finding, Head

TOLD = {
    "changed": ("바뀐 기록", "row changed"),
    "deleted": ("지워진 기록", "row deleted"),
    "seal_missing": ("빠진 봉인", "seal missing"),
    "cut_off": ("끝이 잘림", "the end is cut off"),
    "rewritten": ("다시 계산된 사슬", "the chain was computed anew"),
    "anchor_unknown": ("기록에 없는 시작점", "the trail knows nothing of where the chain begins"),
    "not_sealed": ("봉인되지 않은 옛 기록", "an old row that was never sealed"),
}


@click.group("audit")
def command() -> None:
    """감사 기록 (the audit trails)"""


@command.command()
@STATE
@click.option(
    "--heads",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="전에 내보낸 끝 봉인 (heads exported before: proves that nothing was cut off since)",
)
@click.option("--json", "as_json", is_flag=True, help="JSON으로 (machine-readable)")
def verify(folder: Path | None, heads: Path | None, as_json: bool) -> None:
    """모든 도메인의 감사 기록을 검증합니다 (verify the trail of every domain; exit 1 where one is broken)"""
    kept = _read(heads) if heads else {}
    connect(folder)
    verdicts = {}
    for domain in DOMAINS:
        with unit_of_work(domain) as session:
            verdicts[domain] = audit_chain.verify(session, kept.get(domain))
    broken = any(verdict.findings for verdict in verdicts.values())
    if as_json:
        click.echo(json.dumps({domain: asdict(verdict) for domain, verdict in verdicts.items()}, indent=1))
        sys.exit(1 if broken else 0)
    table = Table(box=None)
    for heading in ("도메인 (domain)", "봉인 (sealed)", "아직 열림 (open tail)", "결과 (result)"):
        table.add_column(heading)
    for domain, verdict in verdicts.items():
        result = "\n".join(_told(finding) for finding in verdict.findings) or "✓"
        table.add_row(domain, str(verdict.sealed), str(verdict.open_rows), result)
    out.console.print(table)
    if broken:
        out.complain("감사 기록이 봉인된 것과 다릅니다.", "a trail is not what was sealed")
        sys.exit(1)
    out.say("감사 기록이 온전합니다.", "the trails are whole", "green")
    if not heads:
        out.say("잘린 끝은 --heads로만 드러납니다.", "a cut end shows only against kept heads")


@command.command()
@STATE
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def heads(folder: Path | None, file: Path) -> None:
    """모두 봉인하고 끝 봉인을 파일로 내보냅니다; 다른 곳에 보관하세요 (seal all, export the heads; keep them elsewhere)"""
    connect(folder)
    found: dict[str, dict[str, Any]] = {}
    for domain in DOMAINS:
        seal_trail(domain)
        with unit_of_work(domain) as session:
            found[domain] = asdict(audit_chain.head(session))
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    out.say(f"{file}에 저장했습니다.", "saved", "green")


def _read(file: Path) -> dict[str, Head]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return {domain: Head(int(head["number"]), str(head["hash"])) for domain, head in read.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise click.BadParameter(f"{file}: 끝 봉인 파일이 아닙니다 (not a file of heads)") from error


def _told(finding: Finding) -> str:
    korean, english = TOLD[finding.kind]
    where = [f"#{finding.number}"] if finding.number else []
    where += [f"audit_log.position={finding.position}"] if finding.position is not None else []
    return f"✗ {korean} ({english}) {' '.join(where)}"
