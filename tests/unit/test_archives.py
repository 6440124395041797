"""Signed packages of models: what was signed arrives whole, and nothing else ever appears where models are loaded from."""

import base64
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ml_bentos import archives, registry
from ml_bentos.archives import ArchiveError

NAME, VERSION = "smartfit-made-up", "v1"
FILES = {"weights.bin": b"\x00\x01" * 3000, "heads/heads.json": b'{"a": 1}'}
Edit = Callable[[dict[str, bytes]], None]


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's folder of models, without a BentoML store."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("SMARTFIT_MODELS_DIR", str(folder))
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    return folder


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Ed25519PrivateKey) -> bytes:
    """A package as the machine that made it packs it."""
    source = tmp_path / "made"
    folder = source / "packages" / NAME / VERSION
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    document = {"name": NAME, "version": VERSION, "metadata": {"metrics": {"accuracy": 0.9}}, "files": {}}
    (folder / registry.MANIFEST).write_text(json.dumps(document))
    monkeypatch.setenv("SMARTFIT_MODELS_DIR", str(source))
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    return archives.pack(NAME, VERSION, key)


def rewritten(archive: bytes, edit: Edit) -> bytes:
    """The archive with other members, in their order."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar}
    edit(members)
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return written.getvalue()


def signed(archive: bytes, key: Ed25519PrivateKey, change: Callable[[dict[str, object]], None]) -> bytes:
    """The archive with another manifest, signed rightly: what somebody with the key may have got wrong."""

    def edit(members: dict[str, bytes]) -> None:
        document = json.loads(members["manifest.json"])
        change(document)
        members["manifest.json"] = json.dumps(document).encode()
        members["manifest.sig"] = key.sign(members["manifest.json"])

    return rewritten(archive, edit)


def leftovers(models: Path) -> list[str]:
    place = models / "packages"
    return sorted(str(p.relative_to(place)) for p in place.rglob("*")) if place.exists() else []


def test_a_package_arrives_as_it_was_packed(archive: bytes, models: Path, key: Ed25519PrivateKey) -> None:
    models_env = archives.install(archive, [key.public_key()])
    assert models_env == (NAME, VERSION)
    folder, metadata = registry.get(NAME, VERSION)
    assert folder == models / "packages" / NAME / VERSION
    assert metadata == {"metrics": {"accuracy": 0.9}}
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert registry.versions(NAME) == [VERSION]
    assert archives.pack(NAME, VERSION, key) == archive, "the same package gives the same bytes"


def test_installing_twice_changes_nothing_and_mends_what_was_damaged(
    archive: bytes, models: Path, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    trusted = [key.public_key()]
    archives.install(archive, trusted)
    weights = models / "packages" / NAME / VERSION / "weights.bin"
    before = weights.stat().st_ino
    (tmp_path / "archive.tar").write_bytes(archive)
    archives.install(tmp_path / "archive.tar", trusted)
    assert weights.stat().st_ino == before
    weights.write_bytes(b"bad disk")
    archives.install(archive, trusted)
    assert weights.read_bytes() == FILES["weights.bin"]
    assert not [name for name in leftovers(models) if "/." in name]


def test_a_key_that_is_not_trusted_vouches_for_nothing(archive: bytes, models: Path, key: Ed25519PrivateKey) -> None:
    other = Ed25519PrivateKey.generate().public_key()
    for trusted in ([], [other]):
        with pytest.raises(ArchiveError) as caught:
            archives.install(archive, trusted)
        assert caught.value.code == "signature_wrong"
    assert archives.install(archive, [other, key.public_key()]) == (NAME, VERSION), "both keys of a rotation count"


def test_cut_off_anywhere_it_is_refused(archive: bytes, models: Path, key: Ed25519PrivateKey) -> None:
    # The last two blocks of a tar are its padding: nothing of the package is in them.
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        end = max(member.offset_data + member.size for member in tar)
    cuts = [0, 1, 511, 512, 513, *range(1000, end, 997), end - 1]
    for cut in cuts:
        with pytest.raises(ArchiveError):
            archives.install(archive[:cut], [key.public_key()])
    assert not [name for name in leftovers(models) if name.startswith(f"{NAME}/")]


def test_a_bit_that_fell_over_is_found(archive: bytes, models: Path, key: Ed25519PrivateKey) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        places = [member.offset_data + member.size // 2 for member in tar]
    for place in places:
        broken = bytearray(archive)
        broken[place] ^= 1
        with pytest.raises(ArchiveError):
            archives.install(bytes(broken), [key.public_key()])
    assert not (models / "packages" / NAME / VERSION).exists()


@pytest.mark.parametrize(
    "name", ["../../escaped", "/etc/passwd", "a/../../b", "", "package.json", "a\\b", "model.yaml", "x" * 300]
)
def test_no_file_leads_out_of_the_package(archive: bytes, models: Path, key: Ed25519PrivateKey, name: str) -> None:
    def rename(document: dict[str, object]) -> None:
        files = document["files"]
        assert isinstance(files, dict)
        files[name] = files.pop("weights.bin")

    with pytest.raises(ArchiveError) as caught:
        archives.install(signed(archive, key, rename), [key.public_key()])
    assert caught.value.code == "name_wrong"


@pytest.mark.parametrize(("field", "value"), [("name", "../x"), ("name", "A"), ("version", ".."), ("version", "a/b")])
def test_nor_does_its_name(archive: bytes, models: Path, key: Ed25519PrivateKey, field: str, value: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        archives.install(signed(archive, key, lambda document: document.update({field: value})), [key.public_key()])
    assert caught.value.code == "name_wrong"


def test_links_extra_files_and_missing_ones_are_refused(archive: bytes, models: Path, key: Ed25519PrivateKey) -> None:
    def smuggle(members: dict[str, bytes]) -> None:
        members["files/extra"] = b"x"

    def lose(members: dict[str, bytes]) -> None:
        del members["files/weights.bin"]

    def unsign(members: dict[str, bytes]) -> None:
        del members["manifest.sig"]

    linked = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=linked, mode="w") as new:
        for member in old:
            if member.name == "files/weights.bin":
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
                new.addfile(member)
            else:
                new.addfile(member, old.extractfile(member))
    expected = {
        "damaged": [rewritten(archive, smuggle), linked.getvalue()],
        "truncated": [rewritten(archive, lose)],
        "unsigned": [rewritten(archive, unsign)],
        "not_an_archive": [b"", b"PK\x03\x04 not a tar" * 100],
    }
    for code, bad in expected.items():
        for each in bad:
            with pytest.raises(ArchiveError) as caught:
                archives.install(each, [key.public_key()])
            assert caught.value.code == code
    assert not (models / "packages" / NAME / VERSION).exists()


def test_more_than_any_model_needs_is_refused_before_it_is_written(
    archive: bytes, models: Path, key: Ed25519PrivateKey
) -> None:
    def swell(document: dict[str, object]) -> None:
        files = document["files"]
        assert isinstance(files, dict)
        files["weights.bin"]["bytes"] = archives.MOST_BYTES + 1

    with pytest.raises(ArchiveError) as caught:
        archives.install(signed(archive, key, swell), [key.public_key()])
    assert caught.value.code == "too_large"


def test_keys_are_read_from_files_and_a_wrong_file_is_named(
    tmp_path: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    raw = key.public_key().public_bytes_raw()
    file.write_text(json.dumps([base64.b64encode(raw).decode()]))
    monkeypatch.setenv("SMARTFIT_MODEL_PUBLIC_KEYS_FILE", str(file))
    assert [trusted.public_bytes_raw() for trusted in archives.trusted_keys()] == [raw]
    for wrong in ("[]", "{}", '["aGk="]', '["%%%"]', "not json"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=r"keys\.json"):
            archives.trusted_keys()
    monkeypatch.delenv("SMARTFIT_MODEL_PUBLIC_KEYS_FILE")
    assert archives.trusted_keys() == ()
