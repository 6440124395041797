"""What weights of passive liveness an operator may add, and what is told of damaged ones."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ml_bentos.face.liveness import passive, weights
from ml_bentos.face.liveness.networks import ARCHITECTURES, MINIFASNET_V1SE, MINIFASNET_V2, MiniFASNet


@pytest.fixture
def made_files(tmp_path: Path) -> list[Path]:
    """Untrained weights of both networks, in torch's newer format and under names that tell nothing."""
    files = []
    for index, architecture in enumerate(ARCHITECTURES):
        torch.manual_seed(index)
        state = MiniFASNet(architecture).state_dict()
        files.append(tmp_path / f"{index}.bin")
        torch.save({f"module.{key}": value for key, value in state.items()}, files[-1])
    return files


def installed(folder: Path) -> list[str]:
    place = folder / weights.FOLDER
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def test_without_weights_there_is_no_passive_liveness(tmp_path: Path) -> None:
    assert passive.load(tmp_path) is None


def test_weights_are_known_by_their_tensors_whatever_their_names(made_files: list[Path], tmp_path: Path) -> None:
    hashes = passive.add_weights(reversed(made_files), tmp_path / "models")
    assert set(hashes) == {"MiniFASNetV2", "MiniFASNetV1SE"}
    assert len(installed(tmp_path / "models")) == 3
    assert weights.load_networks(tmp_path / "models") is not None


def test_new_weights_take_the_place_of_old_ones(made_files: list[Path], tmp_path: Path) -> None:
    passive.add_weights(made_files, tmp_path / "models")
    before = installed(tmp_path / "models")
    torch.save(MiniFASNet(MINIFASNET_V2).state_dict(), made_files[0])
    passive.add_weights(made_files, tmp_path / "models")
    after = installed(tmp_path / "models")
    assert len(after) == 3
    assert after != before
    assert weights.load_networks(tmp_path / "models") is not None


class Malicious:
    """Unpickled without care, this makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (self.target,)


def renamed(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({f"{key}_": value for key, value in state.items()}, path)


def narrower(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state | {"prob.weight": torch.zeros(2, 128)}, path)


def not_finite(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state | {"prob.weight": torch.full((3, 128), torch.nan)}, path)


def truncated(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-5000])


def truncated_legacy(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:200_000])


def malicious(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state | {"prob.weight": Malicious(path.parent / "owned")}, path)


def malicious_pickle(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.write_bytes(pickle.dumps(Malicious(path.parent / "owned"), protocol=2))


def a_list(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(list(state.values()), path)


def a_photo(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())


def empty(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.write_bytes(b"")


def too_big(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state | {"more": torch.zeros(weights.MAX_BYTES // 4)}, path)


def gone(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.unlink()


@pytest.mark.parametrize("had_weights", [False, True])
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (renamed, "weights_unknown"),
        (narrower, "weights_unknown"),
        (not_finite, "weights_unreadable"),
        (truncated, "weights_unreadable"),
        (truncated_legacy, "weights_unreadable"),
        (malicious, "weights_unreadable"),
        (malicious_pickle, "weights_unreadable"),
        (a_list, "weights_unknown"),
        (a_photo, "weights_unreadable"),
        (empty, "weights_unreadable"),
        (too_big, "weights_unreadable"),
        (gone, "weights_unreadable"),
    ],
)
def test_other_files_are_refused_and_change_nothing(
    made_files: list[Path],
    tmp_path: Path,
    damage: Callable[[Path, dict[str, torch.Tensor]], None],
    code: str,
    had_weights: bool,
) -> None:
    models = tmp_path / "models"
    if had_weights:
        passive.add_weights(made_files, models)
    before = installed(models)
    damage(made_files[1], MiniFASNet(MINIFASNET_V1SE).state_dict())
    with pytest.raises(passive.WeightsError) as refused:
        passive.add_weights(made_files, models)
    assert refused.value.code == code
    assert made_files[1].name in refused.value.message_ko
    assert made_files[1].name in refused.value.message_en
    assert installed(models) == before
    assert not (tmp_path / "owned").exists()


def test_both_networks_must_be_given_each_once(made_files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(passive.WeightsError, match="MiniFASNetV1SE") as one:
        passive.add_weights(made_files[:1], tmp_path / "models")
    assert one.value.code == "weights_incomplete"
    with pytest.raises(passive.WeightsError) as twice:
        passive.add_weights([*made_files, made_files[0]], tmp_path / "models")
    assert twice.value.code == "weights_twice"
    assert installed(tmp_path / "models") == []


def test_a_full_disk_leaves_nothing_half_written(
    made_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passive.add_weights(made_files, tmp_path / "models")
    before = installed(tmp_path / "models")
    torch.save(MiniFASNet(MINIFASNET_V2).state_dict(), made_files[0])

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        passive.add_weights(made_files, tmp_path / "models")
    assert installed(tmp_path / "models") == before
    assert weights.load_networks(tmp_path / "models") is not None


@pytest.mark.parametrize("damage", ["flip", "remove", "manifest", "outside"])
def test_damaged_weights_are_told_at_load(made_files: list[Path], tmp_path: Path, damage: str) -> None:
    passive.add_weights(made_files, tmp_path / "models")
    folder = tmp_path / "models" / weights.FOLDER
    manifest = folder / weights.MANIFEST
    file = next(folder.glob("*.pth"))
    if damage == "flip":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "remove":
        file.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        listed = json.loads(manifest.read_text())
        listed["weights"]["MiniFASNetV2"]["file"] = "../../0.bin"
        manifest.write_text(json.dumps(listed))
    with pytest.raises(passive.WeightsError) as refused:
        passive.load(tmp_path / "models")
    assert refused.value.code == "weights_damaged"
