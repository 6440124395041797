"""The gates: whom they let in, how quickly, and whether they could go on alone."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, number, page


def dashboard() -> Dashboard:
    """All gate nodes."""
    stage = "smartfit_edge_stage_seconds_bucket"
    return page(
        "gate",
        "게이트 · Gate",
        Row("지금 · Now", (
            number("응답 P95 (answer, 3 s promised)", "s", f'histogram_quantile(0.95, sum by (le) (rate({stage}{{stage="total"}}[15m])))', warn=0.5, alarm=1),
            number("가장 오래된 정보 (oldest replica)", "s", "max(smartfit_edge_replica_age_seconds)", warn=900, alarm=43200),
            number("보내지 않은 기록 (entries unsent)", "short", "sum(smartfit_edge_entries_unsent)", warn=50, alarm=500),
            number("얼굴 거절 (faces refused, 1 h)", "percentunit",
                   'sum(rate(smartfit_edge_decisions_total{method="face",decision="denied",reason=~"no_match|liveness_failed|lockout"}[1h]))'
                   ' / sum(rate(smartfit_edge_decisions_total{method="face",decision=~"granted|denied"}[1h]))', warn=0.1, alarm=0.3),
            number("가까운 갤러리 적중 (cache hits)", "percentunit", "min(smartfit_edge_cache_hit_ratio)"),
            number("낯선 얼굴 사진 (frames of strangers)", "short", "sum(smartfit_edge_stranger_frames)"),
        )),
        Row("판정 · Decisions", (
            graph("판정 (per hour)", "short", ("sum by (decision, method) (increase(smartfit_edge_decisions_total[1h]))", "{{decision}} {{method}}"), stacked=True),
            graph("거절 이유 (why denied, per hour)", "short", ('sum by (reason) (increase(smartfit_edge_decisions_total{decision="denied"}[1h])) > 0', "{{reason}}")),
            graph("다시 보기 (asked to look again, per hour)", "short", ('sum by (reason) (increase(smartfit_edge_decisions_total{decision="retry"}[1h])) > 0', "{{reason}}")),
        )),
        Row("시간 · Time", (
            graph("전체 (whole answer)", "s",
                  (f'histogram_quantile(0.5, sum by (le) (rate({stage}{{stage="total"}}[{RATE}])))', "P50"),
                  (f'histogram_quantile(0.95, sum by (le) (rate({stage}{{stage="total"}}[{RATE}])))', "P95"),
                  (f'histogram_quantile(0.99, sum by (le) (rate({stage}{{stage="total"}}[{RATE}])))', "P99")),
            graph("단계 P95 (stages)", "s", (f'histogram_quantile(0.95, sum by (stage, le) (rate({stage}{{stage!="total"}}[{RATE}])))', "{{stage}}")),
            graph("노드마다 P95 (by node)", "s", (f'histogram_quantile(0.95, sum by (instance, le) (rate({stage}{{stage="total"}}[{RATE}])))', "{{instance}}")),
        )),
        Row("혼자 일하기 · On its own", (
            graph("정보의 나이 (age of the replica)", "s", ("smartfit_edge_replica_age_seconds", "{{instance}}")),
            graph("기록 (entries waiting)", "short", ("smartfit_edge_entries_unsent", "{{instance}} unsent"), ("smartfit_edge_entries_rejected", "{{instance}} refused")),
            graph("시계 (clock offset)", "s", ("abs(smartfit_edge_clock_offset_seconds)", "{{instance}}")),
        )),
        Row("문과 모델 · Doors and models", (
            graph("문 명령 (commands)", "ops", (f"sum by (command, result) (rate(smartfit_edge_gate_commands_total[{RATE}]))", "{{command}} {{result}}")),
            graph("갤러리 (members in the live index)", "short", ("smartfit_edge_gallery_members", "{{instance}} {{tier}}")),
            graph("모델 바꾸기 (swaps, downloads per hour)", "short", ("sum by (how) (increase(smartfit_edge_model_swaps_total[1h]))", "swap {{how}}"),
                  ("sum by (result) (increase(smartfit_edge_model_downloads_total[1h]))", "download {{result}}")),
        )),
    )  # fmt: skip
