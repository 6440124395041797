"""A query that names what nobody exports is found, whatever it hides in; one that does not is left alone."""

import pytest

from infra.observability.metrics import exposition
from infra.observability.metrics.queries import World, complaints, labels_of, parse

WORLD = World(
    {
        "smartfit_entries_total": frozenset({"outcome"}),
        "smartfit_lag_bucket": frozenset({"lane", "le"}),
        "other_requests": frozenset({"code", "instance"}),
    },
    frozenset({"granted", "denied"}),
).recording([("lane:lag:p95", "histogram_quantile(0.95, sum by (lane, le) (rate(smartfit_lag_bucket[5m])))")])


@pytest.mark.parametrize(
    "query",
    [
        'sum by (outcome, job) (rate(smartfit_entries_total{outcome="granted"}[5m]))',
        'smartfit_entries_total{outcome=~"granted|denied", instance="a"}',
        'other_requests{code="anything", exported_instance="x"}',
        'lane:lag:p95{lane="work"} > 5 and on (lane) lane:lag:p95 offset 1d > 5',
        "max_over_time(sum(smartfit_entries_total)[1h:1m]) unless absent(up)",
        "sum without (outcome) (smartfit_entries_total) / on (job, instance) group_left () up",
        'sum by (domain) (label_replace(smartfit_entries_total, "domain", "$1", "job", "(.*)"))',
        "topk(3, sum by (code) (other_requests))",
        'count(ALERTS{alertstate="firing", severity="page"})',
    ],
)
def test_what_is_there_is_left_alone(query: str) -> None:
    assert complaints(query, WORLD) == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("rate(smartfit_entries[5m])", "no series smartfit_entries"),
        ("sum(up) or avg(nothing_like_it)", "no series nothing_like_it"),
        ('max_over_time(sum(smartfit_entries_total{result="granted"})[1h:1m])', "smartfit_entries_total has no label result"),
        ('smartfit_entries_total{outcome="let_in"}', "smartfit_entries_total never has outcome='let_in'"),
        ('smartfit_entries_total{outcome=~"granted|let_in"}', "smartfit_entries_total never has outcome='let_in'"),
        ("sum by (method) (smartfit_entries_total)", "sum by or without method, which is not there"),
        ("up * on (code) other_requests", "matched on code, which up has not"),
        ("lane:lag:p95 and on (le) smartfit_lag_bucket", "matched on le, which lane:lag:p95 has not"),
        ('lane:lag:p95{job="api"}', "lane:lag:p95 has no label job"),
        ("rate(up[5m)", "no PromQL: "),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(query: str, words: str) -> None:
    assert any(each.startswith(words) for each in complaints(query, WORLD)), complaints(query, WORLD)


def test_labels_of_an_answer_are_those_that_its_legend_may_show() -> None:
    assert labels_of(parse("sum by (outcome) (smartfit_entries_total)"), WORLD) == {"outcome"}
    assert labels_of(parse("sum(smartfit_entries_total)"), WORLD) == set()
    assert labels_of(parse("lane:lag:p95"), WORLD) == {"lane"}


def test_series_are_read_as_prometheus_reads_them() -> None:
    text = """# HELP a_total what } it {says="no"}
# TYPE a_total counter
a_total{path="/x{y}\\",z=\\"1",code="200"} 1
a_total{code="500",why=""} 2 1700000000
b 3.5e+07
c_bucket{le="+Inf"} NaN
"""
    assert exposition.of_text(text) == {
        "a_total": frozenset({"path", "code", "why"}),
        "b": frozenset(),
        "c_bucket": frozenset({"le"}),
    }


def test_every_metric_of_the_product_is_found_with_its_labels() -> None:
    found = exposition.of_the_product()
    assert found["smartfit_http_requests_total"] == {"service", "method", "route", "status"}
    assert found["smartfit_http_request_duration_seconds_bucket"] == {"service", "method", "route", "le"}
    assert found["smartfit_edge_replica_age_seconds"] == found["smartfit_backup_timestamp_seconds"] == set()
    assert "le" not in found["smartfit_event_delay_seconds_count"]
