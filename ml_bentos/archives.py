"""A model version as one signed file: how it gets from where it was made to where it serves.

    manifest.json   name, version, metadata, and of each file its SHA-256 and size
    manifest.sig    Ed25519 signature over the manifest's bytes (RFC 8032)
    files/...       what the package holds

A tar, uncompressed (weights do not compress) and deterministic: the same package gives the same bytes. Nothing of an archive is
believed before the signature holds, and a package appears at its place in one step, whole or not at all. Whoever loads it
checks the files' hashes once more, so that a disk that went bad later is found out too.
"""

import base64
import binascii
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml_bentos import registry

MOST_BYTES = 2 << 30
MOST_FILES = 1000
MOST_MANIFEST = 16 << 20
KEYS_VARIABLE = "SMARTFIT_MODEL_PUBLIC_KEYS_FILE"

_MANIFEST, _SIGNATURE, _FILES = "manifest.json", "manifest.sig", "files/"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_CHUNK = 1 << 20


class ArchiveError(RuntimeError):
    """An archive that must not be used. code: not_an_archive, unsigned, signature_wrong, truncated, damaged, too_large or
    name_wrong."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def pack(name: str, version: str, signing_key: Ed25519PrivateKey) -> bytes:
    """A stored package (`registry.get`) as a signed archive. Raises RegistryError where there is none."""
    folder, metadata = registry.get(name, version)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in registry.OWN_FILES)
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    files = {each: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for each, data in contents.items()}
    document = {"name": name, "version": version, "metadata": metadata, "files": files}
    manifest = json.dumps(document, indent=1, sort_keys=True).encode()
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, _MANIFEST, manifest)
        _add(archive, _SIGNATURE, signing_key.sign(manifest))
        for each, data in contents.items():
            _add(archive, _FILES + each, data)
    return written.getvalue()


def install(
    archive: bytes | Path, trusted: Sequence[Ed25519PublicKey], expected: tuple[str, str] | None = None
) -> tuple[str, str]:
    """Check an archive and put its package where the registry finds it. Returns (name, version).

    A package that is there already is left as it is where its files are whole, and put in its place anew where not.

    Args:
        expected: the name and version that it must hold; a good archive of another is refused (`name_wrong`).

    Raises:
        ArchiveError: it is not what a trusted key has signed; nothing has changed.
        RegistryError: SMARTFIT_MODELS_DIR is not set. OSError: it cannot be written (disk full).
    """
    place = registry.packages_dir()
    if place is None:
        raise registry.RegistryError(f"{registry.VARIABLE} is not set: where shall the model lie?")
    with _opened(archive) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                return _install(tar, trusted, place, expected)
        except tarfile.ReadError as error:
            raise ArchiveError("not_an_archive", f"not an archive, or cut off: {error}") from error
        except EOFError as error:
            raise ArchiveError("truncated", "the archive is cut off") from error


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The key that packages are signed with (PEM, PKCS 8). Raises ValueError, naming what is wrong; OSError."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} is not an Ed25519 key")
    return key


def load_public_keys(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """The keys whose packages are trusted: a JSON array of base64 of 32 raw bytes each. Raises ValueError; OSError."""
    try:
        encoded = json.loads(path.read_text("utf-8"))
        keys = tuple(Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True)) for key in encoded)
    except (ValueError, TypeError, binascii.Error) as error:
        raise ValueError(f"{path} is not a JSON array of Ed25519 public keys in base64") from error
    if not keys:
        raise ValueError(f"{path} names no key")
    return keys


def trusted_keys() -> tuple[Ed25519PublicKey, ...]:
    """Those of the file that SMARTFIT_MODEL_PUBLIC_KEYS_FILE names; none where it is not set. Raises ValueError; OSError."""
    path = os.environ.get(KEYS_VARIABLE)
    return load_public_keys(Path(path)) if path else ()


def _install(
    tar: tarfile.TarFile, trusted: Sequence[Ed25519PublicKey], place: Path, expected: tuple[str, str] | None
) -> tuple[str, str]:
    document = _manifest(tar, trusted)
    name, version = document["name"], document["version"]
    if expected is not None and (name, version) != expected:
        raise ArchiveError("name_wrong", f"the archive holds {name}:{version}, not {':'.join(expected)}")
    if _is_whole(place / name / version, document):
        return name, version
    (place / name).mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=place / name))
    try:
        _unpack(tar, document["files"], building)
        (building / registry.MANIFEST).write_text(json.dumps(document), "utf-8")
        _sync(building)
        _replace(building, place / name / version)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return name, version


def _manifest(tar: tarfile.TarFile, trusted: Sequence[Ed25519PublicKey]) -> dict[str, Any]:
    """The manifest, once its signature and its shape have been found good."""
    raw = _next(tar, _MANIFEST, MOST_MANIFEST)
    signature = _next(tar, _SIGNATURE, 4096, missing="unsigned")
    if not any(_signed(key, signature, raw) for key in trusted):
        raise ArchiveError("signature_wrong", "no key that is trusted here has signed this package")
    try:
        document: dict[str, Any] = json.loads(raw)
        name, version, files = document["name"], document["version"], document["files"]
        sizes = [int(entry["bytes"]) for entry in files.values()]
        well_formed = isinstance(document["metadata"], dict) and all(
            re.fullmatch("[0-9a-f]{64}", str(entry["sha256"])) for entry in files.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveError("damaged", f"the manifest is not one: {error}") from error
    if not well_formed or not files or any(size < 0 for size in sizes):
        raise ArchiveError("damaged", "the manifest is not one")
    if not _NAME.fullmatch(str(name)) or not _VERSION.fullmatch(str(version)) or not all(map(_is_inside, files)):
        raise ArchiveError("name_wrong", "a name in the manifest leads somewhere else")
    if len(files) > MOST_FILES or sum(sizes) > MOST_BYTES:
        raise ArchiveError("too_large", f"more than {MOST_FILES} files or {MOST_BYTES} bytes")
    return document


def _unpack(tar: tarfile.TarFile, files: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """The files that the manifest names, each checked as it is written; anything else in the archive is an error."""
    wanted = {_FILES + each for each in files}
    seen: set[str] = set()
    while (member := tar.next()) is not None:
        if not member.isreg() or member.name not in wanted or member.name in seen:
            raise ArchiveError("damaged", "the archive holds what its manifest does not name")
        seen.add(member.name)
        each = member.name.removeprefix(_FILES)
        target = folder / each
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(tar, member, target, files[each])
    if seen != wanted:
        raise ArchiveError("truncated", f"{len(wanted - seen)} files of the package are missing")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, told: Mapping[str, Any]) -> None:
    if member.size != told["bytes"]:
        raise ArchiveError("damaged", f"{target.name} has {member.size} bytes, not {told['bytes']}")
    source, digest = tar.extractfile(member), hashlib.sha256()
    assert source is not None
    with target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != told["sha256"]:
        code = "truncated" if target.stat().st_size < member.size else "damaged"
        raise ArchiveError(code, f"{target.name} is not what was signed")


def _next(tar: tarfile.TarFile, name: str, most: int, missing: str = "not_an_archive") -> bytes:
    """The next member, which must be `name`: the rest of an archive is not even looked at before its signature holds."""
    member = tar.next()
    if member is None or member.name != name:
        raise ArchiveError(missing, f"the archive has no {name} where it belongs")
    if not member.isreg() or member.size > most:
        raise ArchiveError("damaged", f"{name} is no file, or too large")
    source = tar.extractfile(member)
    assert source is not None
    data = source.read()
    if len(data) != member.size:
        raise ArchiveError("truncated", f"{name} is cut off")
    return data


def _signed(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        0 < len(name) < 200
        and "\\" not in name
        and "\0" not in name
        and not path.is_absolute()
        and ".." not in path.parts
        and str(path) == name
        and path.name not in registry.OWN_FILES
    )


def _is_whole(folder: Path, document: Mapping[str, Any]) -> bool:
    try:
        there = json.loads((folder / registry.MANIFEST).read_text("utf-8"))
        return there == document and all(
            hashlib.sha256((folder / each).read_bytes()).hexdigest() == told["sha256"]
            for each, told in document["files"].items()
        )
    except (OSError, ValueError):
        return False


def _replace(building: Path, target: Path) -> None:
    """Put a folder in its place; one that was there (damaged) goes aside first, since a rename wants an empty target."""
    aside = None
    if target.exists():
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
        target.rename(aside / "package")
    try:
        building.rename(target)
    except OSError:
        if not target.exists():
            raise
        # Another process was quicker with the same version.
    _sync(target.parent)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))


def _opened(archive: bytes | Path) -> contextlib.AbstractContextManager[IO[bytes]]:
    return io.BytesIO(archive) if isinstance(archive, bytes) else archive.open("rb")
