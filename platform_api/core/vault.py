"""Secrets out of HashiCorp Vault (KV version 2), by its client hvac.

A setting whose value is `vault:PATH#KEY` is read there when the process starts. Who we are is told to Vault in one of three
ways, the first that is set:

    SMARTFIT_VAULT_ROLE                     the pod's service account (Kubernetes auth)
    SMARTFIT_VAULT_ROLE_ID, _SECRET_ID      AppRole; each may be a file (_FILE)
    SMARTFIT_VAULT_TOKEN_FILE               a token that somebody else keeps fresh, a Vault Agent for example

A login's token ends sooner or later; then we log in again. Key sets, which change while processes run, come as files (see
platform_api.secrets).
"""

import os
import re
import threading
from functools import cache
from pathlib import Path
from typing import Any

import hvac
import hvac.exceptions
import requests

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
TIMEOUT_S = 5
_REFERENCE = re.compile(r"vault:([A-Za-z0-9._/-]+)#([A-Za-z0-9._-]+)")


class VaultError(Exception):
    """Vault cannot be asked, or will not say; the message tells why and what to do."""


class NotThere(VaultError):
    """Vault has no such secret."""


class Vault:
    """One server, spoken to under one name. Safe to share between threads."""

    def __init__(self) -> None:
        """By the environment. VaultError names the setting that is missing or wrong."""
        address = os.environ.get("SMARTFIT_VAULT_ADDR", "")
        if not address.startswith("https://") and not address.startswith("http://127.0.0.1"):
            raise VaultError("SMARTFIT_VAULT_ADDR: https:// 주소가 필요합니다 (needs an https:// address)")
        self.mount = os.environ.get("SMARTFIT_VAULT_MOUNT", "secret")
        self._client = hvac.Client(
            url=address,
            namespace=os.environ.get("SMARTFIT_VAULT_NAMESPACE"),
            verify=os.environ.get("SMARTFIT_VAULT_CA_FILE") or True,
            timeout=TIMEOUT_S,
        )
        # What hvac would take from variables of its own is not ours.
        self._client.token = None
        self._lock = threading.Lock()

    def read(self, path: str) -> tuple[dict[str, str], int]:
        """A secret's fields, and its version. VaultError: there is none, or see there."""
        answer = self._ask(
            lambda kv: kv.read_secret_version(path, mount_point=self.mount, raise_on_deleted_version=True), path
        )
        return {str(key): str(value) for key, value in answer["data"]["data"].items()}, answer["data"]["metadata"][
            "version"
        ]

    def write(self, path: str, fields: dict[str, str], version: int) -> None:
        """Put fields in place of version `version` (0: there is none). VaultError: somebody else was quicker."""
        self._ask(lambda kv: kv.create_or_update_secret(path, fields, cas=version, mount_point=self.mount), path)

    def _ask(self, question: Any, path: str) -> Any:
        with self._lock:
            try:
                if not self._client.token:
                    self._log_in()
                try:
                    return question(self._client.secrets.kv.v2)
                except hvac.exceptions.Forbidden:
                    # The token has ended, or was never good for this: one fresh login tells.
                    self._log_in()
                    return question(self._client.secrets.kv.v2)
            except hvac.exceptions.InvalidPath as error:
                raise NotThere(f"{self.mount}/{path}: Vault에 없습니다 (not in Vault)") from error
            except hvac.exceptions.Forbidden as error:
                self._client.token = None
                raise VaultError(
                    f"{self.mount}/{path}: Vault가 거절했습니다. 정책을 확인하세요 (denied; look at the policy)"
                ) from error
            except hvac.exceptions.VaultDown as error:
                raise VaultError("Vault가 봉인되어 있습니다 (Vault is sealed; unseal it)") from error
            except hvac.exceptions.VaultError as error:
                raise VaultError(f"{self.mount}/{path}: {'; '.join(error.errors or [type(error).__name__])}") from error
            except requests.RequestException as error:
                raise VaultError(
                    f"SMARTFIT_VAULT_ADDR: Vault에 연결할 수 없습니다 (cannot be reached: {type(error).__name__})"
                ) from error

    def _log_in(self) -> None:
        role, role_id = os.environ.get("SMARTFIT_VAULT_ROLE"), _value("SMARTFIT_VAULT_ROLE_ID")
        if role:
            token = _content("SMARTFIT_VAULT_KUBERNETES_TOKEN_FILE", SERVICE_ACCOUNT)
            self._client.auth.kubernetes.login(role, token)
        elif role_id:
            self._client.auth.approle.login(role_id, _value("SMARTFIT_VAULT_SECRET_ID"))
        elif "SMARTFIT_VAULT_TOKEN_FILE" in os.environ:
            self._client.token = _content("SMARTFIT_VAULT_TOKEN_FILE", "")
        else:
            raise VaultError(
                "SMARTFIT_VAULT_ROLE: 로그인 방법이 없습니다 (no way to log in: set it, or SMARTFIT_VAULT_ROLE_ID, "
                "or SMARTFIT_VAULT_TOKEN_FILE)"
            )


@cache
def vault() -> Vault:
    """The Vault of this process. VaultError: a setting of it is wrong."""
    return Vault()


def resolve(reference: str) -> str:
    """The secret that `vault:PATH#KEY` names. VaultError: it is no reference, or see there."""
    found = _REFERENCE.fullmatch(reference.strip())
    if found is None:
        raise VaultError("vault:PATH#KEY 형식이어야 합니다 (write it as vault:PATH#KEY)")
    path, key = found.groups()
    fields, _ = vault().read(path)
    if key not in fields:
        raise VaultError(f"{path}: Vault에 '{key}'이(가) 없습니다 (has no field {key})")
    return fields[key]


def _value(name: str) -> str | None:
    return os.environ.get(name) or (_content(f"{name}_FILE", "") if f"{name}_FILE" in os.environ else None)


def _content(name: str, default: str) -> str:
    path = os.environ.get(name, default)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise VaultError(f"{name}: 파일을 읽을 수 없습니다 (cannot read {path}: {error.strerror})") from error
