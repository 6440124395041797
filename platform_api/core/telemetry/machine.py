"""What a process rests on and can run out of: volumes that it writes to, and certificates that end.

A process names what is its own: volumes are read when somebody asks for /metrics, and so are certificates that gunicorn
loads at each connection; one that is loaded at the start is told once, since a renewed file helps nobody before the process
shows it. Volumes of other programs (PostgreSQL, the broker) are measured by the machine's or the cluster's own exporter.
"""

import os
from pathlib import Path

import structlog
from cryptography import x509
from prometheus_client import Gauge

log = structlog.get_logger(__name__)

FREE = Gauge(
    "smartfit_volume_free_bytes",
    "Bytes that the process may still write",
    ["volume"],
    multiprocess_mode="livemostrecent",
)
SIZE = Gauge("smartfit_volume_size_bytes", "Size of the volume", ["volume"], multiprocess_mode="livemostrecent")
EXPIRY = Gauge(
    "smartfit_certificate_expiry_timestamp_seconds",
    "When a certificate that the process shows ends (Unix time)",
    ["certificate"],
    multiprocess_mode="livemostrecent",
)

_volumes: dict[str, Path] = {}
_certificates: dict[str, Path] = {}


def watch_volume(name: str, folder: Path) -> None:
    """Measure the file system that `folder` lies on."""
    _volumes[name] = folder


def watch_certificate(name: str, file: Path) -> None:
    """Tell when a certificate ends that is loaded at each connection; see `certificate_loaded`."""
    _certificates[name] = file


def certificate_loaded(name: str, file: Path) -> None:
    """Tell when the certificate that the process has just loaded ends: the first, that is its own, of a PEM file."""
    try:
        first = x509.load_pem_x509_certificates(file.read_bytes())[0]
        EXPIRY.labels(name).set(first.not_valid_after_utc.timestamp())
    except (OSError, ValueError) as error:
        log.warning("not_measured", certificate=name, error=f"{type(error).__name__}: {error}")


def measure() -> None:
    """Set the gauges of what is watched. What cannot be read is told in the log, and keeps its last value."""
    for name, file in list(_certificates.items()):
        certificate_loaded(name, file)
    for name, folder in list(_volumes.items()):
        try:
            _volume(name, folder)
        except OSError as error:
            log.warning("not_measured", volume=name, error=f"{type(error).__name__}: {error}")


def _volume(name: str, folder: Path) -> None:
    # The folder may not be made yet; its volume is that of the nearest one above.
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    FREE.labels(name).set(found.f_bavail * found.f_frsize)
    SIZE.labels(name).set(found.f_blocks * found.f_frsize)
