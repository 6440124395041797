"""The auth domain on a real PostgreSQL, an object store, and the data side's way to both, for as long as it is measured."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.postgres import READER, PostgresServer, bootstrap
from platform_api.app import create_app
from platform_api.core import database
from platform_api.core.encryption import KeyRing
from platform_api.core.migrations import upgrade
from platform_api.core.security import keys as token_keys
from platform_api.core.security import tokens
from tests.faces_world import FacesWorld
from tests.laundry_world import made_world, reading
from tests.learning_world import served


@contextmanager
def faces_world() -> Iterator[FacesWorld]:
    """An installation without members. The server keeps what it writes, as one in service does."""
    with tempfile.TemporaryDirectory(prefix="smartfit-learning-") as place, pytest.MonkeyPatch.context() as patch:
        folder = Path(place)
        token_keys.generate(folder / "jwt")
        KeyRing.generate().to_file(folder / "keyring.json")
        made = made_world(folder, folder / "keyring.json")
        for name, value in {
            "JWT_KEYS_DIR": str(folder / "jwt"),
            "KEYRING_FILE": str(folder / "keyring.json"),
            "STORAGE_URL": (folder / "objects").as_uri(),
            "ENVIRONMENT": "test",
            "LOG_LEVEL": "WARNING",
            # Nobody signs up here, and no face is compared with another member's: neither is called.
            "CARD_URL": "https://127.0.0.1:1",
            "CARD_API_KEY": "none",
            "ACCESS_INTERNAL_URL": "http://127.0.0.1:1",
        }.items():
            patch.setenv(f"SMARTFIT_{name}", value)
        with PostgresServer(folder / "postgres") as server:
            passwords = {name: secrets.token_urlsafe(12) for name in (*database.DOMAINS, READER)}
            urls = bootstrap(server.admin_url, passwords)
            patch.setenv(database.variable("auth"), urls["auth"])
            upgrade("auth", urls["auth"])
            app = create_app(["auth"])

            def token_for(subject: str, *roles: str) -> dict[str, str]:
                with app.app_context():
                    return {"Authorization": f"Bearer {tokens.issue_access_token(subject, roles, ())}"}

            with served(app, token_for) as platform, reading(urls, passwords[READER]) as reader:
                yield FacesWorld(made.store, made.settings, reader, platform)
            database.dispose_all()
