"""Weights of passive liveness: what the operator may add, and what the gate may trust.

Why so careful: weight files are pickles, and a pickle can run code. They are read only by torch's weights-only unpickler,
recognised by their tensors (never by their name), and kept under the hash of their content with a manifest beside them.
The manifest is replaced last, in one step: until then the old weights stand, after it the new ones do.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ml_bentos.face.liveness.networks import ARCHITECTURES, Architecture, MiniFASNet

FOLDER = "liveness"
MANIFEST = "manifest.json"
MAX_BYTES = 16 * 1024 * 1024  # the published files have 1.8 MB
_FILE_NAME = re.compile(r"[a-z0-9_]+-[0-9a-f]{16}\.pth")


class WeightsError(ValueError):
    """Weights that cannot be taken or trusted. `code`, and the same text in Korean and English."""

    def __init__(self, code: str, message_ko: str, message_en: str) -> None:
        super().__init__(f"{message_ko} / {message_en}")
        self.code = code
        self.message_ko = message_ko
        self.message_en = message_en


def add_weights(files: Iterable[Path | str], models_dir: Path | str) -> dict[str, str]:
    """Checks the weight files of both networks and puts them into `models_dir`/liveness; -> {architecture: sha256}.

    Files are told apart by their tensors; the order and the names do not matter. All are checked before anything is
    written. Raises WeightsError (`weights_unreadable`, `weights_unknown`, `weights_twice`, `weights_incomplete`), and then
    nothing has changed.
    """
    found: dict[str, bytes] = {}
    for file in map(Path, files):
        data = _read(file)
        architecture = _recognise(file.name, _tensors(file.name, data))
        if found.setdefault(architecture.name, data) is not data:
            raise WeightsError(
                "weights_twice",
                f"{architecture.name} 가중치가 두 번 주어졌습니다: {file.name}. 모델마다 파일을 하나만 주세요.",
                f"weights of {architecture.name} were given twice: {file.name}. Give one file for each network.",
            )
    missing = [a.name for a in ARCHITECTURES if a.name not in found]
    if missing:
        names = ", ".join(missing)
        raise WeightsError(
            "weights_incomplete",
            f"{names} 가중치 파일이 없습니다. 두 모델의 파일을 함께 주세요.",
            f"the weights of {names} are missing. Give the files of both networks together.",
        )
    folder = Path(models_dir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, dict[str, Any]] = {}
    for name, data in found.items():
        sha256 = hashlib.sha256(data).hexdigest()
        target = f"{name.lower()}-{sha256[:16]}.pth"
        _write(folder / target, data)
        entries[name] = {"file": target, "sha256": sha256, "bytes": len(data)}
    manifest = {"added_at": datetime.now(UTC).isoformat(timespec="seconds"), "weights": entries}
    _write(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    kept = {entry["file"] for entry in entries.values()}
    for old in folder.glob("*.pth"):
        if _FILE_NAME.fullmatch(old.name) and old.name not in kept:
            old.unlink(missing_ok=True)
    return {name: entry["sha256"] for name, entry in entries.items()}


def load_networks(models_dir: Path | str) -> list[tuple[Architecture, MiniFASNet]] | None:
    """Both networks in evaluation mode, or None when no weights were added.

    Raises WeightsError `weights_damaged` when the manifest cannot be read, a file is missing, or its sha256 differs.
    """
    folder = Path(models_dir) / FOLDER
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    try:
        entries = json.loads(text)["weights"]
        listed = [(a, str(entries[a.name]["file"]), str(entries[a.name]["sha256"])) for a in ARCHITECTURES]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(MANIFEST) from error
    networks = []
    for architecture, name, sha256 in listed:
        if not _FILE_NAME.fullmatch(name):
            raise _damaged(MANIFEST)
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise _damaged(name) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _damaged(name)
        network = MiniFASNet(architecture)
        network.load_state_dict(_tensors(name, data), strict=True)
        networks.append((architecture, network.eval()))
    return networks


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(file.name) from error
    if not data or len(data) > MAX_BYTES:
        raise _unreadable(file.name)
    return data


def _tensors(name: str, data: bytes) -> dict[str, Tensor]:
    """The state dict in `data`, without the `module.` that data-parallel training puts before each key. Runs no code."""
    _refuse_inflation(name, data)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a hostile or truncated file provokes in the unpickler
        raise _unreadable(name) from error
    if not isinstance(state, Mapping):
        raise _unknown(name)
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise _unknown(name)
    return {key.removeprefix("module."): value for key, value in state.items()}


def _refuse_inflation(name: str, data: bytes) -> None:
    """torch's newer format is a zip; one that unpacks to far more than it weighs is refused before it is unpacked."""
    if not data.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _unreadable(name) from error
    if size > 2 * MAX_BYTES:
        raise _unreadable(name)


def _recognise(name: str, tensors: Mapping[str, Tensor]) -> Architecture:
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in tensors.items()}
    for architecture in ARCHITECTURES:
        with torch.device("meta"):
            wanted = MiniFASNet(architecture).state_dict()
        if shapes == {key: (tuple(value.shape), value.dtype) for key, value in wanted.items()}:
            break
    else:
        raise _unknown(name)
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise _unreadable(name)
    return architecture


def _write(target: Path, data: bytes) -> None:
    """Writes beside the target and renames: a reader sees the old file or the whole new one."""
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _unreadable(name: str) -> WeightsError:
    return WeightsError(
        "weights_unreadable",
        f"가중치 파일을 읽을 수 없습니다: {name}. 파일이 손상되었거나 가중치가 아닙니다. 원본을 다시 내려받아 주세요.",
        f"the weight file cannot be read: {name}. It is damaged or holds no plain weights. Fetch the original again.",
    )


def _unknown(name: str) -> WeightsError:
    names = ", ".join(a.name for a in ARCHITECTURES)
    return WeightsError(
        "weights_unknown",
        f"알 수 없는 가중치입니다: {name}. {names}의 80x80 가중치만 받습니다.",
        f"these weights are not known: {name}. Only the 80x80 weights of {names} are taken.",
    )


def _damaged(name: str) -> WeightsError:
    return WeightsError(
        "weights_damaged",
        f"설치된 라이브니스 가중치가 손상되었습니다: {name}. 'smartfit models add liveness'로 다시 추가해 주세요.",
        f"the installed liveness weights are damaged: {name}. Add them again with 'smartfit models add liveness'.",
    )
