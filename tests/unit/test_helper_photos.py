"""Photos of work: what is taken, what is stripped, and what is known again, on real photographs."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from ml_bentos.face.images import ImageProblem
from platform_api.core.errors import Problem
from platform_api.helper import phash, photos
from platform_api.helper.settings import HelperSettings, settings
from platform_api.helper.settings import split as split_list


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def laundry(data_dir: Path) -> list[Path]:
    folder = data_dir / "laundry" / "hanging"
    if not folder.is_dir():
        pytest.skip("SMARTFIT_DATA has no laundry/hanging")
    return sorted(folder.glob("*.jpg"))[:60]


def jpeg(picture: Image.Image, quality: int = 85, **options: object) -> bytes:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality, **options)
    return written.getvalue()


def noise(seed: int, size: tuple[int, int] = (400, 300)) -> Image.Image:
    grid = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def test_nothing_but_the_picture_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "PhoneMaker"
    exif[0x0112] = 6  # turned by 90 degrees
    exif.get_ifd(0x8825)[1] = "N"  # a place
    sent = jpeg(noise(1, (640, 480)), exif=exif, comment=b"hidden words")
    assert b"PhoneMaker" in sent
    picture = photos.read(sent)
    kept = Image.open(io.BytesIO(picture.jpeg))
    assert (kept.format, kept.size, dict(kept.getexif())) == ("JPEG", (480, 640), {})
    assert "comment" not in kept.info
    assert b"PhoneMaker" not in picture.jpeg
    assert (picture.width, picture.height) == (480, 640)
    assert (len(picture.phash), len(picture.phash_fine)) == (64, 256)


def test_a_large_photo_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_HELPER_PHOTO_MAX_PX", "512")
    picture = photos.read(jpeg(noise(2, (2000, 1000))))
    assert (picture.width, picture.height) == (512, 256)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (b"%PDF-1.7 and so on", "not_an_image"),
        (jpeg(noise(3))[:2000], "image_truncated"),
        (b"\xff\xd8\xff" + os.urandom(500), "not_an_image"),
    ],
)
def test_what_is_no_photo_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(ImageProblem) as refused:
        photos.read(data)
    assert refused.value.code == code


def test_a_file_too_large_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_HELPER_PHOTO_MAX_BYTES", str(2**14))
    with pytest.raises(ImageProblem) as refused:
        photos.read(jpeg(noise(4), 95) + b"\0" * 2**15)
    assert refused.value.code == "image_too_large"


def test_each_bad_photo_is_named_with_its_reason() -> None:
    good, copy = jpeg(noise(5)), jpeg(noise(5), 40)
    with pytest.raises(Problem) as refused:
        photos.read_all([good, b"no photo", jpeg(noise(6, (60, 60))), copy])
    told = refused.value.extra["photos"]
    assert [(item["index"], item["reason"]) for item in told] == [
        (1, "not_an_image"),
        (2, "image_too_small"),
        (3, "repeated"),
    ]
    assert all(item["message"] and item["message_en"] for item in told)


@pytest.mark.parametrize("count", [0, 6])
def test_one_to_five_photos(count: int) -> None:
    with pytest.raises(Problem) as refused:
        photos.read_all([jpeg(noise(seed)) for seed in range(count)])
    assert refused.value.code == "photo_count"


def test_copies_are_known_again_and_other_photos_are_not(laundry: list[Path]) -> None:
    originals = [Image.open(path).convert("RGB") for path in laundry]
    read = [photos.read(path.read_bytes()) for path in laundry]
    copies = {
        "re-encoded": lambda picture: jpeg(picture, 30),
        "halved": lambda picture: jpeg(picture.resize((picture.width * 3 // 5, picture.height * 3 // 5)), 80),
        "brightened": lambda picture: jpeg(ImageEnhance.Brightness(picture).enhance(1.25)),
        "mirrored": lambda picture: jpeg(ImageOps.mirror(picture)),
    }
    for name, make in copies.items():
        found = sum(
            photos.near(photos.read(make(picture)), kept)
            for picture, kept in zip(originals[:25], read[:25], strict=True)
        )
        assert found == 25, name
    wrong = [(i, j) for i in range(len(read)) for j in range(i) if photos.near(read[i], read[j])]
    assert wrong == []


def test_the_coarse_hash_alone_would_refuse_honest_work(data_dir: Path) -> None:
    one = data_dir / "laundry/hanging/91ac9d20-c473-40c9-adba-15ca13ca173f.jpg"
    other = data_dir / "laundry/hanging/b8bdd55f-7b8a-4a2e-8d8f-75aa574a6dbb.jpg"
    if not one.is_file() or not other.is_file():
        pytest.skip("SMARTFIT_DATA lacks the two photos")
    first, second = photos.read(one.read_bytes()), photos.read(other.read_bytes())
    assert phash.distance(first.phash, second.phash) <= phash.NEAR_BITS
    assert not photos.near(first, second)


def test_kinds_are_checked_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_HELPER_KINDS", "hanging, ironing")
    assert settings().kinds == ("hanging", "ironing") == split_list("hanging,ironing,")
    with pytest.raises(ValueError):
        HelperSettings(helper_kinds="Hanging Up")


@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=phash.NEAR_BITS))
def test_the_index_finds_everything_within_ten_bits(value: int, flipped: set[int]) -> None:
    near = value
    for bit in flipped:
        near ^= 1 << bit
    one, other = format(value, "064b"), format(near, "064b")
    assert phash.distance(one, other) == len(flipped)
    probes = phash.probes(one)
    assert any(band in values for band, values in zip(phash.bands(other), probes, strict=True))
    assert sum(map(len, probes)) == 548
