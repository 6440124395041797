"""Keys are rotated through the real gateway, over a real API process, while members are at it: nobody is refused."""

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from argon2 import PasswordHasher
from sqlalchemy import select

from infra.gateway.description import Address, Jwt, Limits, Rate
from infra.local import rotation
from infra.local.postgres import free_port
from platform_api.auth.models import CardIdentity, FaceCrop, FaceTemplate, Member
from platform_api.core.clock import now
from platform_api.core.database import unit_of_work
from platform_api.core.encryption import DecryptionError, Envelope, KeyRing, RingFile
from platform_api.core.models import new_id
from platform_api.core.security import keys as token_keys
from platform_api.core.storage import ObjectStore
from tests.gateway_world import gateway_before, start
from tests.waiting import wait_for

PASSWORD = "한강-자전거-도로-27"
REFRESH_S = 1
FACE = b"a face " * 100
PEOPLE = 3


@dataclass
class Load:
    """People who read what is sealed of them, with the token they have, and sign in again; what failed is kept."""

    url: str
    ca: Path
    keyring: Path
    asked: int = 0
    failed: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca)
        return session

    def sign_in(self, email: str) -> str:
        answer = self.session().post(
            f"{self.url}/auth/v1/tokens", json={"email": email, "password": PASSWORD}, timeout=20
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def read(self, session: requests.Session, token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return session.get(f"{self.url}/auth/v1/members/me", headers=headers, timeout=20)

    def person(self, email: str, kept: str) -> None:
        """Reads by the token of before and by a fresh one, in turn."""
        session = self.session()
        while not self.stopping.is_set():
            try:
                for token in (kept, self.sign_in(email)):
                    answer = self.read(session, token)
                    self.asked += 1
                    assert answer.status_code == 200, answer.text
                self.opened(email)
            except (AssertionError, DecryptionError, requests.RequestException) as error:
                self.failed.append(f"{type(error).__name__}: {error}"[:300])

    def opened(self, email: str) -> None:
        """What is sealed of a person can be read, as a process reads it that has the ring file."""
        envelope = Envelope(RingFile(self.keyring))
        with unit_of_work("auth") as session:
            member = session.scalars(select(Member).where(Member.email == email)).one()
            card = session.scalars(select(CardIdentity).where(CardIdentity.member_id == member.id)).one()
            face = session.scalars(select(FaceTemplate).where(FaceTemplate.member_id == member.id)).one()
            crop = session.scalars(select(FaceCrop).where(FaceCrop.template_id == face.id)).one()
            assert envelope.open(card.token_sealed, f"auth/card/{member.id}".encode()) == b"card token"
            assert face.vectors_sealed is not None
            assert envelope.open(face.vectors_sealed, f"auth/template/{face.id}".encode()) == b"template"
            key = crop.object_key
        assert ObjectStore.from_settings(_settings()).get(key, sealed=True) == FACE


@dataclass
class World:
    url: str
    ca: Path
    jwt_dir: Path
    keyring: Path

    def person(self) -> str:
        """Somebody with a card and a face; the e-mail address."""
        email = f"{secrets.token_hex(6)}@example.com"
        member_id, template_id = new_id(), new_id()
        envelope = Envelope(RingFile(self.keyring))
        key = f"faces/{member_id}/{template_id}/0.jpg"
        store = ObjectStore.from_settings(_settings())
        store.put(key, FACE, sealed=True)
        with unit_of_work("auth") as session:
            session.add(
                Member(
                    id=member_id, email=email, email_key=email, password_hash=PasswordHasher(1, 64, 1).hash(PASSWORD),
                    name="김하늘", language="ko", roles=["customer"],
                )
            )  # fmt: skip
            session.flush()
            session.add(
                CardIdentity(
                    member_id=member_id, token_sealed=envelope.seal(b"card token", f"auth/card/{member_id}".encode())
                )
            )
            session.add(
                FaceTemplate(
                    id=template_id, member_id=member_id, model_version="v1", rows=1, status="enrolled", enrolled_at=now(),
                    vectors_sealed=envelope.seal(b"template", f"auth/template/{template_id}".encode()),
                )
            )  # fmt: skip
            session.flush()
            session.add(FaceCrop(object_key=key, template_id=template_id, position=0, quality={}))
        return email


def _settings() -> Any:
    from platform_api.core.settings import Settings, load

    return load(Settings)


@pytest.fixture
def world(
    postgres: Any, empty_database: Any, tmp_path: Path, object_store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    empty_database("auth", "access", "helper", "notification")
    jwt_dir, keyring, port = tmp_path / "jwt", tmp_path / "ring.json", free_port()
    first = token_keys.generate(jwt_dir)
    os.utime(jwt_dir / f"{first}.pem", (time.time() - 3600, time.time() - 3600))
    KeyRing.generate().to_file(keyring)
    for name, value in {
        "DOMAINS": "auth", "ENVIRONMENT": "test", "JWT_KEYS_DIR": jwt_dir, "KEYRING_FILE": keyring, "CARD_URL": "https://127.0.0.1:1",
        "CARD_API_KEY": "none", "ACCESS_INTERNAL_URL": "http://127.0.0.1:1", "ARGON2_MEMORY_KIB": 64, "ARGON2_TIME_COST": 1,
        "ARGON2_PARALLELISM": 1, "ACCOUNT_REQUESTS_PER_MINUTE": 0, "ADDRESS_REQUESTS_PER_MINUTE": 0,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"SMARTFIT_{name}", str(value))
    command = [
        sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "75", "--no-control-socket",
        "--bind", f"127.0.0.1:{port}", "platform_api.app:create_app()",
    ]  # fmt: skip
    with (tmp_path / "api.log").open("ab") as output:
        api = subprocess.Popen(command, stdout=output, stderr=output)
    described = gateway_before(
        tmp_path, Limits(general=Rate(5000, 9000), sensitive=Rate(5000, 9000), account=Rate(5000, 9000)),
        auth=(Address("127.0.0.1", port),), platform=(Address("127.0.0.1", port),),
    )  # fmt: skip
    envoy = None
    try:
        wait_for(lambda: _ready(api, f"http://127.0.0.1:{port}/readyz", tmp_path / "api.log"), 60, "the API")
        envoy = start(replace(described, jwt=Jwt(refresh_s=REFRESH_S)), tmp_path)
        yield World(f"https://127.0.0.1:{described.listen[0].port}", tmp_path / "ca.pem", jwt_dir, keyring)
    finally:
        for process in (envoy, api):
            if process is not None:
                process.terminate()
                process.wait(20)


def _ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def _kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def test_keys_are_rotated_and_removed_under_load_and_no_request_fails(world: World) -> None:
    load = Load(world.url, world.ca, world.keyring)
    emails = [world.person() for _ in range(PEOPLE)]
    wait_for(lambda: _signed_in(load, emails[0]), 30, "the gateway has the keys")
    kept = [load.sign_in(email) for email in emails]
    (old,) = {_kid(token) for token in kept}
    threads = [threading.Thread(target=load.person, args=pair) for pair in zip(emails, kept, strict=True)]
    for thread in threads:
        thread.start()
    try:
        _rotate_the_ring(world)
        new = _rotate_the_signing_key(world, load, emails[0])
        assert new > old
        # Tokens of the old key have been good all the while: `person` used one in every round.
        before = load.asked
        wait_for(lambda: load.asked > before + 10 * PEOPLE, what="load goes on")
    finally:
        load.stopping.set()
        for thread in threads:
            thread.join()
    assert load.failed == []
    assert load.asked > 50

    rotation.remove_jwt(world.jwt_dir, old, at_once=True)
    session = load.session()
    wait_for(lambda: load.read(session, kept[0]).status_code == 401, 10 * REFRESH_S + 5, "the removed key is refused")
    assert load.read(session, load.sign_in(emails[0])).status_code == 200


def _signed_in(load: Load, email: str) -> bool:
    return load.read(load.session(), load.sign_in(email)).status_code == 200


def _rotate_the_ring(world: World) -> None:
    """A new key, everything under it, and the old one gone."""
    rotation.rotate_ring(world.keyring, ahead_s=3)
    ring = RingFile(world.keyring)
    wait_for(lambda: ring.now().current == "k2", what="the new key seals")
    done = subprocess.run([sys.executable, "-m", "platform_api.reseal"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    rotation.remove_from_ring(world.keyring, "k1", lambda _: 0, at_once=True)
    wait_for(lambda: set(ring.now().keys) == {"k2"}, what="the old key is gone")


def _rotate_the_signing_key(world: World, load: Load, email: str) -> str:
    """A new key, published for as long as everybody needs to hear of it, and then used."""
    new = rotation.rotate_jwt(world.jwt_dir)
    published = f"{load.url}/auth/v1/jwks.json"
    session = load.session()
    wait_for(lambda: new in session.get(published, timeout=10).text, what="the new key is published")
    assert _kid(load.sign_in(email)) != new
    # The half minute it stands there before it signs, in the time of the test.
    time.sleep(3 * REFRESH_S)
    past = time.time() - token_keys.KeySet.PUBLISHED_AHEAD
    os.utime(world.jwt_dir / f"{new}.pem", (past, past))
    wait_for(lambda: _kid(load.sign_in(email)) == new, what="the new key signs")
    return new
