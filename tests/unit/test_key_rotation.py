"""Keys of the ring and of tokens: when they come into use, and what stands against taking them out too early."""

import importlib
import os
import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary

from infra.local import rotation
from infra.local.rotation import remove_from_ring, remove_jwt, rotate_ring
from infra.local.state import StateError
from platform_api.app import installed_domains
from platform_api.core.encryption import Envelope, KeyRing, RingFile
from platform_api.core.pseudonyms import Pseudonyms
from platform_api.core.resealing import of_domain
from platform_api.core.security import keys as token_keys
from tests.waiting import wait_for


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    file = tmp_path / "ring.json"
    KeyRing.generate().to_file(file)
    return file


def test_a_new_key_is_known_before_it_seals_and_nobody_restarts(ring: Path) -> None:
    held = Envelope(RingFile(ring))
    assert Envelope.key_id(held.seal(b"x", b"")) == "k1"
    assert rotate_ring(ring, ahead_s=2.5) == "k2"
    wait_for(lambda: "k2" in held.keyring.keys, what="the file is read again")
    assert Envelope.key_id(held.seal(b"x", b"")) == "k1"
    with pytest.raises(StateError, match="not in use yet"):
        rotate_ring(ring)
    wait_for(lambda: Envelope.key_id(held.seal(b"x", b"")) == "k2", what="its time has come")
    assert rotate_ring(ring, ahead_s=0) == "k3"
    wait_for(lambda: Envelope.key_id(held.seal(b"x", b"")) == "k3", what="and the next")
    assert set(held.keyring.keys) == {"k1", "k2", "k3"}


def test_a_broken_or_missing_ring_leaves_the_good_one_in_use(ring: Path) -> None:
    held = RingFile(ring)
    blob = Envelope(held).seal(b"x", b"")
    ring.write_text("{")
    held._looked = 0.0
    assert Envelope(held).open(blob, b"") == b"x"
    ring.unlink()
    held._looked = 0.0
    assert Envelope(held).open(blob, b"") == b"x"


def test_pseudonyms_follow_the_ring(ring: Path) -> None:
    made = Pseudonyms(RingFile(ring))
    before = made.of("m1")
    rotate_ring(ring, ahead_s=0)
    after = wait_for(lambda: (new := made.of("m1")) != before and new, what="the new key")
    assert made.member_of(before) == made.member_of(after) == "m1"


def test_a_ring_key_is_taken_out_only_when_nothing_needs_it(ring: Path) -> None:
    with pytest.raises(StateError, match="it seals"):
        remove_from_ring(ring, "k1", lambda _: 0, at_once=True)
    rotate_ring(ring, ahead_s=0)
    with pytest.raises(StateError, match="may be taken out in"):
        remove_from_ring(ring, "k1", lambda _: 0, at_once=False)
    with pytest.raises(StateError, match="7 blobs"):
        remove_from_ring(ring, "k1", lambda _: 7, at_once=True)
    with pytest.raises(StateError, match="no such key"):
        remove_from_ring(ring, "k9", lambda _: 0, at_once=True)
    assert set(KeyRing.from_file(ring).keys) == {"k1", "k2"}
    document = KeyRing.from_file(ring)
    KeyRing(document.current, document.keys, ("k2", time.time() - rotation.SEALED_FOR_S)).to_file(ring)
    remove_from_ring(ring, "k1", lambda _: 0, at_once=False)
    assert set(KeyRing.from_file(ring).keys) == {"k2"}


def test_a_signing_key_is_taken_out_only_when_its_tokens_have_ended(tmp_path: Path) -> None:
    old, new = token_keys.generate(tmp_path), token_keys.generate(tmp_path)
    long_ago = time.time() - rotation.SIGNED_FOR_S - token_keys.KeySet.PUBLISHED_AHEAD
    with pytest.raises(StateError, match="it signs, or will"):
        remove_jwt(tmp_path, new, at_once=True)
    os.utime(tmp_path / f"{old}.pem", (long_ago, long_ago))
    with pytest.raises(StateError, match="it signs"):
        remove_jwt(tmp_path, old, at_once=True)  # the new one is not known to all yet
    lately = time.time() - token_keys.KeySet.PUBLISHED_AHEAD
    os.utime(tmp_path / f"{new}.pem", (lately, lately))
    with pytest.raises(StateError, match="may be taken out in"):
        remove_jwt(tmp_path, old, at_once=False)
    for wrong in ("nothing", "../ring"):
        with pytest.raises(StateError, match="no such key"):
            remove_jwt(tmp_path, wrong, at_once=True)
    os.utime(tmp_path / f"{new}.pem", (long_ago, long_ago))
    remove_jwt(tmp_path, old, at_once=False)
    assert [path.stem for path in tmp_path.glob("*.pem")] == [new]


def test_every_sealed_column_is_put_under_a_new_key() -> None:
    for domain in installed_domains():
        models = importlib.import_module(f"platform_api.{domain}.models")
        there = {
            (mapper.class_.__tablename__, column.name)
            for mapper in models.Base.registry.mappers
            for column in mapper.local_table.columns
            if isinstance(column.type, LargeBinary) and column.name.endswith("_sealed")
        }
        listed = {(column.model.__tablename__, column.name) for column in of_domain(domain)[0]}
        assert listed == there, domain


def test_what_a_gate_node_holds_under_an_old_key_is_counted(tmp_path: Path) -> None:
    ring = KeyRing.generate()
    assert rotation.left_at_edge(tmp_path, ring) == 0
    with sqlite3.connect(tmp_path / "replica.db") as connection:
        connection.execute("CREATE TABLE template (sealed BLOB)")
        for kept in (Envelope(ring), Envelope(ring), Envelope(ring.rotated())):
            connection.execute("INSERT INTO template VALUES (?)", (kept.seal(b"x", b""),))
    (tmp_path / "strangers").mkdir()
    (tmp_path / "strangers" / "1.sealed").write_bytes(Envelope(ring).seal(b"x" * 200, b""))
    assert rotation.left_at_edge(tmp_path, ring) == 1
    assert rotation.left_at_edge(tmp_path, ring.rotated()) == 3
