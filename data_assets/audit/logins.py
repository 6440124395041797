"""Failed logins of a day: at one account, from one network, in a burst, followed by a success; a stolen token that was used.

An account locks at its fifth failure, and refused attempts are not recorded, so few rows already tell of many attempts.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from data_assets.audit.findings import Finding
from data_assets.audit.trail import Act

FAILED, SUCCEEDED, REUSED, SERVICE_FAILED = "login.failed", "login.succeeded", "refresh.reused", "service_login.failed"
ACTIONS = (FAILED, SUCCEEDED, REUSED, SERVICE_FAILED)
BURST, BURST_WITHIN = 5, timedelta(minutes=10)
"""As many failures at one account within as long: the account locked."""
ACCOUNT_A_DAY = 8
NETWORK_A_DAY = 20
SPRAYED = 5
"""Accounts at which one network failed: somebody tries one password at many of them (MITRE ATT&CK T1110.003)."""
GUESSED_WITHIN = timedelta(hours=1)
SERVICE_A_DAY = 3


def findings(acts: Iterable[Act]) -> list[Finding]:
    """acts: those of ACTIONS, of one day, in the order of their time."""
    rows = list(acts)
    return [*_by_account(rows), *_by_network(rows), *_reused(rows), *_services(rows)]


def most_within(times: Sequence[datetime], span: timedelta) -> int:
    """The most of `times` (in order) that lie within `span`."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] > span:
            first += 1
        most = max(most, last - first + 1)
    return most


def _by_account(rows: Sequence[Act]) -> Iterable[Finding]:
    failed: dict[str, list[datetime]] = defaultdict(list)
    for row in rows:
        if row.action == SUCCEEDED:
            recent = [at for at in failed[row.target] if row.at - at <= GUESSED_WITHIN]
            if len(recent) >= BURST:
                yield Finding(
                    "login_after_failures",
                    "critical",
                    row.target,
                    row.at.isoformat(),
                    f"로그인 {len(recent)}번 실패 뒤 한 시간 안에 성공했습니다. 본인인지 확인하세요.",
                    f"A login succeeded within an hour after {len(recent)} failures; make sure that it was the member.",
                    {"failures": len(recent)},
                )
                # Told once; what comes after is counted anew.
                failed[row.target].clear()
        elif row.action == FAILED and row.target != "unknown":
            failed[row.target].append(row.at)
    everything: dict[str, list[datetime]] = defaultdict(list)
    for row in rows:
        if row.action == FAILED and row.target != "unknown":
            everything[row.target].append(row.at)
    for account, times in everything.items():
        burst = most_within(times, BURST_WITHIN)
        if burst >= BURST or len(times) >= ACCOUNT_A_DAY:
            yield Finding(
                "login_burst",
                "warning",
                account,
                times[0].isoformat(),
                f"한 계정에서 로그인 {len(times)}번 실패 (10분 안에 최대 {burst}번).",
                f"{len(times)} failed logins at one account ({burst} at most within 10 minutes).",
                {"failures": len(times), "most_within_10_min": burst},
            )


def _by_network(rows: Sequence[Act]) -> Iterable[Finding]:
    failed: dict[str, list[Act]] = defaultdict(list)
    for row in rows:
        if row.action == FAILED and row.network:
            failed[row.network].append(row)
    for network, acts in failed.items():
        accounts = {act.target for act in acts if act.target != "unknown"}
        unknown = sum(act.target == "unknown" for act in acts)
        sprayed = len(accounts) + unknown >= SPRAYED and len(accounts) + unknown > len(acts) / 3
        if len(acts) < NETWORK_A_DAY and not sprayed:
            continue
        yield Finding(
            "login_spray" if sprayed else "login_network",
            "critical" if sprayed and accounts else "warning",
            network,
            acts[0].at.isoformat(),
            f"한 네트워크에서 로그인 {len(acts)}번 실패: 계정 {len(accounts)}개, 없는 주소 {unknown}번.",
            f"{len(acts)} failed logins from one network: {len(accounts)} accounts, {unknown} times an unknown address.",
            {"failures": len(acts), "accounts": len(accounts), "unknown": unknown},
        )


def _reused(rows: Sequence[Act]) -> Iterable[Finding]:
    for row in rows:
        if row.action == REUSED:
            yield Finding(
                "token_reused",
                "critical",
                row.target,
                row.at.isoformat(),
                "이미 쓴 갱신 토큰이 다시 쓰였습니다. 누군가 토큰을 가져갔을 수 있습니다. 그 로그인은 끝났습니다.",
                "A refresh token was used a second time; somebody may have stolen it. That session has ended.",
            )


def _services(rows: Sequence[Act]) -> Iterable[Finding]:
    failed = [row for row in rows if row.action == SERVICE_FAILED]
    if len(failed) >= SERVICE_A_DAY:
        yield Finding(
            "service_login",
            "warning",
            "service_client",
            failed[0].at.isoformat(),
            f"서비스 인증 {len(failed)}번 실패. 비밀 값이 잘못 배포되었거나 누가 시도하고 있습니다.",
            f"{len(failed)} failed logins of services: a wrong secret was deployed, or somebody is trying.",
            {"failures": len(failed)},
        )
