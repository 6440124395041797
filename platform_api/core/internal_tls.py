"""TLS among the services, optional: whom a service believes, and what certificate it shows the others (mTLS).

One certificate a service, good for both sides, of an authority that signs for nobody else. Files are read at each new
connection, so that a renewed certificate needs no restart.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from platform_api.core.settings import Settings, load


class InternalTls(Settings):
    """The files (`SMARTFIT_<NAME>`). The authority alone: the others are reached by HTTPS and ask for no certificate."""

    internal_ca_file: Path | None = Field(default=None, description="Who signs the services' certificates (PEM).")
    internal_cert_file: Path | None = Field(default=None, description="Certificate chain this service shows (PEM).")
    internal_key_file: Path | None = Field(default=None, description="Its key (PEM).")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        pair = {"internal_cert_file": self.internal_cert_file, "internal_key_file": self.internal_key_file}
        if any(pair.values()):
            missing = [name for name, file in {**pair, "internal_ca_file": self.internal_ca_file}.items() if not file]
            if missing:
                names = ", ".join(f"SMARTFIT_{name.upper()}" for name in missing)
                raise ValueError(
                    f"{names}: 인증서, 키, CA를 함께 지정하세요 (not set; certificate, key and CA go together)"
                )
        return self

    @property
    def pair(self) -> tuple[str, str] | None:
        """What is shown to the others: files of the chain and the key; None where nobody asks."""
        return (str(self.internal_cert_file), str(self.internal_key_file)) if self.internal_cert_file else None

    @property
    def verify(self) -> str | bool:
        """Who is believed, as `requests` takes it: a file, or whom the system believes."""
        return str(self.internal_ca_file) if self.internal_ca_file else True


def internal_tls() -> InternalTls:
    """As the settings say.

    Raises:
        SettingsError: a certificate without its key or without the authority.
    """
    return load(InternalTls)
