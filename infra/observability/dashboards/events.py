"""Events between domains: how many, how late, and what nobody could take."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, number, page


def dashboard() -> Dashboard:
    """Outboxes, broker, inboxes, periodic jobs."""
    lanes = r'queue=~"smartfit\\..+\\.(alert|work|bulk)"'
    return page(
        "events",
        "이벤트 · Events",
        Row("지금 · Now", (
            number("나가지 못한 이벤트 (unsent)", "short", "sum(smartfit_outbox_unsent)", warn=100, alarm=1000),
            number("가장 오래된 (oldest unsent)", "s", "max(smartfit_outbox_oldest_unsent_seconds)", warn=30, alarm=300),
            number("기다리는 이벤트 (inboxes pending)", "short", "sum(smartfit_inbox_pending)", warn=100, alarm=1000),
            number("처리 불가 (dead letters)", "short", "sum(smartfit_inbox_dead_letters)", warn=1, alarm=10),
            number("브로커의 메시지 (at the broker)", "short", f"sum(rabbitmq_queue_messages_ready{{{lanes}}})", warn=500, alarm=5000),
            number("받는 곳 없는 큐 (queues unheard)", "short", f"count(rabbitmq_queue_consumers{{{lanes}}} == 0) or vector(0)", warn=1, alarm=2),
        )),
        Row("흐름 · Flow", (
            graph("내보냄 (published)", "ops", (f"sum by (domain, outcome) (rate(smartfit_outbox_published_total[{RATE}]))", "{{domain}} {{outcome}}")),
            graph("처리 (handled)", "ops", (f"sum by (subscriber, outcome) (rate(smartfit_events_handled_total[{RATE}]))", "{{subscriber}} {{outcome}}")),
            graph("지연 P95 (event to handled)", "s", (f"histogram_quantile(0.95, sum by (subscriber, le) (rate(smartfit_event_delay_seconds_bucket[{RATE}])))", "{{subscriber}}")),
        )),
        Row("밀림 · Backlog", (
            graph("보낼 것의 나이 (oldest unsent)", "s", ("max by (domain) (smartfit_outbox_oldest_unsent_seconds)", "{{domain}}")),
            graph("받은 것의 나이 (oldest pending)", "s", ("max by (subscriber) (smartfit_inbox_oldest_pending_seconds)", "{{subscriber}}")),
            graph("처리 불가 (dead letters)", "short", ("max by (subscriber) (smartfit_inbox_dead_letters)", "{{subscriber}}")),
        )),
        Row("RabbitMQ", (
            graph("큐 (ready)", "short", (f"max by (queue) (rabbitmq_queue_messages_ready{{{lanes}}}) > 0", "{{queue}}")),
            graph("메모리 (memory of its limit)", "percentunit", ("rabbitmq_process_resident_memory_bytes / rabbitmq_resident_memory_limit_bytes", "{{instance}}")),
            graph("디스크 (disk left)", "bytes", ("rabbitmq_disk_space_available_bytes", "{{instance}}")),
        )),
        Row("정기 작업 · Periodic jobs", (
            graph("실행 (runs per hour)", "short", ('sum by (domain, name) (increase(smartfit_jobs_total{outcome="done"}[1h]))', "{{domain}} {{name}}")),
            graph("실패 (failures per hour)", "short", ('sum by (domain, name) (increase(smartfit_jobs_total{outcome="failed"}[1h])) > 0', "{{domain}} {{name}}")),
        )),
    )  # fmt: skip
