"""The gateway: what comes in, what it turns away, and how the services behind it are."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, number, page


def dashboard() -> Dashboard:
    """Envoy."""
    outside = 'envoy_http_conn_manager_prefix="https"'
    domains = 'envoy_cluster_name!~"admin|collector"'
    return page(
        "gateway",
        "게이트웨이 · Gateway",
        Row("지금 · Now", (
            number("요청 (requests)", "reqps", f"sum(rate(envoy_http_downstream_rq_total{{{outside}}}[5m]))"),
            number("접속 (connections)", "short", f"sum(envoy_http_downstream_cx_active{{{outside}}})", warn=8000, alarm=10000),
            number("인증서 남은 날 (certificate, days)", "short", "min(envoy_server_days_until_first_cert_expiring)", warn=21, alarm=3),
            number("준비된 인스턴스 (hosts healthy)", "percentunit", f"min(envoy_cluster_membership_healthy{{{domains}}} / envoy_cluster_membership_total{{{domains}}})", warn=0.9, alarm=0.5),
            number("메모리 (memory)", "bytes", "max(envoy_server_memory_allocated)"),
            number("돌려보냄 (shed, per s)", "reqps", f"sum(rate(envoy_cluster_upstream_rq_pending_overflow{{{domains}}}[5m]))", warn=0.1, alarm=1),
        )),
        Row("들어오는 요청 · From outside", (
            graph("상태별 (by class)", "reqps", (f"sum by (envoy_response_code_class) (rate(envoy_http_downstream_rq_xx{{{outside}}}[{RATE}]))", "{{envoy_response_code_class}}xx"), stacked=True),
            graph("시간 (duration)", "ms",
                  (f"histogram_quantile(0.5, sum by (le) (rate(envoy_http_downstream_rq_time_bucket{{{outside}}}[{RATE}])))", "P50"),
                  (f"histogram_quantile(0.95, sum by (le) (rate(envoy_http_downstream_rq_time_bucket{{{outside}}}[{RATE}])))", "P95")),
            graph("접속 (connections)", "short", (f"sum by (instance) (envoy_http_downstream_cx_active{{{outside}}})", "{{instance}}")),
        )),
        Row("뒤의 서비스 · Services behind", (
            graph("오류 (5xx)", "reqps", (f'sum by (envoy_cluster_name) (rate(envoy_cluster_external_upstream_rq_xx{{envoy_response_code_class="5",{domains}}}[{RATE}]))', "{{envoy_cluster_name}}")),
            graph("다시 시도 (retries)", "reqps", (f"sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_rq_retry{{{domains}}}[{RATE}]))", "{{envoy_cluster_name}}")),
            graph("인스턴스 (healthy hosts)", "short", (f"min by (envoy_cluster_name) (envoy_cluster_membership_healthy{{{domains}}})", "{{envoy_cluster_name}}")),
            graph("접속 실패 (connect failures)", "ops", (f"sum by (envoy_cluster_name) (rate(envoy_cluster_upstream_cx_connect_fail{{{domains}}}[{RATE}]))", "{{envoy_cluster_name}}")),
            graph("제외됨 (ejected)", "short", (f"sum by (envoy_cluster_name) (envoy_cluster_outlier_detection_ejections_active{{{domains}}})", "{{envoy_cluster_name}}")),
            graph("나가는 호출 차단 (circuits open in our services)", "short", ("sum by (service) (smartfit_outgoing_circuits_open)", "{{service}}")),
        )),
    )  # fmt: skip
