"""The settings that the chart gives to each process: known to the product, no secrets, and enough for it to start."""

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from infra.checks.check import Check, CheckFailed
from infra.helm import chart
from infra.helm.environment import environment, mounted
from infra.helm.known import known
from infra.helm.network import pods

DOMAINS = ("auth", "access", "helper", "search", "branch", "monitoring", "notification", "mlops")
SECRET = re.compile(r"PASSWORD|CLIENT_SECRET|API_KEY$|ADMIN_KEY$|SERVICE_CLIENTS|(DATABASE|READER|REDIS|RABBITMQ)_URL$")
_PLACEHOLDER = "postgresql+psycopg2://host/name"
_KEY = "SMARTFIT_WEBPUSH_PRIVATE_KEY_FILE"


def checks() -> Iterator[Check]:
    """Three for each set of values."""
    for name, values in chart.value_sets().items():
        yield Check(
            f"helm: {name} sets what the product reads, and no secret", functools.partial(settings_known, values)
        )
        yield Check(f"helm: with {name} each process finds what it needs to start", functools.partial(starts, values))
        yield Check(
            f"helm: with {name} each process has its own domain's database alone", functools.partial(own, values)
        )


def settings_known(values: dict[str, Any]) -> None:
    """CheckFailed: a name that nothing reads, or a secret in plain sight."""
    objects, wrong = chart.rendered(values), set()
    for component, found in _environments(objects):
        for name, value in found.items():
            if name.startswith("SMARTFIT_") and name not in known():
                wrong.add(f"{component}: {name} is read by nothing")
            in_file = name.endswith("_FILE")
            if (SECRET.search(name) and not in_file) or re.search(r"://[^/@\s]*:[^/@\s]*@", value):
                wrong.add(f"{component}: {name} is a secret")
    _judge(wrong)


def own(values: dict[str, Any]) -> None:
    """CheckFailed: a process that is handed another domain's database."""
    objects, wrong = chart.rendered(values), set()
    for component, template in pods(objects):
        if component == "migration":
            continue
        handed = {path.rsplit("/", 1)[-1] for path in mounted(objects, template)[0]}
        handed |= environment(objects, template).keys()
        for domain in DOMAINS:
            theirs = any(
                re.fullmatch(rf"SMARTFIT_{domain.upper()}_(POOLED_)?DATABASE_URL(_FILE)?", name) for name in handed
            )
            mine = environment(objects, template).get("SMARTFIT_DOMAINS") == domain
            if theirs != mine:
                wrong.add(f"{component}: {'has' if theirs else 'lacks'} the database of {domain}")
    _judge(wrong)


def starts(values: dict[str, Any]) -> None:
    """CheckFailed: a file that is not mounted, or what a settings class of the product says to the environment."""
    from platform_api.core.settings import SettingsError, load

    objects, wrong = chart.rendered(values), set()
    for component, template in pods(objects):
        found = environment(objects, template)
        files, folders = mounted(objects, template)
        for name, value in found.items():
            here = value in files or any(value == folder or value.startswith(f"{folder}/") for folder in folders)
            if value.startswith(("/etc/smartfit", "/var/lib/smartfit")) and not here:
                wrong.add(f"{component}: {name} names {value}, which is not mounted")
        for settings in _classes(component):
            with _as_environment(found):
                try:
                    load(settings)
                except SettingsError as problem:
                    wrong.add(f"{component}: {problem}")
        if component in DOMAINS and not {"SMARTFIT_JWT_KEYS_DIR", "SMARTFIT_JWKS_URL"} & found.keys():
            wrong.add(f"{component}: no keys of access tokens")
    _judge(wrong)


def _classes(component: str) -> list[Any]:
    """Settings that a process reads at its start."""
    from access_edge.settings import EdgeSettings
    from platform_api.access.settings import AccessSettings
    from platform_api.auth.settings import AuthSettings
    from platform_api.branch.settings import BranchSettings
    from platform_api.core.cache.shared import CacheSettings
    from platform_api.core.internal_tls import InternalTls
    from platform_api.gunicorn_conf import ApiServerSettings
    from platform_api.helper.settings import HelperSettings
    from platform_api.migrate import MigrationSettings
    from platform_api.mlops.settings import MlopsSettings
    from platform_api.monitoring.settings import HeartbeatSettings, MonitoringSettings, ProberSettings
    from platform_api.notification.settings import NotificationSettings, SenderSettings
    from platform_api.search.settings import SearchSettings
    from platform_api.web.settings import WebSettings
    from platform_api.worker import WorkerSettings

    of = {
        "auth": AuthSettings, "access": AccessSettings, "helper": HelperSettings, "search": SearchSettings, "branch": BranchSettings,
        "monitoring": MonitoringSettings, "notification": NotificationSettings, "mlops": MlopsSettings,
    }  # fmt: skip
    others = {
        "indexer": SearchSettings,
        "sender": SenderSettings,
        "heartbeat": HeartbeatSettings,
        "prober": ProberSettings,
        "edge": EdgeSettings,
        "migration": MigrationSettings,
    }
    if component in of:
        return [of[component], CacheSettings, ApiServerSettings, InternalTls]
    if component == "web":
        return [WebSettings, CacheSettings, ApiServerSettings, InternalTls]
    if component.startswith("worker-"):
        return [of[component.removeprefix("worker-")], WorkerSettings, InternalTls]
    return [others[component]] if component in others else []


@contextlib.contextmanager
def _as_environment(found: dict[str, str]) -> Iterator[None]:
    """The process's environment for a while, with a file for each that is named."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        placeholder = Path(folder) / "secret"
        placeholder.write_text(_PLACEHOLDER, encoding="utf-8")
        named = {name: str(placeholder) if name.endswith("_FILE") else value for name, value in found.items()}
        if _KEY in named:
            named[_KEY] = str(_pushing_key(Path(folder)))
        try:
            for name in [name for name in os.environ if name.startswith("SMARTFIT_")]:
                del os.environ[name]
            os.environ.update(named)
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _pushing_key(folder: Path) -> Path:
    """Such a key is looked at when settings are read."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "webpush").write_bytes(pem)
    return folder / "webpush"


def _environments(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Of each pod, and of each ConfigMap, whoever reads it."""
    for component, template in pods(objects):
        yield component, environment(objects, template)
    for each in objects:
        if each["kind"] == "ConfigMap":
            yield each["metadata"]["name"], {name: value for name, value in each["data"].items() if "." not in name}


def _judge(wrong: set[str]) -> None:
    if wrong:
        raise CheckFailed("; ".join(sorted(wrong)))
