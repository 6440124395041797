"""How the platform is, on one page: rate, errors and duration of each domain, and the business that goes over it."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, grid, number, page


def dashboard() -> Dashboard:
    """The page one opens first."""
    requests = "smartfit_http_requests_total"
    duration = "smartfit_http_request_duration_seconds_bucket"
    return page(
        "overview",
        "개요 · Overview",
        Row("지금 · Now", (
            number("울리는 알림 (alerts)", "short", 'sum(ALERTS{alertstate="firing",severity=~"page|ticket"}) or vector(0)', warn=1, alarm=5),
            number("응답하지 않는 대상 (targets down)", "short", "count(up == 0) or vector(0)", warn=1, alarm=3),
            number("가장 나쁜 오류율 1h (worst errors)", "percentunit", "max(domain:gateway_errors:ratio_rate1h) or vector(0)", warn=0.001, alarm=0.01),
            number("24시간 가입 (sign-ups)", "short", "sum(increase(smartfit_members_registered_total[1d]))"),
            number("24시간 입장 (people let in)", "short", 'sum(increase(smartfit_entries_total{outcome="granted"}[1d]))'),
            number("24시간 확인된 작업 (tasks decided)", "short", "sum(increase(smartfit_tasks_decided_total[1d]))"),
        )),
        Row("도메인마다 · By domain (RED, as the gateway sees it)", (
            graph("요청 (requests)", "reqps", ("domain:gateway_requests:rate5m", "{{envoy_cluster_name}}")),
            graph("오류율 (errors)", "percentunit", ("domain:gateway_errors:ratio_rate5m", "{{envoy_cluster_name}}"),
                  note="99.9 % of requests in 30 days are promised; a domain that is down counts too."),
            graph("응답 P95 (duration)", "ms", (
                f"histogram_quantile(0.95, sum by (envoy_cluster_name, le) (rate(envoy_cluster_external_upstream_rq_time_bucket[{RATE}])))",
                "{{envoy_cluster_name}}")),
        )),
        Row("경로마다 · By route", (
            graph("많이 부르는 경로 (busiest)", "reqps", (f"topk(8, sum by (route) (rate({requests}[{RATE}])))", "{{route}}")),
            graph("5xx 경로 (routes that fail)", "reqps", (f'sum by (route, status) (rate({requests}{{status=~"5.."}}[{RATE}])) > 0', "{{status}} {{route}}")),
            graph("느린 경로 P95 (slowest)", "s", (f"topk(8, histogram_quantile(0.95, sum by (route, le) (rate({duration}[{RATE}]))))", "{{route}}")),
        )),
        Row("웹 화면 · Web pages", (
            graph("화면 (pages)", "reqps", (f'sum by (status) (rate({requests}{{service="smartfit-web"}}[{RATE}]))', "{{status}}"), stacked=True),
            graph("느린 화면 P95 (slowest)", "s", (f'topk(8, histogram_quantile(0.95, sum by (route, le) (rate({duration}{{service="smartfit-web",method="GET"}}[{RATE}]))))', "{{route}}"),
                  note="0.1 s is what pages are made for; PagesSlow tells of more than 0.25 s."),
            graph("열린 실시간 연결 (live streams)", "short", ('sum(envoy_cluster_upstream_rq_active{envoy_cluster_name="live"})', "streams")),
        )),
        Row("사업 · Business", (
            graph("입장 (entries per hour)", "short", ("sum by (method, outcome) (increase(smartfit_entries_total[1h]))", "{{method}} {{outcome}}"), stacked=True),
            graph("작업 (tasks per hour)", "short", ("sum by (kind) (increase(smartfit_tasks_submitted_total[1h]))", "{{kind}} handed in"),
                  ("sum by (outcome) (increase(smartfit_tasks_decided_total[1h]))", "{{outcome}}")),
            graph("가입 (sign-ups per hour)", "short", ("sum(increase(smartfit_members_registered_total[1h]))", "members")),
        )),
        Row("알림 · Alerts", (
            grid("울리는 알림 (firing)", 'ALERTS{alertstate="firing",severity=~"page|ticket"}'),
            graph("다시 시작 (restarts)", "short", ("sum by (job) (changes(process_start_time_seconds[1h]))", "{{job}}")),
        )),
    )  # fmt: skip
