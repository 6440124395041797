"""Whether the trails are what was sealed: verified from outside, against heads that are kept outside of the databases.

    audit/heads.json    number and hash of the last seal of each domain, as of the last time that its trail was whole

So somebody who is superuser of a database and computes its whole chain anew, or cuts off its end, is found out.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from data_assets.audit.findings import Finding
from data_assets.reading import DOMAINS, Domain, Reader
from platform_api.core import clock
from platform_api.core.models import AuditRecord, AuditSeal
from platform_api.core.security import audit_chain
from platform_api.core.security.audit_chain import FIRST, Head
from platform_api.core.storage import ObjectStore

HEADS = "audit/heads.json"
MOST_TOLD = 50
_ANCHOR = "SELECT number, hash FROM audit_anchors ORDER BY number DESC LIMIT 1"
_CHAIN = "SELECT * FROM audit_chain WHERE number > :number ORDER BY number"
_WITNESSES = "SELECT details FROM audit_open WHERE action = :action"
_LATE = "SELECT position FROM audit_open WHERE at < :before ORDER BY position LIMIT 100"
_TOLD = {
    "changed": ("봉인된 뒤 바뀐 기록", "a row was changed after it was sealed"),
    "deleted": ("지워진 기록", "a row was deleted"),
    "seal_missing": ("빠진 봉인", "a seal is missing"),
    "cut_off": ("사슬의 끝이 잘림", "the end of the chain was cut off"),
    "rewritten": ("사슬이 다시 계산됨", "the chain was computed anew"),
    "not_sealed": ("봉인되지 않은 오래된 기록", "an old row was never sealed"),
    "anchor_unknown": ("기록에 없는 시작점", "the trail knows nothing of where its chain begins"),
}


def verify(reader: Reader, store: ObjectStore) -> tuple[list[Finding], dict[str, int]]:
    """Verify every trail; the heads of those that are whole are kept. Returns the breaks, and rows that hold by domain.

    Raises:
        OperationalError: a database is away.
    """
    kept = heads(store)
    found: list[Finding] = []
    good: dict[str, int] = {}
    for domain in DOMAINS:
        rows, head, broken = _verify(reader, domain, kept.get(domain))
        good[domain] = rows
        found += [_told(domain, each) for each in broken[:MOST_TOLD]]
        if not broken:
            # A broken trail must not become what the next one is held against.
            kept[domain] = head
    told = {domain: {"number": head.number, "hash": head.hash} for domain, head in sorted(kept.items())}
    store.put(HEADS, json.dumps(told).encode(), sealed=True)
    return found, good


def heads(store: ObjectStore) -> dict[str, Head]:
    """The heads as they were last kept. Raises DecryptionError where somebody changed them."""
    try:
        kept: Mapping[str, Any] = json.loads(store.get(HEADS, sealed=True))
    except FileNotFoundError:
        return {}
    return {domain: Head(int(head["number"]), str(head["hash"])) for domain, head in kept.items()}


def _verify(reader: Reader, domain: Domain, kept: Head | None) -> tuple[int, Head, list[audit_chain.Finding]]:
    anchor = next(iter(reader.rows(domain, _ANCHOR)), None)
    start = Head(int(anchor["number"]), bytes(anchor["hash"]).hex()) if anchor else FIRST
    witnesses = [
        AuditRecord(action=audit_chain.ANCHORED, details=row["details"])
        for row in reader.rows(domain, _WITNESSES, action=audit_chain.ANCHORED)
    ]
    good, head, broken = audit_chain.examine(_links(reader, domain, start.number), start, kept, witnesses)
    late = reader.rows(domain, _LATE, before=clock.now() - audit_chain.LATEST - timedelta(minutes=1))
    broken += [audit_chain.Finding("not_sealed", 0, row["position"]) for row in late]
    return good, head, broken


def _links(reader: Reader, domain: Domain, number: int) -> Iterator[tuple[AuditSeal, AuditRecord | None]]:
    for row in reader.rows(domain, _CHAIN, number=number):
        seal = AuditSeal(number=row["number"], position=row["position"], hash=bytes(row["hash"]))
        if row["row_position"] is None:
            yield seal, None
            continue
        told = ("at", "actor", "action", "target", "details", "request_id")
        yield seal, AuditRecord(position=row["row_position"], **{name: row[name] for name in told})


def _told(domain: str, broken: audit_chain.Finding) -> Finding:
    korean, english = _TOLD[broken.kind]
    where = f"{domain} #{broken.number}" if broken.number else f"{domain} audit_log.position={broken.position}"
    return Finding(
        "chain_broken",
        "critical",
        where,
        "",
        f"감사 기록 훼손: {korean} ({where}).",
        f"The audit trail is broken: {english} ({where}).",
        {"domain": domain, "what": broken.kind, "number": broken.number, "position": broken.position},
    )
