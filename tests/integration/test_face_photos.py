"""The face model on real photographs: found, judged, told apart, by several threads, and alike in two engines."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_bentos.face import Face, FaceModel, load_model, weights
from ml_bentos.face.backends import OnnxBackend, TorchBackend
from ml_bentos.face.decision import decide
from ml_bentos.face.evaluation import OpenSet
from ml_bentos.face.gallery import Gallery
from ml_bentos.face.images import decode_image
from ml_bentos.face.population import Population
from ml_bentos.face.protocol import photos_of
from ml_bentos.face.quality import assess, pose
from ml_bentos.face.synthetic import filler
from ml_bentos.face.template import alike, make_template
from ml_bentos.face.thresholds import Thresholds

Photo = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_model()


@pytest.fixture
def photo(lfw: Path) -> Photo:
    def read(name: str, number: int = 1) -> np.ndarray:
        return decode_image((lfw / name / f"{name}_{number:04}.jpg").read_bytes())

    return read


def vector(model: FaceModel, bgr: np.ndarray) -> np.ndarray:
    face = assess(bgr, model.detect(bgr)).face
    assert face is not None
    return model.embed(bgr, face)


def test_the_model_is_loaded_once_and_knows_its_version(model: FaceModel) -> None:
    assert load_model() is model
    assert model.version == weights.DEFAULT
    assert model.dim == 128
    with pytest.raises(weights.WeightsError, match="unknown"):
        load_model("no-such-model")


def test_other_weights_are_refused_by_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = weights.weight_set()
    (tmp_path / shipped.detector.name).write_bytes(b"something else")
    monkeypatch.setenv(weights.DIRECTORY_VARIABLE, str(tmp_path))
    with pytest.raises(weights.WeightsError, match="SHA-256"):
        weights.read(shipped, shipped.detector)
    with pytest.raises(weights.WeightsError, match="cannot read"):
        weights.read(shipped, shipped.embedder)


def test_torch_and_onnxruntime_agree(model: FaceModel, photo: Photo) -> None:
    data = weights.read(weights.weight_set(), weights.weight_set().embedder)
    crops = [model.crop(p, model.detect(p)[0]) for p in (photo("Tony_Blair", n) for n in (1, 2))]
    rgb = np.ascontiguousarray(np.stack(crops)[..., ::-1].transpose(0, 3, 1, 2), np.float32)
    reference = OnnxBackend(data)(rgb)
    for fold in (False, True):
        np.testing.assert_allclose(TorchBackend(data, fold=fold)(rgb), reference, atol=2e-5)
    np.testing.assert_allclose(OnnxBackend(data, dequantise=False)(rgb), reference, atol=2e-5)
    shipped = model.backend(rgb)
    likeness = np.sum(shipped * reference, 1) / np.linalg.norm(shipped, axis=1) / np.linalg.norm(reference, axis=1)
    assert likeness.min() > 0.999


def test_a_face_is_found_where_it_is_at_any_size(model: FaceModel, photo: Photo) -> None:
    bgr = photo("Tony_Blair")
    small = model.detect(bgr)[0]
    for scale in (2, 5):
        large = model.detect(cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))[0]
        overlap = np.abs(large.box / scale - small.box).max()
        assert overlap < 0.12 * small.width
        assert np.abs(large.landmarks / scale - small.landmarks).max() < 0.08 * small.width


def test_one_face_at_several_scales_and_lights_gives_nearly_one_vector(model: FaceModel, photo: Photo) -> None:
    bgr = photo("Tony_Blair", 2)
    plain = vector(model, bgr)
    for scale in (0.7, 2.0, 4.0):
        assert vector(model, cv2.resize(bgr, None, fx=scale, fy=scale)) @ plain > 0.93
    assert vector(model, np.ascontiguousarray(bgr[:, ::-1])) @ plain > 0.93
    assert vector(model, cv2.convertScaleAbs(bgr, alpha=0.7)) @ plain > 0.93
    np.testing.assert_allclose(np.linalg.norm(plain), 1, atol=1e-5)


def test_many_threads_get_what_one_gets(model: FaceModel, lfw: Path) -> None:
    names = [p for photos in list(photos_of(lfw).values())[:12] for p in photos[:1]]
    pictures = [decode_image(p.read_bytes()) for p in names]
    alone = np.stack([vector(model, p) for p in pictures])
    with ThreadPoolExecutor(6) as pool:
        together = np.stack(list(pool.map(lambda p: vector(model, p), pictures * 3)))
    np.testing.assert_allclose(together, np.tile(alone, (3, 1)), atol=1e-4)


class TestQuality:
    """What a member is told about a photo."""

    def judge(self, model: FaceModel, bgr: np.ndarray, purpose: str = "enrol") -> list[str]:
        return assess(bgr, model.detect(bgr), purpose).reasons

    def test_a_good_photo_passes(self, model: FaceModel, photo: Photo) -> None:
        for n in (2, 3):
            assert self.judge(model, photo("Tony_Blair", n)) == []
            assert self.judge(model, photo("Tony_Blair", n), "gate") == []

    def test_nearly_all_press_photos_pass(self, model: FaceModel, lfw: Path) -> None:
        pictures = [decode_image(photos[0].read_bytes()) for photos in list(photos_of(lfw).values())[:150]]
        assert sum(not self.judge(model, p) for p in pictures) >= 145
        assert sum(not self.judge(model, p, "gate") for p in pictures) >= 149

    def test_no_face(self, model: FaceModel) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
        for empty in (noise, np.zeros((240, 320, 3), np.uint8)):
            quality = assess(empty, model.detect(empty))
            assert quality.reasons == ["no_face"]
            assert quality.face is None

    def test_blurred(self, model: FaceModel, photo: Photo) -> None:
        bgr = photo("Tony_Blair", 2)
        assert self.judge(model, cv2.GaussianBlur(bgr, (0, 0), 3)) == ["blurred"]
        assert self.judge(model, cv2.GaussianBlur(bgr, (0, 0), 5), "gate") == ["blurred"]

    def test_too_dark_and_too_bright(self, model: FaceModel, photo: Photo) -> None:
        bgr = photo("Tony_Blair", 2)
        assert "too_dark" in self.judge(model, cv2.convertScaleAbs(bgr, alpha=0.12))
        assert "too_bright" in self.judge(model, cv2.convertScaleAbs(bgr, alpha=0.6, beta=140))

    def test_too_small(self, model: FaceModel, photo: Photo) -> None:
        small = cv2.resize(photo("Tony_Blair", 2), None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
        canvas = np.full((250, 250, 3), 127, np.uint8)
        canvas[80 : 80 + small.shape[0], 80 : 80 + small.shape[1]] = small
        assert "face_too_small" in self.judge(model, canvas)
        assert "face_too_small" in self.judge(model, canvas, "gate")

    def test_two_people_side_by_side(self, model: FaceModel, photo: Photo) -> None:
        pair = np.concatenate([photo("Tony_Blair", 2), photo("Tiger_Woods", 1)], axis=1)
        for purpose in ("enrol", "gate"):
            assert "several_faces" in self.judge(model, pair, purpose)

    def test_someone_behind_does_not_matter_at_the_gate(self, model: FaceModel, photo: Photo) -> None:
        scene = np.full((500, 500, 3), 120, np.uint8)
        scene[125:375, 125:375] = photo("Tony_Blair", 2)
        scene[0:125, 0:125] = cv2.resize(photo("Tiger_Woods", 1), (125, 125), interpolation=cv2.INTER_AREA)
        quality = assess(scene, model.detect(scene), "gate")
        assert quality.ok
        assert quality.face is not None
        assert 180 < quality.face.box[0] + quality.face.box[2] / 2 < 320

    def test_the_one_in_the_middle_is_meant_not_the_one_cut_off_at_the_edge(
        self, model: FaceModel, photo: Photo
    ) -> None:
        """Laura Bush's photo 2 shows a second, bigger head at the right edge."""
        bgr = photo("Laura_Bush", 2)
        faces = model.detect(bgr)
        assert faces[0].box[0] > 150
        quality = assess(bgr, faces)
        assert quality.face is faces[1]

    def test_turned_away(self, model: FaceModel) -> None:
        """A profile's landmarks: the nose beyond the further eye."""
        profile = np.array([[60, 60], [72, 60], [90, 76], [64, 96], [74, 96]], np.float32)
        assert abs(pose(profile)[0]) > 45
        bgr = np.random.default_rng(1).integers(60, 190, (160, 160, 3)).astype(np.uint8)
        face = Face(np.array([40, 30, 80, 100], np.float32), profile, 0.9)
        assert "turned_away" in assess(bgr, [face], "enrol").reasons

    def test_pose_follows_the_head(self) -> None:
        frontal = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], np.float32)
        yaw, pitch, roll = pose(frontal)
        assert abs(yaw) < 8
        assert abs(pitch) < 25
        assert abs(roll) < 3
        right = frontal.copy()
        right[2, 0] += 8
        left = frontal.copy()
        left[2, 0] -= 8
        assert pose(right)[0] * pose(left)[0] < 0
        c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
        turned = (frontal @ np.array([[c, s], [-s, c]])).astype(np.float32)
        assert abs(pose(turned)[2] - 20) < 4


