"""Settings of every service of a local installation, in one place.

Secrets are handed over as files (`*_FILE`), so that no process list and no configuration file shows one. Of the
caller's environment only what a program needs to run at all is passed on, and the few settings in PASSED_ON.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.certificates import LOCAL_NAMES
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.postgres import DOMAINS, READER_DOMAINS
from infra.local.state import State
from platform_api.notification.subscriptions import WELL_KNOWN

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_FILE")
# Settings of which an operator's choices are handed on: all whose name begins so.
PASSED_ON = (
    "SMARTFIT_LOG_LEVEL", "SMARTFIT_LOG_DAYS",
    # Where spans go, and how many.
    "OTEL_",
    # What a local installation does without.
    "SMARTFIT_REDIS_", "SMARTFIT_VAULT_",
    # How many passes a member may have in a minute: few stand for many where a machine is measured.
    "SMARTFIT_QR_PASSES_",
    # How a new model is tried, and the language model of the search line: an operator's choices.
    "SMARTFIT_DEPLOYMENT_", "SMARTFIT_SHADOW_", "SMARTFIT_CANARY_", "SMARTFIT_WATCH_", "SMARTFIT_FACES_RETRAIN_AFTER", "SMARTFIT_FACES_MOST_PEOPLE", "SMARTFIT_LLM_URL", "SMARTFIT_LLM_MODEL", "SMARTFIT_LLM_API_KEY_FILE", "SMARTFIT_LLM_CA_FILE",
)  # fmt: skip
# Marks a process as one of this installation's, wherever it ends up in the process tree.
MARK = "SMARTFIT_SUPERVISED"

Environment = dict[str, str]


def base(state: State, environ: Mapping[str, str] = os.environ) -> Environment:
    """What every process gets."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    passed_on = {name: value for name, value in environ.items() if name.startswith(PASSED_ON)}
    return {**inherited, **passed_on, "PYTHONUNBUFFERED": "1", "BENTOML_DO_NOT_TRACK": "True", MARK: str(state.folder)}


def collector(environ: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """Host and port of the receiver of spans, for the gateway, which speaks plain HTTP to it; None without one."""
    endpoint = urlsplit(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""))
    if endpoint.scheme != "http" or not endpoint.hostname:
        return None
    return endpoint.hostname, endpoint.port or 80


def traced_percent(environ: Mapping[str, str] = os.environ) -> float:
    """How many of the traces that the gateway begins are recorded: what OTEL_TRACES_SAMPLER says, where it is a ratio."""
    if "traceidratio" not in environ.get("OTEL_TRACES_SAMPLER", ""):
        return 0.0 if environ.get("OTEL_TRACES_SAMPLER", "").endswith("always_off") else 100.0
    return min(100.0, max(0.0, float(environ.get("OTEL_TRACES_SAMPLER_ARG") or 1.0) * 100))


def names(state: State) -> tuple[str, ...]:
    """Host names and addresses the certificates are for."""
    listen = state.choices.listen
    return (*LOCAL_NAMES, listen) if listen and listen not in ("0.0.0.0", "::") else LOCAL_NAMES  # noqa: S104


def gateway_url(state: State) -> str:
    """Base URL of the platform on this machine."""
    return f"https://127.0.0.1:{state.ports['gateway']}"


def edge_url(state: State) -> str:
    """Base URL of the gate node on this machine."""
    return f"https://127.0.0.1:{state.ports['edge']}"


def kiosk_url(state: State, gate_id: str, host: str = "127.0.0.1") -> str:
    """Where the screen of a gate is; `host`: this machine as a tablet knows it."""
    return f"https://{host}:{state.ports['edge']}/kiosk/{gate_id}/"


def sandbox_url(state: State, name: str) -> str:
    """Base URL of a sandbox (card, gate, fcm, webpush, smtp-http)."""
    return f"https://127.0.0.1:{state.ports[name]}"


def push_services(state: State) -> Path:
    """Authorities by which push services are known: the sandbox's and those of the public ones."""
    return state.run / "push-services.pem"


def storage_url(state: State) -> str:
    """Of the object store. Not `as_uri`: fsspec takes a path as it stands, and a folder may have a space in its name."""
    return f"file://{state.objects}"


