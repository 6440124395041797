"""What holds the data, and what it rests on: PostgreSQL, Redis, volumes, backups, the audit trail."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.observability.dashboards.building import RATE, Row, graph, number, page


def dashboard() -> Dashboard:
    """Stores and machines."""
    disks = 'fstype!~"tmpfs|ramfs|overlay|squashfs"'
    return page(
        "databases",
        "데이터베이스와 저장소 · Databases and stores",
        Row("지금 · Now", (
            number("PostgreSQL 연결 (connections)", "percentunit", "max(sum by (instance) (pg_stat_activity_count) / max by (instance) (pg_settings_max_connections))", warn=0.7, alarm=0.85),
            number("가장 찬 연결 풀 (fullest pool)", "percentunit", "max(smartfit_database_connections_in_use / smartfit_database_connections_limit)", warn=0.7, alarm=0.9),
            number("마지막 백업 (last backup)", "s", "time() - max(smartfit_backup_timestamp_seconds)", warn=93600, alarm=172800),
            number("감사 기록 이상 (audit findings)", "short", "sum(smartfit_audit_findings)", warn=1, alarm=2),
            number("남은 공간 (least volume left)", "percentunit", "min(smartfit_volume_free_bytes / smartfit_volume_size_bytes)", warn=0.2, alarm=0.1),
            number("Redis 메모리 (memory)", "bytes", "max(redis_memory_used_bytes)"),
        )),
        Row("PostgreSQL", (
            graph("연결 (connections)", "short", ("sum by (datname, state) (pg_stat_activity_count) > 0", "{{datname}} {{state}}")),
            graph("풀에서 쓰는 연결 (in use by our processes)", "short", ("sum by (domain) (smartfit_database_connections_in_use)", "{{domain}}")),
            graph("크기 (size)", "bytes", ("max by (datname) (pg_database_size_bytes)", "{{datname}}")),
            graph("거래 (transactions)", "ops", (f"sum by (datname) (rate(pg_stat_database_xact_commit[{RATE}]))", "{{datname}} kept"), (f"sum by (datname) (rate(pg_stat_database_xact_rollback[{RATE}]))", "{{datname}} lost")),
            graph("교착 (deadlocks per hour)", "short", ("sum by (datname) (increase(pg_stat_database_deadlocks[1h]))", "{{datname}}")),
            graph("캐시 적중 (buffer hits)", "percentunit", (
                f"sum by (datname) (rate(pg_stat_database_blks_hit[{RATE}])) / (sum by (datname) (rate(pg_stat_database_blks_hit[{RATE}])) + sum by (datname) (rate(pg_stat_database_blks_read[{RATE}])))",
                "{{datname}}")),
        )),
        Row("Redis", (
            graph("적중 (hits)", "percentunit", (f"rate(redis_keyspace_hits_total[{RATE}]) / (rate(redis_keyspace_hits_total[{RATE}]) + rate(redis_keyspace_misses_total[{RATE}]))", "{{instance}}")),
            graph("메모리와 밀려난 키 (memory)", "bytes", ("redis_memory_used_bytes", "{{instance}}")),
            graph("쓰지 않음 (our processes without it)", "short", ("max by (job) (smartfit_cache_breaker_open)", "{{job}}")),
        )),
        Row("디스크와 기기 · Disks and machines", (
            graph("남은 공간 (volumes of our processes)", "percentunit", ("smartfit_volume_free_bytes / smartfit_volume_size_bytes", "{{instance}} {{volume}}")),
            graph("남은 디스크 (machines)", "percentunit", (f"node_filesystem_avail_bytes{{{disks}}} / node_filesystem_size_bytes{{{disks}}}", "{{instance}} {{mountpoint}}")),
            graph("프로세서 (busy)", "percentunit", (f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}[{RATE}]))', "{{instance}}")),
        )),
        Row("백업과 감사 · Backups and audit", (
            graph("백업 크기와 시간 (size)", "bytes", ("max(smartfit_backup_size_bytes)", "bytes")),
            graph("백업 시간 (duration)", "s", ("max(smartfit_backup_duration_seconds)", "seconds")),
            graph("감사 검증 후 (since verified)", "s", ("time() - max by (domain) (smartfit_audit_verified_timestamp_seconds)", "{{domain}}")),
        )),
    )  # fmt: skip
