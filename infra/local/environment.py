"""Settings of every service of a local installation, in one place.

Secrets are handed over as files (`*_FILE`), so that no process list and no configuration file shows one. Of the
caller's environment only what a program needs to run at all is passed on, and the few settings in PASSED_ON.
"""

import os
from collections.abc import Mapping

from infra.local.certificates import LOCAL_NAMES
from infra.local.credentials import OPERATOR_EMAIL, Credentials
from infra.local.postgres import DOMAINS
from infra.local.state import State

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_FILE")
PASSED_ON = ("SMARTFIT_LOG_LEVEL",)
# Marks a process as one of this installation's, wherever it ends up in the process tree.
MARK = "SMARTFIT_SUPERVISED"

Environment = dict[str, str]


def base(state: State, environ: Mapping[str, str] = os.environ) -> Environment:
    """What every process gets."""
    inherited = {name: environ[name] for name in (*INHERITED, *PASSED_ON) if name in environ}
    return {**inherited, "PYTHONUNBUFFERED": "1", "BENTOML_DO_NOT_TRACK": "True", MARK: str(state.folder)}


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


def sandbox_url(state: State, name: str) -> str:
    """Base URL of a sandbox (card, gate, fcm, smtp-http)."""
    return f"https://127.0.0.1:{state.ports[name]}"


def platform(state: State, held: Credentials) -> Environment:
    """The REST APIs and the worker, and the commands that run beside them (migrations, auth's bootstrap)."""
    ports, ca = state.ports, str(state.tls / "ca.pem")
    api = f"http://127.0.0.1:{ports['api']}"
    databases = {f"SMARTFIT_{domain.upper()}_DATABASE_URL_FILE": str(held.database_url(domain)) for domain in DOMAINS}
    return {
        "SMARTFIT_ENVIRONMENT": "local",
        "SMARTFIT_DOMAINS": ",".join(DOMAINS),
        **databases,
        "SMARTFIT_STORAGE_URL": state.objects.as_uri(),
        "SMARTFIT_KEYRING_FILE": str(held.keyring),
        "SMARTFIT_JWT_KEYS_DIR": str(held.jwt_keys),
        "SMARTFIT_JWKS_URL": f"{api}/auth/v1/jwks.json",
        "SMARTFIT_MODELS_DIR": str(state.models),
        "SMARTFIT_CARD_URL": sandbox_url(state, "card"),
        "SMARTFIT_CARD_CA_FILE": ca,
        "SMARTFIT_CARD_API_KEY_FILE": str(held.card_api_key),
        "SMARTFIT_AUTH_INTERNAL_URL": api,
        "SMARTFIT_ACCESS_INTERNAL_URL": api,
        "SMARTFIT_ACCESS_CLIENT_SECRET_FILE": str(held.client_secret("access")),
        "SMARTFIT_SERVICE_CLIENTS_FILE": str(held.service_clients),
        "SMARTFIT_OPERATOR_EMAIL": OPERATOR_EMAIL,
        "SMARTFIT_OPERATOR_PASSWORD_FILE": str(held.operator_password),
        "SMARTFIT_WORKER_PORT": str(ports["worker"]),
        "SMARTFIT_SEARCH_INDEX_DIR": str(state.search),
        # Equipment of a trial runs on this machine, too.
        "SMARTFIT_ECHO_NETWORKS": "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
        # One machine, one address: demos and tests register hundreds from it.
        "SMARTFIT_REGISTRATIONS_PER_HOUR": "0",
    }


def indexer(state: State, held: Credentials) -> Environment:
    """The writer of the search index."""
    return {**platform(state, held), "SMARTFIT_SEARCH_INDEXER_PORT": str(state.ports["indexer"])}


def sender(state: State, held: Credentials) -> Environment:
    """The sender of push messages and mail, to the sandboxes of both."""
    ports, ca = state.ports, str(state.tls / "ca.pem")
    return {
        **platform(state, held),
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
        "SMARTFIT_MODELS_DIR": str(state.models),
    }
