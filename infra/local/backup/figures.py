"""What a backup leaves for Prometheus: a file for node_exporter's textfile collector, since the command is gone by the scrape.

Written only where the backup is whole, so the age of the last good one grows while backups fail.
(https://github.com/prometheus/node_exporter#textfile-collector)
"""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from infra.local.backup.manifest import Manifest

registry = CollectorRegistry()
AT = Gauge("smartfit_backup_timestamp_seconds", "When the last good backup was made (Unix time)", registry=registry)
SECONDS = Gauge("smartfit_backup_duration_seconds", "How long it took", registry=registry)
BYTES = Gauge("smartfit_backup_size_bytes", "Size of all its files", registry=registry)
ROWS = Gauge("smartfit_backup_rows", "Rows in it", registry=registry)
OBJECTS = Gauge("smartfit_backup_objects", "Objects in it", registry=registry)
WITH_KEYS = Gauge(
    "smartfit_backup_with_keys", "1: the keys were saved too, without which it is unreadable", registry=registry
)


def write(file: Path, made: Manifest, folder: Path, started: float, ended: float, keys: bool) -> None:
    """Write the figures of a backup, whole or not at all (0644: the exporter is another user's).

    Args:
        folder: where the backup lies.
        started, ended: Unix time, s.

    Raises:
        OSError: the file cannot be written.
    """
    AT.set(ended)
    SECONDS.set(ended - started)
    BYTES.set(sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()))
    ROWS.set(made.rows)
    OBJECTS.set(made.objects)
    WITH_KEYS.set(keys)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(file), registry)
    file.chmod(0o644)
