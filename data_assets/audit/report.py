"""The report of a day, for people: Korean first, English beside it. People stand in it as the beginnings of their pseudonyms."""

from collections.abc import Mapping, Sequence

from data_assets.audit.findings import Finding, counted

SHOWN = 100
_SIGNS = {"critical": "🔴 심각 (critical)", "warning": "🟠 주의 (warning)", "info": "⚪ 참고 (info)"}


def markdown(name: str, found: Sequence[Finding], acts: Mapping[str, int]) -> str:
    """The report. acts: rows of the trail by domain."""
    counts = counted(found)
    lines = [
        f"# 감사 보고 {name} (audit report)",
        "",
        f"심각 {counts['critical']} · 주의 {counts['warning']} · 참고 {counts['info']}"
        f" (critical {counts['critical']}, warning {counts['warning']}, info {counts['info']})",
        "",
        f"기록 (rows): {', '.join(f'{domain} {count}' for domain, count in sorted(acts.items()))}",
        "",
    ]
    if not found:
        lines.append("특이 사항이 없습니다. (Nothing unusual.)")
        return "\n".join(lines)
    lines += [
        "| 심각도 (severity) | 종류 (kind) | 대상 (subject) | 한 사람 (by) | 내용 | what |",
        "|---|---|---|---|---|---|",
    ]
    for each in found[:SHOWN]:
        by = short(str(each.figures["actor"])) if each.figures.get("actor") else ""
        cells = (_SIGNS[each.severity], each.kind, short(each.subject), by, each.korean, each.english)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    if len(found) > SHOWN:
        lines += ["", f"… {len(found) - SHOWN}건 더 (more)"]
    lines += ["", f"누구인지는 운영자가 `GET /mlops/v1/audits/{name}`에서 봅니다. (Operators see there who it was.)"]
    return "\n".join(lines)


def short(name: str) -> str:
    """A pseudonym cut to what tells it from the others; other names as they are."""
    return f"{name[:10]}…" if len(name) > 45 and " " not in name else name
