"""Sealed blobs open only where they belong; objects are whole or absent; logs show no secret."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from platform_api.core.encryption import DecryptionError, Envelope, KeyRing
from platform_api.core.settings import Settings, SettingsError
from platform_api.core.storage import ObjectStore
from platform_api.core.telemetry import configure_logging
from platform_api.core.telemetry.logs import redact

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


def test_secrets_and_faces_never_reach_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    configure_logging("test")
    try:
        structlog.get_logger("t").info(
            "enrolled",
            member="m1",
            password="hunter22",
            blob=b"\xff\xd8jpeg",
            probe=np.zeros((1, 128)),
            nested={"card_number": "4111111111111111", "list": [{"kiosk_key": "k-1"}]},
        )
        logging.getLogger("library").warning("plain %s", "text")
    finally:
        logging.getLogger().handlers[:] = before
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert lines[0]["member"] == "m1"
    assert lines[0]["service.name"] == "test"
    assert lines[1]["event"] == "plain text"
    whole = json.dumps(lines)
    assert not [secret for secret in ("hunter22", "4111111111111111", "k-1", "jpeg") if secret in whole]
    assert redact({"probe": np.zeros(3)}) == {"probe": "[array (3,)]"}
