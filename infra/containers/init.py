"""`python -m infra.containers.init DIR`: what a Compose installation needs before its first start. May be repeated: what is there stays.

    DIR/.env         settings of compose.yaml, to be looked at: card service, mail server, operator
    DIR/secrets/     passwords and keys, a file each; compose.yaml gives each service those that it needs
    DIR/tls/NAME/    what a service shows (tls.crt, tls.key) and trusts (ca.crt); renewed here when they near their end
    DIR/authority/   the certificate authority of the installation; its key is given to nobody
    DIR/objects/     the object store
    DIR/figures/     what backups leave for Prometheus

DIR is closed to everybody but its owner (0700). The files within are readable (0444): containers run as different users, and each
sees only the files that it is given.
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from infra.local import certificates, credentials, dagster
from infra.local.certificates import LOCAL_NAMES, write_private
from infra.local.credentials import Credentials
from infra.local.state import State

POSTGRES = "postgres:5432"
NODES = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")
SERVERS = ("gateway", "heartbeat", "edge", "card")
# To be replaced by whoever runs the installation: until then nobody is told of alerts.
NOWHERE = "https://alerts.invalid/"
ENV = """\
# Settings of infra/containers/compose.yaml, read by `docker compose --env-file`. Made once; change it as you like.
INSTALLATION={folder}
# sandbox: a card service to try with. Take it out where CARD_URL is a real one. More: edge, models, elk.
COMPOSE_PROFILES=sandbox
CARD_URL=https://card:8443
# Of the sandbox; leave it out for a card service whose certificate is signed by a public authority.
CARD_CA_FILE=/etc/smartfit/tls/ca.crt
OPERATOR_EMAIL=operator@smartfit.local
# push,webpush,email: push wants the key file of a Firebase service account as secrets/fcm_account.json.
NOTIFICATION_CHANNELS=webpush,email
SMTP_HOST=smtp.invalid
SMTP_PORT=587
SMTP_USERNAME=
SMTP_FROM="Smart Fitness <no-reply@smartfit.invalid>"
HTTPS_PORT=443
HTTP_PORT=80
HEARTBEAT_PORT=8456
# Whose clock the web clients show.
TIMEZONE=Asia/Seoul
# Id of the gate node of this machine, once it is registered (POST /access/v1/edge-nodes).
EDGE_ID=unregistered
"""


def make(folder: Path, names: tuple[str, ...] = ()) -> None:
    """Make what is missing. names: more names and addresses that callers know this machine by. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    state = State(folder)
    for each in (state.secrets, state.secrets / "jwt", folder / "objects", folder / "figures", folder / "authority"):
        each.mkdir(exist_ok=True)
    held = credentials.ensure(state, POSTGRES)
    _more_secrets(held)
    _certificates(folder, names)
    if not (folder / ".env").exists():
        write_private(folder / ".env", ENV.format(folder=folder).encode())
    _open_to_containers(folder)


def _more_secrets(held: Credentials) -> None:
    """Of the services around the platform."""
    folder = held.folder
    broker, cache, store = (_random(folder / f"{name}_password") for name in ("rabbitmq", "redis", "minio"))
    _random(folder / "rabbitmq_cookie")
    _random(folder / "grafana_password")
    given = {
        "postgres_admin_url": f"postgresql://postgres:{_random(held.postgres_password)}@{POSTGRES}/postgres",
        "database_passwords.json": json.dumps(held.database_passwords()),
        "rabbitmq_users.conf": f"default_user = smartfit\ndefault_pass = {broker}\n",
        "rabbitmq_url": ",".join(f"amqp://smartfit:{broker}@{node}:5672/%2F" for node in NODES),
        # Nothing of it is lost that counts; what it holds has an end, and what does not fit is refused, not dropped.
        "redis.conf": f'requirepass {cache}\nmaxmemory 256mb\nmaxmemory-policy noeviction\nsave ""\nappendonly no\ndir /data\n',
        "redis_url": f"redis://:{cache}@redis:6379/0",
        "redis_passwords.json": json.dumps({"redis://redis:6379": cache}),
        "aws_credentials": f"[default]\naws_access_key_id = smartfit\naws_secret_access_key = {store}\n",
        "dagster.yaml": json.dumps(_instance(held.dagster_database_url.read_text()), indent=1),
    }
    for name, text in given.items():
        _write(folder / name, text)
    by_operator = {
        "smtp_password": "", "alerts_smtp_password": "", "fcm_account.json": "{}",
        "alerts_chat_url": NOWHERE, "alerts_page_token": "", "alerts_watchdog_token": "",
    }  # fmt: skip
    for name, text in by_operator.items():
        if not (folder / name).exists():
            write_private(folder / name, text.encode())


def _instance(database_url: str) -> dict[str, object]:
    """dagster.yaml: as on one machine, on volumes that its services share."""
    return {
        "storage": {"postgres": {"postgres_url": database_url}},
        **dagster.artifacts("/var/lib/smartfit/dagster/storage"),
        **dagster.everywhere(),
    }


def _certificates(folder: Path, names: tuple[str, ...]) -> None:
    authority = folder / "authority"
    ca = certificates.authority(authority).chain.read_text()
    for server in SERVERS:
        made = certificates.server(authority, server, (server, *LOCAL_NAMES, *names))
        where = folder / "tls" / server
        where.mkdir(parents=True, exist_ok=True)
        # Moved into place, the chain last: the gateway watches the folder.
        for name, text in {"ca.crt": ca, "tls.key": made.key.read_text(), "tls.crt": made.chain.read_text()}.items():
            _write(where / name, text)
    (folder / "tls" / "authority").mkdir(exist_ok=True)
    _write(folder / "tls" / "authority" / "ca.crt", ca)


def _open_to_containers(folder: Path) -> None:
    for top in ("secrets", "tls"):
        for path in (folder / top).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o444)
    (folder / "objects").chmod(0o777)


def _random(file: Path) -> str:
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32).encode())
    return file.read_text()


def _write(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:
        write_private(file, text.encode())


def main(arguments: list[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.containers.init", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--name", action="append", default=[], help="이 기기의 이름이나 주소 (a name or address of this machine)"
    )
    options = parser.parse_args(arguments)
    folder = options.folder.expanduser().absolute()
    say: Callable[[str], object] = sys.stdout.write
    try:
        make(folder, tuple(options.name))
    except OSError as error:
        sys.stderr.write(f"{folder}: 만들 수 없습니다 (cannot be made): {error}\n")
        return 1
    say(
        f"{folder / '.env'}: 카드사와 메일 서버를 적으세요 (name the card service and the mail server), 그다음 (then):\n"
    )
    compose = os.path.relpath(Path(__file__).with_name("compose.yaml"))
    say(f"  docker compose -f {compose} --env-file {folder / '.env'} up --wait\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
