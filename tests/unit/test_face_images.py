"""Pictures from outside are refused with a code before they can do harm, and are upright when accepted."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from ml_bentos.face.images import ImageProblem, decode_image


def encoded(array: np.ndarray, form: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def picture() -> np.ndarray:
    """Noise over a gradient, so that its JPEG is long enough to cut."""
    noise = np.random.default_rng(0).integers(0, 60, (120, 160, 3))
    return (np.linspace(0, 180, 160)[None, :, None] + noise).astype(np.uint8)


def refused(data: bytes, **limits: int) -> str:
    with pytest.raises(ImageProblem) as caught:
        decode_image(data, **limits)
    assert caught.value.detail_ko
    assert caught.value.detail_en
    return caught.value.code


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_a_picture_becomes_bgr(form: str) -> None:
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 200
    decoded = decode_image(encoded(red, form))
    assert decoded.shape == (32, 48, 3)
    assert decoded.dtype == np.uint8
    assert abs(int(decoded[10, 10, 2]) - 200) < 5
    assert decoded[10, 10, 0] < 10


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colour_modes_are_accepted(mode: str, picture: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    assert decode_image(buffer.getvalue()).shape == (120, 160, 3)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7 ...", b"\x00" * 5000]
)
def test_what_is_not_a_picture_is_refused(data: bytes) -> None:
    assert refused(data) in {"not_an_image", "image_truncated"}


def test_a_still_gif_and_a_tiff_are_not_photos(picture: np.ndarray) -> None:
    assert refused(encoded(picture, "GIF")) == "not_an_image"
    assert refused(encoded(picture, "TIFF")) == "not_an_image"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_off_file_is_refused(form: str, share: float, picture: np.ndarray) -> None:
    data = encoded(picture, form)
    assert refused(data[: int(len(data) * share)]) in {"image_truncated", "not_an_image"}


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_cut_off_anywhere_is_refused(form: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=100)
    data = buffer.getvalue()
    for length in range(len(data)):
        assert refused(data[:length]) in {"image_truncated", "not_an_image", "image_animated"}


def test_a_jpeg_cut_off_in_its_pixels_says_so(picture: np.ndarray) -> None:
    data = encoded(picture)
    assert refused(data[: int(len(data) * 0.7)]) == "image_truncated"


def test_a_huge_picture_is_refused_by_its_header_alone() -> None:
    """A PNG that claims 20,000 x 20,000 and holds next to nothing: the answer comes from the claim."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    side = (20_000).to_bytes(4, "big")
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + b"\x08\x02\x00\x00\x00")
    data += chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + chunk(b"IEND", b"")
    assert refused(data) == "image_too_large"


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    """Fourteen bytes a scan ask for another pass over all pixels."""
    whole = encoded(np.full((64, 64, 3), 90, np.uint8), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert decode_image(whole[:-2] + last * 20 + whole[-2:]).shape == (64, 64, 3)
    assert refused(whole[:-2] + last * 1000 + whole[-2:]) == "image_truncated"


def test_limits_of_pixels_and_bytes(picture: np.ndarray) -> None:
    data = encoded(picture)
    assert refused(data, max_pixels=120 * 160 - 1) == "image_too_large"
    assert refused(data, max_bytes=len(data) - 1) == "image_too_large"
    assert decode_image(data, max_pixels=120 * 160, max_bytes=len(data)).shape == (120, 160, 3)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_refused(form: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=100)
    assert refused(buffer.getvalue()) == "image_animated"


def test_a_phone_photo_held_sideways_comes_upright() -> None:
    """EXIF orientation 6: the camera was turned, the top of the scene is at the picture's left."""
    array = np.zeros((40, 80, 3), np.uint8)
    array[:, :40, 1] = 255
    picture = Image.fromarray(array)
    exif = picture.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif, quality=95)
    decoded = decode_image(buffer.getvalue())
    assert decoded.shape == (80, 40, 3)
    assert decoded[:35, :, 1].mean() > 240
    assert decoded[45:, :, 1].mean() < 15
