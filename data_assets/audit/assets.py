"""The audit line: each day's findings, and the proof that the trails are whole; both told to mlops, which tells operators.

    audit/reports/day=YYYY-MM-DD.json    the report of a day, sealed, people under pseudonyms
    audit/heads.json                     see `chain`

Refusals (403) stand in no trail: they are counted by the gateway and the services, and alerts watch those counts.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from data_assets import failures
from data_assets.audit import analysis, chain, report
from data_assets.audit.findings import Finding, counted, document
from data_assets.audit.trail import Trails
from data_assets.checking import result
from data_assets.platform import Platform
from data_assets.reading import Reader
from platform_api.core.pseudonyms import Pseudonyms
from platform_api.core.settings import SettingsError
from platform_api.core.storage import ObjectStore

GROUP = "audit"
CHAIN, FINDINGS = dg.AssetKey(["audit", "chain"]), dg.AssetKey(["audit", "findings"])
FIRST_DAY = "2025-01-01"
DAYS = dg.DailyPartitionsDefinition(FIRST_DAY, timezone="Asia/Seoul")
"""Days that are over: what is found of one does not change."""
FOLDER = "audit/reports"
MOST_HANDED = 100
"""Findings that mlops keeps of a day; the whole report lies in the object store."""

Value = dict[str, Any]


@dg.asset(key=CHAIN, group_name=GROUP, kinds={"postgres"})
def trail_chains(
    context: dg.AssetExecutionContext,
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[Value]:
    """The hash chain of every domain's trail computed anew, and held against the heads that were kept before."""
    with failures.told(context.retry_number):
        found, good = chain.verify(reader, store)
        _hand_over(platform, "chain", found)
    metadata: dict[str, Any] = {
        "rows": sum(good.values()),
        "breaks": len(found),
        "report": _shown("chain", found, good),
    }
    return dg.Output({"breaks": [each.value() for each in found], "rows": good}, metadata=metadata)


@dg.asset(
    key=FINDINGS,
    group_name=GROUP,
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"postgres"},
)
def daily_findings(
    context: dg.AssetExecutionContext,
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.MaterializeResult[None]:
    """Failed logins, unusual access, emergencies, roles and devices of a day, out of the trails of all domains."""
    with failures.told(context.retry_number):
        trails = Trails(reader, _pseudonyms(store))
        reports: list[str] = []
        totals = counted([])
        for name in sorted(context.partition_keys):
            day = date.fromisoformat(name)
            found, acts = analysis.analyse(trails, day), trails.counts(day)
            keep(store, name, found, acts)
            _hand_over(platform, name, found)
            totals = {severity: totals[severity] + count for severity, count in counted(found).items()}
            reports.append(report.markdown(name, found, acts))
            context.log.info(f"{name}: {counted(found)}")
    # The newest days first: of a long backfill the oldest are cut from the page, not from the store.
    shown = "\n\n".join(reversed(reports))[:100_000]
    return dg.MaterializeResult(
        metadata={**totals, "days": len(reports), "report": dg.MetadataValue.md(shown)},
    )


def keep(store: ObjectStore, name: str, found: Sequence[Finding], acts: Mapping[str, int]) -> str:
    """Keep the report of a day. Returns its key."""
    key = f"{FOLDER}/day={name}.json"
    store.put(key, document(name, found, dict(acts)), sealed=True)
    return key


def _hand_over(platform: Platform, name: str, found: Sequence[Finding]) -> None:
    body = {"findings": [each.value() for each in found[:MOST_HANDED]], "counts": counted(found)}
    platform.put(f"/mlops/v1/audits/{name}", body)


def _pseudonyms(store: ObjectStore) -> Pseudonyms:
    if store.envelope is None:
        raise SettingsError("SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; pseudonyms need the key ring)")
    return Pseudonyms(store.envelope.keyring)


def _shown(name: str, found: Sequence[Finding], rows: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(report.markdown(name, found, rows))


@dg.asset_check(asset=CHAIN, name="chains_are_whole", blocking=True)
def chains_are_whole(chain: Value) -> dg.AssetCheckResult:
    """No row of any trail was changed, deleted or cut off since it was sealed."""
    breaks = chain["breaks"]
    return result(
        not breaks,
        f"감사 기록이 {len(breaks)}곳에서 훼손되었습니다. 접근 권한을 조사하고 백업과 대조하세요.",
        f"The audit trails are broken in {len(breaks)} places; find out who could write, and compare with a backup.",
        breaks=len(breaks),
        where={str(number): each["english"] for number, each in enumerate(breaks[:20])},
    )


ASSETS = [trail_chains, daily_findings]
CHECKS = [chains_are_whole]
