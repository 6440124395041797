"""What every domain holds under an old key is put under the new one, whole, and what was deleted meanwhile stays so."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.rotation import rotate_ring
from platform_api import reseal
from platform_api.auth.models import CardIdentity, FaceCrop, FaceTemplate, Member
from platform_api.core import resealing
from platform_api.core.clock import now
from platform_api.core.database import unit_of_work
from platform_api.core.encryption import DecryptionError, Envelope, KeyRing
from platform_api.core.models import new_id
from platform_api.core.settings import Settings, load
from platform_api.core.storage import ObjectStore
from platform_api.notification.models import EmailAddress

PICTURES = 5


class World:
    """A member's face, card and address, a stranger's frame and a data set, all sealed under the first key."""

    def __init__(self, keyring: Path) -> None:
        self.keyring = keyring
        self.store = ObjectStore.from_settings(load(Settings))
        envelope = Envelope(KeyRing.from_file(keyring))
        self.member_id, self.template_id = new_id(), new_id()
        crops = [f"faces/{self.member_id}/{self.template_id}/{number}.jpg" for number in range(PICTURES)]
        self.objects = [*crops, "strangers/gangnam/1.jpg", "datasets/face/v1/manifest.parquet"]
        for key in self.objects:
            self.store.put(key, key.encode() * 20, sealed=True)
        self.store.put("models/face/v1.tar", b"not sealed", sealed=False)
        with unit_of_work("auth") as session:
            session.add(
                Member(
                    id=self.member_id, email="a@example.com", email_key="a@example.com", password_hash="", name="김",
                    language="ko", roles=["customer"],
                )
            )  # fmt: skip
            session.flush()
            token = envelope.seal(b"card token", f"auth/card/{self.member_id}".encode())
            session.add(CardIdentity(member_id=self.member_id, token_sealed=token))
            template = envelope.seal(b"template", f"auth/template/{self.template_id}".encode())
            session.add(
                FaceTemplate(
                    id=self.template_id, member_id=self.member_id, model_version="v1", rows=1, vectors_sealed=template,
                    status="enrolled", enrolled_at=now(),
                )
            )  # fmt: skip
            session.flush()
            session.add_all(
                FaceCrop(object_key=key, template_id=self.template_id, position=position, quality={})
                for position, key in enumerate(crops)
            )
        with unit_of_work("notification") as session:
            address = envelope.seal(b"a@example.com", f"notification/email/{self.member_id}".encode())
            session.add(
                EmailAddress(
                    member_id=self.member_id, address_sealed=address, address_hash="h", hint="a", code_sealed=None
                )
            )

    def rotate(self) -> None:
        rotate_ring(self.keyring, ahead_s=0)
        self.store = ObjectStore.from_settings(load(Settings))

    def kids(self) -> set[str]:
        """The keys that anything is under."""
        blobs = [self.store.read(key, 0, 64) for key in self.objects if self.store.exists(key)]
        with unit_of_work("auth") as session:
            blobs += [row.token_sealed for row in session.query(CardIdentity)]
            blobs += [row.vectors_sealed for row in session.query(FaceTemplate)]
        with unit_of_work("notification") as session:
            blobs += [row.address_sealed for row in session.query(EmailAddress)]
        return {Envelope.key_id(blob) for blob in blobs}


@pytest.fixture
def world(
    empty_database: Callable[..., None],
    postgres: object,
    tmp_path: Path,
    object_store_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    empty_database("auth", "access", "helper", "notification")
    keyring = tmp_path / "ring.json"
    KeyRing.generate().to_file(keyring)
    monkeypatch.setenv("SMARTFIT_KEYRING_FILE", str(keyring))
    return World(keyring)


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr("sys.argv", ["reseal", *options])
    monkeypatch.setattr("sys.stdout", said := io.StringIO())
    status = reseal.main()
    return status, json.loads(said.getvalue().splitlines()[-1])


def test_everything_is_put_under_the_new_key_and_opens_without_the_old(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told = run(monkeypatch, "--check")
    assert (status, told["left"]) == (0, 0)
    world.rotate()
    status, told = run(monkeypatch, "--check")
    assert (status, told["left"]) == (1, len(world.objects) + 3)
    status, told = run(monkeypatch)
    assert (status, told) == (0, {"key": "k2", "rows": 3, "objects": len(world.objects), "left": 0, "failed": []})
    assert world.kids() == {"k2"}
    assert run(monkeypatch)[1]["rows"] == 0

    ring = KeyRing.from_file(world.keyring)
    KeyRing("k2", {"k2": ring.keys["k2"]}).to_file(world.keyring)
    store = ObjectStore.from_settings(load(Settings))
    assert all(store.get(key, sealed=True) == key.encode() * 20 for key in world.objects)
    assert store.get("models/face/v1.tar", sealed=False) == b"not sealed"
    assert not store.exists(resealing.NOTES)
    with unit_of_work("auth") as session:
        row = session.get_one(FaceTemplate, world.template_id)
        context = f"auth/template/{world.template_id}".encode()
        assert Envelope(KeyRing.from_file(world.keyring)).open(row.vectors_sealed, context) == b"template"


def test_one_that_was_cut_off_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.rotate()
    whole = ObjectStore.rewrap
    done: list[str] = []

    def cut_off(store: ObjectStore, key: str) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        whole(store, key)
        done.append(key)

    monkeypatch.setattr(ObjectStore, "rewrap", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch)
    assert world.kids() == {"k1", "k2"}
    monkeypatch.setattr(ObjectStore, "rewrap", whole)
    status, told = run(monkeypatch)
    assert (status, told["objects"]) == (0, len(world.objects) - 3)
    assert world.kids() == {"k2"}


@pytest.mark.parametrize("cut", [False, True], ids=["meanwhile", "and then it was cut off"])
def test_a_face_that_is_erased_meanwhile_does_not_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    world.rotate()
    whole, erased = ObjectStore.rewrap, world.objects[1]

    def erase_between(store: ObjectStore, key: str) -> None:
        """The object goes after it was read, and is written again."""
        blob = store.filesystem.cat_file(store._path(key))
        whole(store, key)
        if key == erased:
            with unit_of_work("auth") as session:
                session.delete(session.get_one(FaceCrop, erased))
            store.delete(erased)
            store.filesystem.pipe_file(store._path(key), blob)
            if cut:
                raise KeyboardInterrupt

    monkeypatch.setattr(ObjectStore, "rewrap", erase_between)
    if cut:
        with pytest.raises(KeyboardInterrupt):
            run(monkeypatch)
        assert world.store.exists(erased)
        monkeypatch.setattr(ObjectStore, "rewrap", whole)
    assert run(monkeypatch)[0] == 0
    assert not world.store.exists(erased)
    assert all(world.store.exists(key) for key in world.objects if key != erased)


def test_what_opens_under_no_key_is_told_and_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = Envelope(KeyRing("k9", {"k9": b"9" * 32})).seal(b"x", b"strangers/gangnam/2.jpg")
    world.store.put("strangers/gangnam/2.jpg", foreign, sealed=False)
    world.rotate()
    status, told = run(monkeypatch)
    assert (status, told["left"], told["objects"]) == (1, 1, len(world.objects))
    assert told["failed"] == ["strangers/gangnam/2.jpg: key k9 is not in the ring"]
    with pytest.raises(DecryptionError):
        world.store.get("strangers/gangnam/2.jpg", sealed=True)
