"""Models in service and the line that makes new ones: which version serves, how people agree with it, what is learnt next."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, grid, number, page


def dashboard() -> Dashboard:
    """The judge of photos and the face model."""
    return page(
        "models",
        "모델과 학습 · Models and learning",
        Row("지금 · Now", (
            number("판정 동의 (agreement, 7 days)", "percentunit", "min(smartfit_model_agreement_ratio and on (model, version) smartfit_model_live == 1)", warn=0.92, alarm=0.85),
            number("시험 때 정확도 (as measured)", "percentunit", "min(smartfit_model_expected_accuracy_ratio and on (model, version) smartfit_model_live == 1)"),
            number("확신한 비율 (sure)", "percentunit", "min(smartfit_model_coverage_ratio and on (model, version) smartfit_model_live == 1)", warn=0.7, alarm=0.5),
            number("다음 학습까지 모인 수정 (corrections)", "short", "max(smartfit_model_corrections)"),
            number("7일간 실패한 학습 (trainings failed)", "short", 'sum(smartfit_trainings{state="failed"}) or vector(0)', warn=1, alarm=3),
            number("판정 못 한 사진 1h (not judged)", "short", 'sum(increase(smartfit_mlops_photos_total{reason=~"model_unavailable|model_failed"}[1h])) or vector(0)', warn=1, alarm=5),
        )),
        Row("판정 · Verdicts", (
            graph("판정 (per hour)", "short", ("sum by (verdict) (increase(smartfit_mlops_judged_total[1h]))", "{{verdict}}"), stacked=True),
            graph("불확실한 까닭 (why unsure, per hour)", "short", ('sum by (reason) (increase(smartfit_mlops_photos_total{verdict="unclear"}[1h])) > 0', "{{reason}}")),
            graph("사진 한 장 (a photo)", "s",
                  (f"histogram_quantile(0.5, sum by (le) (rate(smartfit_mlops_judge_seconds_bucket[{RATE}])))", "P50"),
                  (f"histogram_quantile(0.95, sum by (le) (rate(smartfit_mlops_judge_seconds_bucket[{RATE}])))", "P95")),
        )),
        Row("버전마다 · By version", (
            graph("동의 (agreement)", "percentunit", ("smartfit_model_agreement_ratio", "{{model}} {{version}}"), note="Share of the sure verdicts of seven days that managers agreed with."),
            graph("결정된 판정 (decided, 7 days)", "short", ("smartfit_model_decided", "{{model}} {{version}}")),
            graph("그림자 시험 (shadow looks at the gate)", "ops", (f"sum by (result) (rate(smartfit_edge_shadow_frames_total[{RATE}]))", "{{result}}")),
        )),
        Row("배포와 학습 · Deployments and trainings", (
            grid("서비스 중 (live)", "smartfit_model_live == 1"),
            grid("시험 중 (under way)", "smartfit_model_on_trial"),
            grid("7일간의 학습 (trainings)", "smartfit_trainings"),
            graph("얼굴 조각 (frames kept for learning)", "short", ("sum by (outcome) (increase(smartfit_face_frames_total[1d]))", "{{outcome}}")),
        )),
    )  # fmt: skip