def test_a_hundred_people_are_told_apart(model: FaceModel, lfw: Path) -> None:
    """50 members with two photos enrolled and one kept back, 50 strangers, a gallery of 1,000: the regression bar."""
    everyone = photos_of(lfw)
    members = [n for n, photos in everyone.items() if len(photos) >= 4][:50]
    strangers = [n for n, photos in everyone.items() if len(photos) == 1][:50]
    thresholds = Thresholds.for_model(model)

    def of(path: Path) -> np.ndarray:
        return vector(model, decode_image(path.read_bytes()))

    enrolled = {n: [of(p) for p in everyone[n][:2]] for n in members}
    assert sum(all(alike(v, thresholds)) for v in enrolled.values()) >= 49
    nobody = filler(Population.for_version(model.version), 1000 - len(members), seed=5)
    gallery = Gallery.build(
        members + [f"nobody{i}" for i in range(len(nobody))],
        [make_template(v) for v in enrolled.values()] + [row[None] for row in nobody],
        model.version,
    )
    mated = [gallery.search(of(everyone[n][-1])) for n in members]
    nonmated = [gallery.search(of(everyone[n][0])) for n in strangers]
    outcome = OpenSet(
        np.array([c[0].score for c in mated]),
        np.array([c[0].member_id == n for c, n in zip(mated, members, strict=True)]),
        np.array([c[0].score for c in nonmated]),
    )
    assert outcome.tpir(outcome.threshold_at_fpir(0.0)) >= 0.97
    verdicts = [decide(c, thresholds, gallery.size) for c in mated]
    assert verdicts.count("match") >= 48
    assert "match" not in [decide(c, thresholds, gallery.size) for c in nonmated]