def platform(state: State, held: Credentials) -> Environment:
    """The REST APIs and the worker, and the commands that run beside them (migrations, auth's bootstrap)."""
    ports, ca = state.ports, str(state.tls / "ca.pem")
    api = f"http://127.0.0.1:{ports['api']}"
    databases = {f"SMARTFIT_{domain.upper()}_DATABASE_URL_FILE": str(held.database_url(domain)) for domain in DOMAINS}
    return {
        "SMARTFIT_ENVIRONMENT": "local",
        "SMARTFIT_DOMAINS": ",".join(DOMAINS),
        **databases,
        "SMARTFIT_STORAGE_URL": storage_url(state),
        "SMARTFIT_KEYRING_FILE": str(held.keyring),
        "SMARTFIT_JWT_KEYS_DIR": str(held.jwt_keys),
        "SMARTFIT_JWKS_URL": f"{api}/auth/v1/jwks.json",
        "SMARTFIT_MODELS_DIR": str(state.models),
        "SMARTFIT_MODEL_PUBLIC_KEYS_FILE": str(held.model_public_keys),
        "SMARTFIT_CARD_URL": sandbox_url(state, "card"),
        "SMARTFIT_CARD_CA_FILE": ca,
        "SMARTFIT_CARD_API_KEY_FILE": str(held.card_api_key),
        "SMARTFIT_AUTH_INTERNAL_URL": api,
        "SMARTFIT_ACCESS_INTERNAL_URL": api,
        "SMARTFIT_ACCESS_CLIENT_SECRET_FILE": str(held.client_secret("access")),
        "SMARTFIT_SERVICE_CLIENTS_FILE": str(held.service_clients),
        "SMARTFIT_OPERATOR_EMAIL": OPERATOR_EMAIL,
        "SMARTFIT_OPERATOR_PASSWORD_FILE": str(held.operator_password),
        "SMARTFIT_DAGSTER_URL": f"http://127.0.0.1:{ports['dagster']}/dagster",
        "SMARTFIT_WORKER_PORT": str(ports["worker"]),
        "SMARTFIT_SEARCH_INDEX_DIR": str(state.search),
        # Equipment of a trial runs on this machine, too.
        "SMARTFIT_ECHO_NETWORKS": "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
        # One machine, one address: demos and tests register hundreds from it.
        "SMARTFIT_REGISTRATIONS_PER_HOUR": "0",
        "SMARTFIT_ACCOUNT_REQUESTS_PER_MINUTE": "0",
        "SMARTFIT_ADDRESS_REQUESTS_PER_MINUTE": "0",
    }


def api(state: State, held: Credentials) -> Environment:
    """The REST APIs: one process, since a local machine has few cores and the face model is held once."""
    return {
        **platform(state, held),
        **_web_push(state, held),
        "SMARTFIT_API_PORT": str(state.ports["api"]),
        # Within the time that the supervisor waits.
        "SMARTFIT_API_GRACEFUL_S": "8",
    }


def web(state: State) -> Environment:
    """The web clients. No key and no database: whoever is signed in brings a token."""
    return {
        "SMARTFIT_ENVIRONMENT": "local",
        "SMARTFIT_WEB_API_URL": f"http://127.0.0.1:{state.ports['api']}",
        "SMARTFIT_API_PORT": str(state.ports["web"]),
        "SMARTFIT_API_WORKER": "gevent",
        "SMARTFIT_API_SERVICE": "smartfit-web",
        "SMARTFIT_API_GRACEFUL_S": "5",
    }


def indexer(state: State, held: Credentials) -> Environment:
    """The writer of the search index."""
    return {**platform(state, held), "SMARTFIT_SEARCH_INDEXER_PORT": str(state.ports["indexer"])}


def sender(state: State, held: Credentials) -> Environment:
    """The sender of push messages and mail, to their sandboxes; a browser of this machine has its own push service."""
    ports, ca = state.ports, str(state.tls / "ca.pem")
    return {
        **platform(state, held),
        **_web_push(state, held),
        "SMARTFIT_WEBPUSH_SUBJECT": f"mailto:{OPERATOR_EMAIL}",
        "SMARTFIT_SENDER_PORT": str(ports["sender"]),
        "SMARTFIT_FCM_CREDENTIALS_FILE": str(held.fcm_account),
        "SMARTFIT_FCM_URL": sandbox_url(state, "fcm"),
        "SMARTFIT_FCM_CA_FILE": ca,
        "SMARTFIT_SMTP_HOST": "127.0.0.1",
        "SMARTFIT_SMTP_PORT": str(ports["smtp"]),
        "SMARTFIT_SMTP_CA_FILE": ca,
        "SMARTFIT_SMTP_USERNAME": "smartfit",
        "SMARTFIT_SMTP_PASSWORD_FILE": str(held.smtp_api_key),
        "SMARTFIT_SMTP_FROM": "Smart Fitness <no-reply@smartfit.local>",
    }


