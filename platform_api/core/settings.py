"""Typed settings from the environment, or from files for secrets, loud when one is wrong.

Every field `x` is read from `SMARTFIT_X`, or from the file named by `SMARTFIT_X_FILE` (how Docker and Kubernetes
hand secrets over). A value `vault:PATH#KEY` is looked up in Vault (core.vault). A process that misses a setting stops at
start and names it.
"""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "SMARTFIT_"
VAULT = "vault:"


class SettingsError(Exception):
    """One or more settings are missing or wrong; the message names each."""


def read_variable(name: str) -> str | None:
    """The value of environment variable `name`, or the content of the file named by `<name>_FILE`; of `vault:PATH#KEY`,
    what Vault holds there.

    Raises:
        SettingsError: the file cannot be read, or Vault does not tell.
    """
    value = os.environ.get(name)
    if value is not None:
        return _looked_up(name, value)
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        return None
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE: 파일을 읽을 수 없습니다 (cannot read {path}: {error.strerror})") from error
    return _looked_up(name, value)


def _looked_up(name: str, value: str) -> str:
    if not value.startswith(VAULT):
        return value
    # Only here: its client takes a quarter of a second to import.
    from platform_api.core.vault import VaultError, resolve

    try:
        return resolve(value)
    except VaultError as error:
        raise SettingsError(f"{name}: {error}") from error


def required(name: str) -> str:
    """As `read_variable`, for a setting that must be there.

    Raises:
        SettingsError: it is not set.
    """
    value = read_variable(name)
    if not value:
        raise SettingsError(f"{name}: 설정이 없습니다 (not set; set it or {name}_FILE)")
    return value


class _SecretSource(PydanticBaseSettingsSource):
    """Reads a field from the file that `SMARTFIT_<FIELD>_FILE` names, or from Vault; before the plain variables."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = PREFIX + field_name.upper()
        if not os.environ.get(name, VAULT).startswith(VAULT):
            return None, field_name, False
        return read_variable(name), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for field_name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, field_name)
            if value is not None:
                found[key] = value
        return found


class Settings(BaseSettings):
    """What every process needs to know. Domains subclass it with their own fields."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    environment: Literal["local", "test", "production"] = "local"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    storage_url: str = ""
    """fsspec URL of the object store: file:///..., s3://bucket/prefix, memory://..."""
    keyring_file: Path | None = None
    """JSON file with the key-encryption keys (see core.encryption)."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _SecretSource(settings_cls), env_settings


S = TypeVar("S", bound=Settings)


def load(settings_class: type[S], **overrides: Any) -> S:
    """Read the settings of a process.

    Raises:
        SettingsError: names every variable that is missing or wrong, and why.
    """
    try:
        return settings_class(**overrides)
    except ValidationError as error:
        lines = [
            f"{PREFIX}{str(item['loc'][0]).upper() if item['loc'] else '?'}: {item['msg']}" for item in error.errors()
        ]
        raise SettingsError("설정이 잘못되었습니다 (wrong settings):\n  " + "\n  ".join(lines)) from None
