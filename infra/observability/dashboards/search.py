"""Search: how quickly it answers, and how quickly changes are found."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, number, page


def dashboard() -> Dashboard:
    """Questions and the index."""
    asked = 'smartfit_http_request_duration_seconds_bucket{route=~"/search/v1/.*"}'
    return page(
        "search",
        "검색 · Search",
        Row("지금 · Now", (
            number("응답 P95 (3 s promised)", "s", f"histogram_quantile(0.95, sum by (le) (rate({asked}[15m])))", warn=0.1, alarm=1),
            number("찾기까지 P95 (change to found)", "s", "histogram_quantile(0.95, sum by (le) (rate(smartfit_search_index_lag_seconds_bucket[1h])))", warn=5, alarm=60),
            number("색인할 지점 (waiting)", "short", "max(smartfit_search_pending)", warn=20, alarm=100),
            number("색인 공간 (volume left)", "percentunit", 'min(smartfit_volume_free_bytes{volume="search"} / smartfit_volume_size_bytes{volume="search"})', warn=0.2, alarm=0.1),
        )),
        Row("질문 · Questions", (
            graph("질문 (requests)", "reqps", (f'sum by (route) (rate(smartfit_http_requests_total{{route=~"/search/v1/.*"}}[{RATE}]))', "{{route}}")),
            graph("응답 P95 (duration)", "s", (f"histogram_quantile(0.95, sum by (route, le) (rate({asked}[{RATE}])))", "{{route}}")),
            graph("거절과 오류 (4xx, 5xx)", "reqps", (f'sum by (status) (rate(smartfit_http_requests_total{{route=~"/search/v1/.*",status=~"[45].."}}[{RATE}]))', "{{status}}")),
        )),
        Row("색인 · Index", (
            graph("쓰기 (documents)", "ops", (f"sum by (outcome) (rate(smartfit_search_indexed_total[{RATE}]))", "{{outcome}}")),
            graph("찾기까지 (change to found)", "s",
                  (f"histogram_quantile(0.5, sum by (le) (rate(smartfit_search_index_lag_seconds_bucket[{RATE}])))", "P50"),
                  (f"histogram_quantile(0.95, sum by (le) (rate(smartfit_search_index_lag_seconds_bucket[{RATE}])))", "P95")),
            graph("공유 캐시 (shared cache hits)", "percentunit", (
                f'sum by (cache) (rate(smartfit_cache_requests_total{{outcome="hit"}}[{RATE}])) / sum by (cache) (rate(smartfit_cache_requests_total{{outcome=~"hit|miss"}}[{RATE}]))',
                "{{cache}}")),
        )),
    )  # fmt: skip
