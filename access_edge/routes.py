"""The kiosk's routes: thin; what they answer is decided in `pipeline`."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from access_edge.kiosk import by_admin, kiosk_gate, node
from platform_api.core.errors import Problem

MAX_FRAMES = 5
# A challenge is answered by a short film.
MAX_CHALLENGE_FRAMES = 32
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp"})

blueprint = Blueprint("gates", __name__, url_prefix="/edge/v1/gates")


@blueprint.post("/<gate_id>/frames")
def frames(gate_id: str) -> Response:
    """Decide on a face."""
    gate = kiosk_gate(gate_id)
    challenge_id = request.args.get("challenge_id") or request.form.get("challenge_id")
    frames_ = _frames(challenge_id is not None)
    return jsonify(node().pipeline.face(gate, frames_, challenge_id, inspected=by_admin()).document())


@blueprint.post("/<gate_id>/qr")
def qr(gate_id: str) -> Response:
    """Decide on a QR pass."""
    gate = kiosk_gate(gate_id)
    return jsonify(node().pipeline.qr(gate, _token()).document())


@blueprint.post("/<gate_id>/exit")
def exit_(gate_id: str) -> Response:
    """Open the way out."""
    return jsonify(node().pipeline.exit(kiosk_gate(gate_id)).document())


@blueprint.post("/<gate_id>/challenge")
def challenge(gate_id: str) -> tuple[Response, int]:
    """Begin an active liveness check."""
    return jsonify(node().active.begin(kiosk_gate(gate_id).gate_id)), 201


@blueprint.get("/<gate_id>/state")
def state(gate_id: str) -> Response:
    """What the kiosk shows."""
    return jsonify(node().kiosk_state(kiosk_gate(gate_id)))


def _frames(film: bool) -> list[bytes]:
    """The pictures of the request. Raises Problem 400, 415, 422."""
    kind = request.mimetype
    if kind in IMAGE_TYPES:
        found = [request.get_data(cache=False)]
    elif kind == "multipart/form-data":
        found = [part.read() for part in request.files.getlist("frame")]
    else:
        raise Problem(
            415, "unsupported_media_type", "JPEG, PNG, WebP 사진이나 multipart/form-data로 보내세요.",
            "Send image/jpeg, image/png, image/webp, or multipart/form-data with parts named frame.",
        )  # fmt: skip
    most = MAX_CHALLENGE_FRAMES if film else MAX_FRAMES
    if not found or not all(found):
        raise Problem(
            422, "frame_missing", "사진이 없습니다. frame을 보내세요.", "No picture: send at least one frame."
        )
    if len(found) > most:
        raise Problem(422, "too_many_frames", f"사진은 {most}장까지 보낼 수 있습니다.", f"At most {most} frames.")
    return found


def _token() -> str:
    """The pass of the request: {"token": "..."}. Raises Problem 415, 422."""
    if request.mimetype != "application/json":
        raise Problem(415, "unsupported_media_type", "JSON으로 보내세요.", 'Send application/json: {"token": "..."}.')
    body = request.get_json(silent=True)
    token = body.get("token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token:
        raise Problem(422, "token_missing", "token이 없습니다.", 'Send {"token": "..."}.')
    return token
