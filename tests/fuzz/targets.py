"""What is fuzzed: each takes what a stranger may send, and says what must hold of the answer.

Where a signature stands before the parser, the first byte decides: as it is, or signed with the right key, so that what
lies behind the signature is reached too. A target returns; anything it raises is a finding.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import jwt
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from segno import make_qr

from access_edge import qr
from access_edge.codes import read_codes
from access_edge.records import QrKey
from ml_bentos.face.images import MAX_PIXELS, ImageProblem, decode_image
from platform_api.core.events.envelope import Event, InvalidEvent
from platform_api.monitoring import lines

NOW = datetime(2026, 6, 10, 10, 30, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PRIVATE, PUBLIC = KEY.private_bytes_raw(), KEY.public_key().public_bytes_raw()
BRANCH = "b1"
Target = Callable[[bytes], None]


def frame(data: bytes) -> None:
    """A picture from the kiosk: upright pixels within the limits, or a refusal with words in both languages."""
    try:
        decoded = decode_image(data)
    except ImageProblem as problem:
        _has_words(problem.detail_ko, problem.detail_en)
        return
    height, width, channels = decoded.shape
    assert (channels, decoded.dtype) == (3, np.uint8)
    assert 0 < height * width <= MAX_PIXELS
    for code in read_codes(decoded):
        _pass(code.text)


def heartbeat(data: bytes) -> None:
    """A line from equipment: refused with a code that has words, or what was signed."""
    raw = data[1:]
    if data[:1] and data[0] % 2:
        raw = _line(raw)
    try:
        line = lines.parse(raw)
        payload = lines.verify(line, PUBLIC)
        lines.check_clock(payload, NOW, timedelta(minutes=5), timedelta(days=1))
    except lines.BadLine as refused:
        told = json.loads(lines.answer(refused.code, NOW, **refused.extra))
        _has_words(told["message"], told["message_en"])
        return
    assert 0 <= payload.seq <= lines.MAX_SEQUENCE
    assert len(payload.troubles) <= 10
    assert all(letter.isprintable() for letter in payload.detail or "")


def qr_pass(data: bytes) -> None:
    """A pass: refused with a reason, or one of this branch that is good for a moment."""
    if data[:1] and data[0] % 2:
        _pass(jwt.api_jws.encode(data[1:], KEY, algorithm="EdDSA", headers={"kid": "k1"}))
    else:
        _pass(data[1:].decode("utf-8", "replace"))


def event(data: bytes) -> None:
    """A message from the broker: no event, or one that comes out as it went in."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        found = Event.from_json(document)
    except InvalidEvent:
        return
    again = Event.from_json(json.loads(json.dumps(found.to_json())))
    assert (again.id, again.type, again.subject, again.version, again.data) == (
        found.id, found.type, found.subject, found.version, found.data,
    )  # fmt: skip


def _has_words(korean: str, english: str) -> None:
    assert korean
    assert english


def _pass(token: str) -> None:
    try:
        found = qr.verify(token, BRANCH, NOW, _key)
    except (qr.PassRefused, qr.KeyUnknown):
        return
    assert found.member_id
    assert found.jti
    assert NOW < found.expires_at <= NOW + qr.LONGEST_LIFE + 2 * qr.LEEWAY


def _key(kid: str) -> QrKey | None:
    return QrKey(kid=kid, public_key=base64.b64encode(PUBLIC).decode()) if kid == "k1" else None


def _line(body: bytes) -> bytes:
    token = jwt.api_jws.encode(body, KEY, algorithm="EdDSA", headers={"typ": lines.TYPE, "kid": "item-1"})
    return json.dumps(dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))).encode()


def _pictures() -> Iterator[bytes]:
    grey = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    for form, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("GIF", {})):
        yield _encoded(Image.fromarray(grey), form, **options)
    yield _encoded(Image.fromarray(grey).convert("CMYK"), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    yield _encoded(Image.fromarray(grey), "JPEG", exif=exif)
    code = io.BytesIO()
    make_qr(_token()).save(code, kind="png", scale=3)
    yield code.getvalue()


def _encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    written = io.BytesIO()
    picture.save(written, form, **options)
    return written.getvalue()


def _claims() -> dict[str, object]:
    at = int(NOW.timestamp())
    return {"typ": qr.TYPE, "sub": "m1", "branch_id": BRANCH, "jti": "j1", "iat": at, "nbf": at, "exp": at + 30}


def _token() -> str:
    return jwt.encode(_claims(), KEY, algorithm="EdDSA", headers={"kid": "k1"})


def _heartbeats() -> Iterator[bytes]:
    trouble = {"code": "E12", "severity": "major", "text": "belt slips"}
    said = {"seq": 7, "at": NOW.isoformat(), "status": "trouble", "firmware": "1.4", "troubles": [trouble]}
    yield b"\0" + lines.sign("item-1", PRIVATE, said)
    yield b"\1" + json.dumps(said).encode()


def _events() -> Iterator[bytes]:
    posted = {"member_id": "0197d1a2-0000-7000-8000-000000000001"}
    yield json.dumps(Event.new("auth.MemberErased", posted["member_id"], 3, posted).to_json()).encode()


TARGETS: dict[str, tuple[Target, Callable[[], Iterator[bytes]]]] = {
    "frame": (frame, _pictures),
    "heartbeat": (heartbeat, _heartbeats),
    "qr": (qr_pass, lambda: iter([b"\0" + _token().encode(), b"\1" + json.dumps(_claims()).encode()])),
    "event": (event, _events),
}
"""By name: what is fuzzed, and good inputs to begin with."""
