"""What is told whenever it happens: emergency openings and lockdowns, changes of roles, new devices and keys."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from data_assets.audit.findings import Finding, Severity
from data_assets.audit.trail import Act

MODE, ROLES = "branch.mode", "roles.changed"
DEVICES: dict[str, tuple[Severity, str, str]] = {
    "edge.register": ("warning", "새 출입 노드가 등록되었습니다.", "A new gate node was registered."),
    "edge.revoke": ("info", "출입 노드가 폐기되었습니다.", "A gate node was revoked."),
    "gate.renew_kiosk_key": ("info", "게이트 키오스크 키가 바뀌었습니다.", "The key of a gate's kiosk was renewed."),
    "equipment.register": ("info", "새 장비가 등록되었습니다.", "New equipment was registered."),
    "equipment.issue_key": ("info", "장비 키가 새로 발급되었습니다.", "Equipment was given a new key."),
}
_MODES: dict[str, tuple[str, Severity, str, str]] = {
    "emergency_open": ("emergency_open", "critical", "비상 개방", "Emergency opening"),
    "lockdown": ("lockdown", "warning", "출입 폐쇄", "Lockdown"),
}


def modes(acts: Iterable[Act], begin: datetime, end: datetime) -> list[Finding]:
    """Every emergency opening and lockdown that began within [begin, end), and the end of those that began before.

    acts: of MODE, in the order of their time, from before `begin` on.
    """
    rows = list(acts)
    found = []
    for place, row in enumerate(rows):
        if row.at < begin:
            continue
        before = [each for each in rows[:place] if each.target == row.target]
        if row.before in _MODES and row.before != row.after and before and before[-1].at < begin:
            found.append(_ended(row, before[-1]))
        if row.after in _MODES:
            ends = [each.at for each in rows[place + 1 :] if each.target == row.target and each.after != row.after]
            found.append(_began(row, ends[0] if ends else None, end))
    return found


def _began(row: Act, ended: datetime | None, end: datetime) -> Finding:
    kind, severity, korean, english = _MODES[row.after]
    minutes = round(((ended or end) - row.at).total_seconds() / 60)
    lasted = (
        (f"{minutes}분 동안", f"for {minutes} min") if ended else ("하루가 끝날 때까지", "until the end of the day")
    )
    return Finding(
        kind,
        severity,
        row.target,
        row.at.isoformat(),
        f"{korean}: 지점 {row.target}, {lasted[0]}.",
        f"{english} of branch {row.target} {lasted[1]}.",
        {"actor": row.actor, "branch_id": row.target, "minutes": minutes, "ended": bool(ended)},
    )


def _ended(row: Act, began: Act) -> Finding:
    kind, _, korean, english = _MODES[row.before]
    minutes = round((row.at - began.at).total_seconds() / 60)
    return Finding(
        f"{kind}_ended",
        "info",
        row.target,
        row.at.isoformat(),
        f"{korean} 종료: 지점 {row.target}, 전날부터 {minutes}분 동안.",
        f"{english} of branch {row.target} ended after {minutes} min; it began on an earlier day.",
        {"actor": row.actor, "branch_id": row.target, "minutes": minutes, "ended": True},
    )


def roles(acts: Iterable[Act]) -> list[Finding]:
    """Every change of roles; to operator is the gravest. acts: of ROLES, of the day."""
    found = []
    for row in acts:
        gained, lost = (
            sorted({*_list(row.after)} - {*_list(row.before)}),
            sorted({*_list(row.before)} - {*_list(row.after)}),
        )
        severity: Severity = "critical" if "operator" in gained else "warning" if gained else "info"
        said = ", ".join([*(f"+{role}" for role in gained), *(f"-{role}" for role in lost)]) or "="
        found.append(
            Finding(
                "role_change",
                severity,
                row.target,
                row.at.isoformat(),
                f"역할 변경: {said}.",
                f"Roles changed: {said}.",
                {"actor": row.actor, "gained": gained, "lost": lost},
            )
        )
    return found


def devices(acts: Iterable[Act]) -> list[Finding]:
    """Every new device and key. acts: of DEVICES, of the day."""
    return [
        Finding(
            "device",
            DEVICES[row.action][0],
            row.target,
            row.at.isoformat(),
            DEVICES[row.action][1],
            DEVICES[row.action][2],
            {"actor": row.actor, "action": row.action, "branch_id": row.branch_id},
        )
        for row in acts
    ]


def _list(value: object) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
