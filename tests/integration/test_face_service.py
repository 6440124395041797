"""The face model over HTTP, served by BentoML in a process of its own; and packed in a BentoML store."""

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from ml_bentos import registry
from ml_bentos.face import load_model, package, weights
from ml_bentos.face.images import decode_image
from ml_bentos.face.quality import assess
from ml_bentos.face.service import pair_body
from ml_bentos.face.thresholds import Thresholds
from tests import face_versions
from tests.waiting import wait_for

IMAGE = {"Content-Type": "image/jpeg"}
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models that the service looks at."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("bentoml")
    environment = os.environ | {
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        registry.VARIABLE: str(models),
    }
    command = [sys.executable, "-m", "bentoml", "serve", "ml_bentos.face.service:FaceService"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (home / "log").read_text()
            try:
                if requests.get(f"{address}/readyz", timeout=2).ok:
                    break
            except requests.RequestException:
                time.sleep(0.25)
        else:
            pytest.fail((home / "log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def blair(lfw: Path) -> list[bytes]:
    return [(lfw / "Tony_Blair" / f"Tony_Blair_{n:04}.jpg").read_bytes() for n in (2, 3)]


def test_detect(url: str, blair: list[bytes]) -> None:
    answer = requests.post(f"{url}/detect", data=blair[0], headers=IMAGE, timeout=20).json()
    assert answer["model_version"] == weights.DEFAULT
    assert (answer["width"], answer["height"]) == (250, 250)
    expected = load_model().detect(decode_image(blair[0]))
    np.testing.assert_allclose(answer["faces"][0]["box"], expected[0].box, atol=0.01)
    np.testing.assert_allclose(answer["faces"][0]["landmarks"], expected[0].landmarks, atol=0.01)


def test_embed_gives_the_vector_that_the_library_gives(url: str, blair: list[bytes]) -> None:
    answer = requests.post(f"{url}/embed", data=blair[0], headers=IMAGE, timeout=20).json()
    vector = np.frombuffer(base64.b64decode(answer["vector"]), "<f4")
    assert answer["dim"] == len(vector) == 128
    assert answer["quality"]["ok"] is True
    model, bgr = load_model(), decode_image(blair[0])
    face = assess(bgr, model.detect(bgr)).face
    assert face is not None
    assert vector @ model.embed(bgr, face) > 0.999


def test_compare(url: str, blair: list[bytes], lfw: Path) -> None:
    woods = (lfw / "Tiger_Woods" / "Tiger_Woods_0001.jpg").read_bytes()
    same = requests.post(f"{url}/compare", data=pair_body(*blair), headers=BYTES, timeout=20).json()
    other = requests.post(f"{url}/compare", data=pair_body(blair[0], woods), headers=BYTES, timeout=20).json()
    assert same["same_person"] is True
    assert other["same_person"] is False
    assert same["cosine"] > same["threshold"] > other["cosine"]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"not a picture", "not_an_image"), (b"GIF89a", "not_an_image")],
)
def test_bad_input_is_a_problem(url: str, data: bytes, code: str) -> None:
    for path in ("detect", "embed"):
        response = requests.post(f"{url}/{path}", data=data, headers=IMAGE, timeout=20)
        assert response.status_code == 422
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["code"] == code
    framed = requests.post(f"{url}/compare", data=pair_body(data, data), headers=BYTES, timeout=20)
    assert framed.json()["code"] == code
    assert framed.json()["field"] == "first"
    assert requests.post(f"{url}/compare", data=b"\xff", headers=BYTES, timeout=20).status_code == 422


@pytest.mark.parametrize("path", ["healthz", "livez", "readyz", "metrics"])
def test_who_runs_it_sees_how_it_is(url: str, path: str) -> None:
    assert requests.get(f"{url}/{path}", timeout=20).status_code == 200


def test_another_version_takes_its_place_and_a_damaged_one_does_not(
    url: str, models: Path, blair: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.VARIABLE, str(models))

    def embedded() -> tuple[str, np.ndarray]:
        answer = requests.post(f"{url}/embed", data=blair[0], headers=IMAGE, timeout=20).json()
        return answer["model_version"], np.frombuffer(base64.b64decode(answer["vector"]), "<f4")

    def state() -> dict[str, str]:
        answer: dict[str, str] = requests.post(f"{url}/state", timeout=20).json()
        return answer

    before = embedded()[1]
    face_versions.stored(models, "turned-1")
    registry.set_live("face", "turned-1")
    wait_for(lambda: state()["model_version"] == "turned-1", 60)
    version, after = embedded()
    assert version == "turned-1"
    assert after @ face_versions.turned(before, "turned-1") > 0.999
    assert abs(float(after @ before)) < 0.5, "under another version a vector means nothing"
    (face_versions.stored(models, "torn-1") / "embedder.onnx").write_bytes(b"torn")
    registry.set_live("face", "torn-1")
    wait_for(lambda: state()["trouble"], 30)
    assert embedded()[0] == "turned-1"
    registry.set_live("face", weights.DEFAULT)
    wait_for(lambda: state()["model_version"] == weights.DEFAULT, 60)


def test_a_packed_model_carries_what_is_needed_to_use_it(tmp_path: Path) -> None:
    """In a process of its own: BentoML reads the place of its store once."""
    script = "from ml_bentos.face import package; print(package.pack()); print(package.unpack()[0])"
    environment = os.environ | {registry.VARIABLE: str(tmp_path)}
    environment.pop("BENTOML_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    tag, folder = done.stdout.split()[-2:]
    assert tag == f"{package.NAME}:{weights.DEFAULT}"
    assert Path(folder).is_relative_to(tmp_path)
    assert {p.name for p in Path(folder).glob("*.onnx")} == set(package.metadata_of(weights.DEFAULT)["files"])
    again = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert again.returncode != 0
    assert "already exists" in again.stderr


def test_what_the_package_says_of_itself() -> None:
    metadata = package.metadata_of(weights.DEFAULT)
    assert Thresholds.from_dict(metadata["thresholds"]) == Thresholds.for_version(weights.DEFAULT)
    assert metadata["metrics"]["k4_gallery10000"]["tpir_at_fpir_0.003"] >= 0.995
    assert metadata["metrics"]["k2_gallery10000"]["tpir_at_fpir_0.003"] >= 0.975
    assert metadata["metrics"]["k4_gallery10000"]["fpir"] <= 0.003
    assert metadata["preprocessing"]["template"][0] == pytest.approx([38.2946, 51.6963], abs=1e-3)


def test_the_live_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    assert registry.live_version("face") == weights.DEFAULT
    with pytest.raises(registry.RegistryError, match=registry.VARIABLE):
        registry.set_live("face", "v2")
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path))
    assert registry.live_version("face") == weights.DEFAULT
    registry.set_live("face", "v2")
    assert registry.live_version("face") == "v2"
    (tmp_path / "face" / "live.json").write_text("{")
    with pytest.raises(registry.RegistryError, match="damaged"):
        registry.live_version("face")
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(registry.RegistryError, match="not a folder"):
        registry.live_version("face")