def _web_push(state: State, held: Credentials) -> Environment:
    """For who takes subscriptions and who sends: the key, and the push services that are called."""
    return {
        "SMARTFIT_WEBPUSH_PRIVATE_KEY_FILE": str(held.webpush_private_key),
        "SMARTFIT_WEBPUSH_HOSTS": f"127.0.0.1:{state.ports['webpush']},{WELL_KNOWN}",
        "SMARTFIT_WEBPUSH_CA_FILE": str(push_services(state)),
    }


def heartbeat(state: State, held: Credentials) -> Environment:
    """The server that equipment sends its heartbeats to."""
    return {
        **platform(state, held),
        "SMARTFIT_HEARTBEAT_HOST": state.choices.listen or "127.0.0.1",
        "SMARTFIT_HEARTBEAT_PORT": str(state.ports["heartbeat"]),
        "SMARTFIT_HEARTBEAT_HEALTH_PORT": str(state.ports["heartbeat-health"]),
        "SMARTFIT_HEARTBEAT_TLS_CERT_FILE": str(state.tls / "heartbeat.pem"),
        "SMARTFIT_HEARTBEAT_TLS_KEY_FILE": str(state.tls / "heartbeat.key"),
    }


def prober(state: State, held: Credentials) -> Environment:
    """The prober that asks equipment for echoes."""
    return {
        **platform(state, held),
        "SMARTFIT_PROBER_HEALTH_PORT": str(state.ports["prober"]),
        "SMARTFIT_ECHO_CA_FILE": str(state.tls / "ca.pem"),
    }


def data(state: State, held: Credentials) -> Environment:
    """Dagster: code server, daemon, web server, and the runs they start."""
    api = f"http://127.0.0.1:{state.ports['api']}"
    return {
        "SMARTFIT_ENVIRONMENT": "local",
        "SMARTFIT_STORAGE_URL": storage_url(state),
        "SMARTFIT_KEYRING_FILE": str(held.keyring),
        "SMARTFIT_MODELS_DIR": str(state.models),
        "SMARTFIT_MODEL_PUBLIC_KEYS_FILE": str(held.model_public_keys),
        "SMARTFIT_MODEL_SIGNING_KEY_FILE": str(held.model_signing_key),
        "SMARTFIT_PLATFORM_URL": api,
        "SMARTFIT_DAGSTER_CLIENT_SECRET_FILE": str(held.client_secret("dagster")),
        **{f"SMARTFIT_{domain.upper()}_READER_URL_FILE": str(held.reader_url(domain)) for domain in READER_DOMAINS},
        "SMARTFIT_DATA_WORK_DIR": str(state.data),
        "SMARTFIT_DAGSTER_DATABASE_URL_FILE": str(held.dagster_database_url),
        "DAGSTER_HOME": str(state.dagster),
        # Threads that wait for one another while others want the cores must not spin: a step of teaching takes ten times as long.
        "OMP_WAIT_POLICY": "passive",
        "DAGSTER_DISABLE_TELEMETRY": "true",
    }


def edge(state: State, held: Credentials, edge_id: str) -> Environment:
    """The gate node."""
    ports, ca = state.ports, str(state.tls / "ca.pem")
    return {
        "SMARTFIT_ENVIRONMENT": "local",
        "SMARTFIT_EDGE_ID": edge_id,
        # A gate node has a machine of its own; here it shares one with the whole platform.
        "SMARTFIT_EDGE_REALTIME": "true",
        "SMARTFIT_EDGE_STATE_DIR": str(state.edge),
        "SMARTFIT_EDGE_KEY_FILE": str(held.edge_key),
        "SMARTFIT_EDGE_KEYRING_FILE": str(held.edge_keyring),
        "SMARTFIT_EDGE_ADMIN_KEY_FILE": str(held.edge_admin_key),
        "SMARTFIT_EDGE_PORT": str(ports["edge"]),
        "SMARTFIT_EDGE_TLS_CERT_FILE": str(state.tls / "edge.pem"),
        "SMARTFIT_EDGE_TLS_KEY_FILE": str(state.tls / "edge.key"),
        "SMARTFIT_CENTRE_URL": gateway_url(state),
        "SMARTFIT_CENTRE_CA_FILE": ca,
        "SMARTFIT_GATE_CA_FILE": ca,
        "SMARTFIT_GATE_API_KEY_FILE": str(held.gate_api_key),
        # Its own: a gate node has its models from the centre, by signed packages.
        "SMARTFIT_MODELS_DIR": str(state.edge_models),
        "SMARTFIT_MODEL_PUBLIC_KEYS_FILE": str(held.model_public_keys),
    }
