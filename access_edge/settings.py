"""What a gate node is told at its start; a missing or wrong value stops it, by name.

Imports no model: gunicorn's master reads this before it forks, and the threads of a model's libraries do not survive that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from platform_api.core.addresses import Network, networks
from platform_api.core.settings import Settings

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class EdgeSettings(Settings):
    """Settings of a gate node (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    edge_id: str = Field(min_length=1, description="Id under which the centre registered this node.")
    edge_state_dir: Path = Field(
        description="Folder of the replica, the log and the strangers' frames; this node's own."
    )
    edge_key_file: Path = Field(description="Ed25519 private key (PEM) this node signs its calls to the centre with.")
    edge_keyring_file: Path = Field(description="Key ring that seals faces on this node's disk.")
    edge_host: str = "127.0.0.1"
    edge_port: int = Field(default=8444, ge=0, le=65535)
    edge_threads: int = Field(default=8, ge=2, le=64)
    edge_tls_cert_file: Path | None = None
    edge_tls_key_file: Path | None = None
    edge_admin_key: SecretStr = Field(min_length=16, description="Bearer key of the local admin routes.")
    edge_max_body_mib: float = Field(default=12.0, gt=0)

    centre_url: str = Field(description="Base URL of the platform, by HTTPS unless it is on this machine.")
    centre_ca_file: Path | None = Field(default=None, description="CA of the centre; the system's where unset.")
    gate_ca_file: Path | None = Field(default=None, description="CA of the gate controllers; the system's where unset.")
    gate_api_key: SecretStr = Field(description="Bearer key of the gate controllers.")
    gate_timeout_s: float = Field(default=0.8, gt=0, le=10)
    gate_networks: str = Field(
        default="127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
        description="Networks, comma-separated, that gate controllers are in: the key is sent to no other address.",
    )

    models_dir: Path | None = Field(default=None, description="Where model packages and liveness weights lie.")

    model_public_keys_file: Path | None = Field(
        default=None, description="JSON array of base64 Ed25519 keys that model packages must be signed with."
    )
    edge_model_max_mib: float = Field(default=512.0, gt=0, description="Largest package that is fetched.")
    edge_report_interval_s: float = Field(default=60.0, gt=0, description="Between reports on models to the centre.")
    edge_reports_kept: int = Field(
        default=2000, ge=1, description="Reports that wait while the centre is gone; older ones are dropped."
    )
    edge_watch_h: float = Field(
        default=24.0, ge=0, description="How long after a swap the live model is reported on, if none is being tried."
    )
    edge_shadow_pause_s: float = Field(
        default=0.2, ge=0, description="So long nobody must have been looked at before a model on trial works."
    )

    edge_sync_interval_s: float = Field(default=1.0, gt=0, description="Between looks at the change feed.")
    edge_sync_page: int = Field(default=500, ge=1, le=5000)
    edge_offline_limit_h: float = Field(
        default=36.0, gt=0, description="How long the replica is trusted without the centre."
    )
    edge_cache_members: int = Field(default=10_000, ge=1, description="Members the cache of the gallery holds.")
    edge_prefetch_ahead_s: float = Field(
        default=300.0, ge=0, description="How long before an hour its members are fetched."
    )
    edge_identify_timeout_s: float = Field(default=0.3, gt=0, description="For the centre's gallery, on a miss here.")
    edge_forward_interval_s: float = Field(default=0.5, gt=0)
    edge_log_max_mib: float = Field(default=512.0, gt=0, description="Disk the log of entries may take.")
    edge_log_keep_days: float = Field(
        default=14.0, ge=0, description="How long entries are kept once the centre has them."
    )
    edge_stranger_keep_h: float = Field(default=72.0, gt=0, description="After that a stranger's frame is gone.")
    edge_stranger_max: int = Field(default=500, ge=0, description="Frames of strangers kept at once; 0 keeps none.")
    edge_liveness_live: float | None = Field(
        default=None, ge=0, le=1, description="Passive score from which a face is real; the policy's own where unset."
    )
    edge_liveness_spoof: float | None = Field(
        default=None, ge=0, le=1, description="Passive score up to which it is not; the policy's own where unset."
    )
    edge_realtime: bool = Field(
        default=False, description="Go before all else on this machine (SCHED_RR), where the system allows it."
    )
    edge_recognitions_at_once: int = Field(default=2, ge=1, description="Recognitions run side by side; others wait.")

    @field_validator("centre_url")
    @classmethod
    def _https_unless_here(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("http(s)://호스트 형식이어야 합니다 (must be an http or https URL)")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("다른 기기와는 HTTPS만 됩니다 (plain http only to this machine)")
        return value.rstrip("/")

    @field_validator(
        "edge_key_file",
        "edge_keyring_file",
        "edge_tls_cert_file",
        "edge_tls_key_file",
        "centre_ca_file",
        "gate_ca_file",
        "model_public_keys_file",
    )
    @classmethod
    def _is_there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"파일이 없습니다 (no such file: {value})")
        return value

    @field_validator("gate_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks(value)
        return value

    @model_validator(mode="after")
    def _both_halves_of_tls(self) -> Self:
        if (self.edge_tls_cert_file is None) != (self.edge_tls_key_file is None):
            raise ValueError("EDGE_TLS_CERT_FILE과 EDGE_TLS_KEY_FILE은 함께 있어야 합니다 (set both or neither)")
        if self.edge_tls_cert_file is None and self.edge_host not in _LOOPBACK:
            raise ValueError("EDGE_TLS_CERT_FILE: TLS 없이는 이 기기 안에서만 열 수 있습니다 (needed beyond loopback)")
        return self

    @property
    def centre_verify(self) -> str | bool:
        """What `requests` verifies the centre's certificate with."""
        return str(self.centre_ca_file) if self.centre_ca_file else True

    @property
    def gate_nearby(self) -> list[Network]:
        """`gate_networks`, read."""
        return networks(self.gate_networks)

    @property
    def gate_verify(self) -> str | bool:
        """What `requests` verifies a controller's certificate with."""
        return str(self.gate_ca_file) if self.gate_ca_file else True
