"""Sealed blobs open only where they belong; objects are whole or absent; nothing secret is written down."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_api.core.encryption import DecryptionError, Envelope, KeyRing
from platform_api.core.settings import Settings, SettingsError
from platform_api.core.storage import ObjectStore
from platform_api.core.telemetry.redaction import redact

RING = KeyRing.generate()


@given(st.binary(max_size=2000), st.binary(max_size=40))
def test_what_is_sealed_opens_again_and_hides_its_content(plaintext: bytes, context: bytes) -> None:
    envelope = Envelope(RING)
    blob = envelope.seal(plaintext, context)
    assert envelope.open(blob, context) == plaintext
    if len(plaintext) >= 8:
        assert plaintext not in blob
    assert envelope.seal(plaintext, context) != blob


@given(st.data())
def test_a_changed_blob_or_context_does_not_open(data: st.DataObject) -> None:
    envelope = Envelope(RING)
    blob = bytearray(envelope.seal(b"template of a member", b"member-1"))
    with pytest.raises(DecryptionError):
        envelope.open(bytes(blob), b"member-2")
    position = data.draw(st.integers(0, len(blob) - 1))
    blob[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecryptionError):
        envelope.open(bytes(blob), b"member-1")
    with pytest.raises(DecryptionError):
        envelope.open(bytes(blob[:position]), b"member-1")


def test_rotation_keeps_old_blobs_readable_until_their_key_goes() -> None:
    old = Envelope(RING)
    blob = old.seal(b"x", b"c")
    new = Envelope(RING.rotated())
    assert new.open(blob, b"c") == b"x"
    moved = new.rewrap(blob, b"c")
    assert (Envelope.key_id(blob), Envelope.key_id(moved)) == ("k1", "k2")
    only_new = Envelope(KeyRing("k2", {"k2": new.keyring.keys["k2"]}))
    assert only_new.open(moved, b"c") == b"x"
    with pytest.raises(DecryptionError, match="k1"):
        only_new.open(blob, b"c")


def test_ring_file_is_private_and_a_bad_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    RING.to_file(path)
    assert path.stat().st_mode & 0o077 == 0
    assert KeyRing.from_file(path) == RING
    for content in ("{", '{"current": "k1", "keys": {"k1": "c2hvcnQ="}}', '{"current": "k9", "keys": {}}'):
        path.write_text(content)
        with pytest.raises(SettingsError, match="SMARTFIT_KEYRING_FILE"):
            KeyRing.from_file(path)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    RING.to_file(tmp_path / "ring.json")
    return ObjectStore.from_settings(
        Settings(storage_url=(tmp_path / "objects").as_uri(), keyring_file=tmp_path / "ring.json")
    )


def test_sealed_objects_are_unreadable_on_disk_and_bound_to_their_key(store: ObjectStore, tmp_path: Path) -> None:
    store.put("faces/m1/a", b"a face", sealed=True)
    assert store.get("faces/m1/a", sealed=True) == b"a face"
    on_disk = tmp_path / "objects" / "faces" / "m1" / "a"
    assert b"a face" not in on_disk.read_bytes()
    on_disk.rename(on_disk.with_name("b"))
    with pytest.raises(DecryptionError):
        store.get("faces/m1/b", sealed=True)


def test_objects_are_listed_and_removed_by_folder(store: ObjectStore) -> None:
    for key in ("faces/m1/a", "faces/m1/b", "faces/m10/a"):
        store.put(key, b"1", sealed=False)
    assert store.list("faces/m1") == ["faces/m1/a", "faces/m1/b"]
    assert store.delete_prefix("faces/m1") == 2
    assert store.list("faces") == ["faces/m10/a"]
    store.delete("faces/m10/a")
    store.delete("faces/m10/a")
    assert not store.exists("faces/m10/a")
    with pytest.raises(FileNotFoundError):
        store.get("faces/m10/a", sealed=False)


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../b", ""])
def test_keys_stay_inside_the_store(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        store.put(key, b"1", sealed=False)


SECRETIVE = [
    "password", "new_password", "user_token", "password_hash", "Set-Cookie", "accessToken", "X-Authorization", "clientSecret",
    "api_key", "kiosk_key", "CARD_NUMBER", "totp",
]  # fmt: skip
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(SECRETIVE), way=st.lists(st.text(max_size=6) | st.none(), max_size=5), beside=JSON_LIKE)
def test_a_secret_is_taken_out_however_deep_it_lies(name: str, way: list[str | None], beside: Any) -> None:
    document: Any = {name: "hunter22-not-to-be-seen", "beside": beside}
    for step in way:
        document = [document] if step is None else {step: document}
    assert "hunter22-not-to-be-seen" not in json.dumps(redact(document))


def test_objects_and_rows_of_numbers_are_looked_into() -> None:
    @dataclasses.dataclass
    class Login:
        name: str
        password: str
        vectors: list[float] = dataclasses.field(repr=False, default_factory=list)

    assert redact({"login": Login("a", "hunter22", [0.5])}) == {"login": {"name": "a", "password": "[redacted]"}}
    assert redact({"values": [0.1] * 128}) == {"values": "[128 numbers]"}
    assert redact({"probe": np.zeros(3)}) == {"probe": "[array (3,)]"}
    assert redact({"counts": [1, 2, 3], "template_id": "t1", "tokens": 3}) == {
        "counts": [1, 2, 3],
        "template_id": "t1",
        "tokens": 3,
    }


def test_a_store_without_anything_in_it_is_one_that_is_away(store: ObjectStore, tmp_path: Path) -> None:
    store.put("photos/1", b"x", sealed=False)
    assert store.is_there()
    store.delete("photos/1")
    assert store.is_there(), "one object that is gone is no store that is away"
    root = Path(store.root)
    root.rename(tmp_path / "away")
    assert not store.is_there()
    root.mkdir()
    assert not store.is_there()


def test_writers_of_the_same_object_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    RING.to_file(tmp_path / "ring.json")
    root = tmp_path / "objects"
    store = ObjectStore.from_settings(Settings(storage_url=root.as_uri(), keyring_file=tmp_path / "ring.json"))
    bodies = [bytes([number]) * 300_000 for number in range(8)]
    for _ in range(20):
        with ThreadPoolExecutor(len(bodies)) as pool:
            list(pool.map(lambda body: store.put("photos/same", body, sealed=True), bodies))
        assert store.get("photos/same", sealed=True) in bodies
    assert store.list() == ["photos/same"]
