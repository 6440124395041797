"""What an operator may set for this domain; every wrong or missing value is named at start."""

from datetime import timedelta
from functools import cache
from pathlib import Path

from pydantic import Field, field_validator

from platform_api.core.addresses import Network, networks
from platform_api.core.settings import Settings, load
from platform_api.monitoring.tracker import Rules


class MonitoringSettings(Settings):
    """What the API and the processes of this domain share (`SMARTFIT_<NAME>`)."""

    echo_networks: str = Field(
        default="10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
        description="Networks, comma-separated, in which equipment may be asked for echoes; all other addresses are refused.",
    )
    heartbeat_grace_s: float = Field(
        default=120.0, ge=0, description="How late a heartbeat may be before it is missed."
    )
    recovered_probation_s: float = Field(default=60.0, ge=0, description="An item counts as recovered for so long.")
    history_keep_days: int = Field(
        default=400, ge=1, description="Days until state changes and closed faults are deleted."
    )

    @field_validator("echo_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks(value)
        return value

    @property
    def networks(self) -> tuple[Network, ...]:
        """`echo_networks`, read."""
        return tuple(networks(self.echo_networks))

    @property
    def probation(self) -> timedelta:
        """`recovered_probation_s`, as a duration."""
        return timedelta(seconds=self.recovered_probation_s)

    @property
    def grace(self) -> timedelta:
        """`heartbeat_grace_s`, as a duration."""
        return timedelta(seconds=self.heartbeat_grace_s)


class HeartbeatSettings(MonitoringSettings):
    """Of the heartbeat server."""

    heartbeat_host: str = "127.0.0.1"
    heartbeat_port: int = Field(default=8455, ge=0, le=65535)
    heartbeat_health_host: str = Field(default="127.0.0.1", description="Where health and metrics are served.")
    heartbeat_health_port: int = Field(default=8456, ge=0, le=65535)
    heartbeat_tls_cert_file: Path
    heartbeat_tls_key_file: Path
    heartbeat_clock_ahead_s: float = Field(default=120.0, gt=0, description="How far a device's clock may be ahead.")
    heartbeat_max_age_s: float = Field(default=600.0, gt=0, description="Older lines are refused.")
    heartbeat_max_line: int = Field(default=4096, ge=512, le=65536, description="Bytes.")
    heartbeat_first_line_s: float = Field(
        default=10.0,
        gt=0,
        description="A connection that has not brought a good line by then, handshake included, is cut.",
    )
    heartbeat_line_s: float = Field(default=5.0, gt=0, description="A line that was begun must be whole by then.")
    heartbeat_idle_s: float = Field(
        default=1500.0, gt=0, description="A connection without a good line for so long is cut."
    )
    heartbeat_max_connections: int = Field(default=15_000, ge=1)
    heartbeat_per_address: int = Field(
        default=300, ge=1, description="Connections at once from one address (IPv6: /64)."
    )
    heartbeat_lines_per_minute: int = Field(default=60, ge=1, description="For each connection.")
    heartbeat_bad_lines: int = Field(default=3, ge=1, description="After so many refused lines a connection is cut.")
    heartbeat_writers: int = Field(default=8, ge=1, le=20, description="Lines written to the database at once.")


class ProberSettings(MonitoringSettings):
    """Of the prober."""

    prober_health_host: str = Field(default="127.0.0.1", description="Where health and metrics are served.")
    prober_health_port: int = Field(default=8457, ge=0, le=65535)
    echo_ca_file: Path | None = Field(
        default=None, description="CA of the equipment's certificates; none: the system's."
    )
    echo_interval_s: float = Field(default=10.0, gt=0)
    echo_timeout_s: float = Field(default=1.0, gt=0)
    echo_reprobe_s: float = Field(default=1.0, gt=0, description="Seconds between quick re-probes.")
    echo_misses: int = Field(default=4, ge=1, le=20, description="Misses in a row that make an item silent.")
    echo_hits: int = Field(default=3, ge=1, le=20, description="Answers in a row that end a silence.")
    echo_concurrency: int = Field(
        default=1000, ge=1, description="Regular probes, and again as many re-probes, at once."
    )
    echo_commissioning_s: float = Field(
        default=300.0, ge=0, description="An item that has never answered is not judged for so long after registration."
    )
    flap_window_s: float = Field(default=600.0, ge=0)
    prober_lease_s: float = Field(
        default=10.0, ge=1, description="A worker that does not speak to the database for so long loses its shards."
    )
    prober_tick_s: float = Field(default=1.0, gt=0, description="How often shards, changes and dues are looked at.")

    @property
    def rules(self) -> Rules:
        """How items are asked."""
        return Rules(
            interval=self.echo_interval_s,
            timeout=self.echo_timeout_s,
            spacing=self.echo_reprobe_s,
            misses=self.echo_misses,
            hits=self.echo_hits,
            flap_window=timedelta(seconds=self.flap_window_s),
        )


@cache
def settings() -> MonitoringSettings:
    """The settings of this process, read once. Tests call `settings.cache_clear()` after changing the environment."""
    return load(MonitoringSettings)
