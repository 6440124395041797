"""Equipment: asked in time, its faults, and how soon people are told (QAS-01: 15 s)."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, number, page


def dashboard() -> Dashboard:
    """Monitoring and notification."""
    told = 'smartfit_notification_delay_seconds_bucket{channel="push",urgent="True"}'
    return page(
        "equipment",
        "장비와 알림 · Equipment and notifications",
        Row("지금 · Now", (
            number("고장 알림 P95 (fault to push, 15 s)", "s", f"histogram_quantile(0.95, sum by (le) (rate({told}[1h])))", warn=10, alarm=15),
            number("장비 (items asked)", "short", "sum(smartfit_prober_devices)"),
            number("점검 지연 (probes late)", "s", "max(smartfit_prober_overdue_seconds)", warn=1, alarm=3),
            number("하트비트 연결 (connections)", "short", "sum(smartfit_heartbeat_connections)"),
            number("24시간 고장 (faults)", "short", "sum(increase(smartfit_equipment_faults_total[1d]))"),
            number("급한 알림 대기 (urgent due)", "short", 'sum(smartfit_notifications_due{urgent="True"})', warn=10, alarm=100),
        )),
        Row("점검 · Probes", (
            graph("에코 (echoes)", "ops", (f"sum by (outcome) (rate(smartfit_echo_total[{RATE}]))", "{{outcome}}")),
            graph("에코 시간 P95 (echo)", "s", (f"histogram_quantile(0.95, sum by (le) (rate(smartfit_echo_seconds_bucket[{RATE}])))", "P95")),
            graph("나누기 (devices and shards)", "short", ("smartfit_prober_devices", "{{instance}} devices"), ("smartfit_prober_shards", "{{instance}} shards")),
        )),
        Row("하트비트와 고장 · Heartbeats and faults", (
            graph("줄 (lines)", "ops", (f"sum by (outcome) (rate(smartfit_heartbeat_lines_total[{RATE}]))", "{{outcome}}")),
            graph("끊음 (cut off)", "ops", (f"sum by (reason) (rate(smartfit_heartbeat_cut_total[{RATE}]))", "{{reason}}")),
            graph("고장 (faults per hour)", "short", ("sum by (severity, reason) (increase(smartfit_equipment_faults_total[1h]))", "{{severity}} {{reason}}"), stacked=True),
        )),
        Row("알림 · Notifications", (
            graph("보내기 (attempts)", "ops", (f"sum by (channel, outcome) (rate(smartfit_notification_attempts_total[{RATE}]))", "{{channel}} {{outcome}}")),
            graph("도착까지 P95 (to the channel)", "s", (f"histogram_quantile(0.95, sum by (channel, urgent, le) (rate(smartfit_notification_delay_seconds_bucket[{RATE}])))", "{{channel}} urgent {{urgent}}")),
            graph("가장 오래 기다림 (oldest due)", "s", ("max by (channel, urgent) (smartfit_notifications_oldest_due_seconds)", "{{channel}} urgent {{urgent}}")),
        )),
    )  # fmt: skip
