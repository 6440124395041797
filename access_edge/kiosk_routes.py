"""The kiosk's page and what it asks of the node: thin; who stands there is for `attendant` to look after."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, render_template, request

from access_edge import kiosk_files, kiosk_session, kiosk_words
from access_edge.attendant import Told
from access_edge.kiosk import node
from access_edge.records import Gate
from platform_api.core.errors import Problem

MAX_FRAMES = 32
MAX_FRAME_BYTES = 2 * 2**20
LONGEST_KEY = 512

blueprint = Blueprint("kiosk", __name__)
# Several a second: counted and timed as all requests are, but not a line of the log each.
UNLOGGED = frozenset({"/kiosk/<gate_id>/look", "/kiosk/<gate_id>/state"})


@blueprint.after_request
def guard(answer: Response) -> Response:
    """What the browser may do with an answer."""
    for name, value in kiosk_files.HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


@blueprint.get("/kiosk/<gate_id>/")
def page(gate_id: str) -> Response:
    """The page: the same for everybody, and for gates that are not here."""
    answer = make_response(
        render_template("kiosk.html", gate_id=gate_id, file=kiosk_files.url, release=kiosk_files.release())
    )
    # Not set up yet: the page asks for the key.
    with contextlib.suppress(Problem):
        kiosk_session.renew(kiosk_session.session_gate(gate_id), answer)
    return answer


@blueprint.get("/kiosk/<gate_id>/sw.js")
def worker(gate_id: str) -> Response:
    """The service worker, which keeps the page and its files."""
    kept = [f"/kiosk/{gate_id}/", *(kiosk_files.url(name) for name in kiosk_files.files() if name != "sw.js")]
    script = kiosk_files.files()["sw.js"].decode().replace('"RELEASE"', json.dumps(kiosk_files.release()))
    answer = Response(script.replace('["KEPT"]', json.dumps(kept)), content_type="text/javascript; charset=utf-8")
    answer.headers["Cache-Control"] = "no-cache"
    return answer


@blueprint.get("/kiosk/<gate_id>/manifest.webmanifest")
def manifest(gate_id: str) -> Response:
    """Makes the page installable: a tablet then shows nothing else."""
    here = f"/kiosk/{gate_id}/"
    icon = {"src": kiosk_files.url("icon.svg"), "sizes": "any", "type": "image/svg+xml", "purpose": "any"}
    document = {
        "id": here, "start_url": here, "scope": here, "name": "스마트 피트니스 출입문 (gate kiosk)", "short_name": "출입문",
        "lang": "ko", "display": "fullscreen", "background_color": "#11191f", "theme_color": "#11191f", "icons": [icon],
    }  # fmt: skip
    return Response(json.dumps(document, ensure_ascii=False), content_type="application/manifest+json; charset=utf-8")


@blueprint.get(kiosk_files.URL + "/<tag>/<name>")
def file(tag: str, name: str) -> Response:
    """A file of the page."""
    return kiosk_files.serve(tag, name)


@blueprint.post("/kiosk/<gate_id>/session")
def session(gate_id: str) -> Response:
    """Set this browser up with the kiosk's key."""
    kiosk_session.same_origin()
    body = request.get_json(silent=True)
    key = body.get("key") if isinstance(body, dict) else None
    if not isinstance(key, str) or not 0 < len(key.strip()) <= LONGEST_KEY:
        raise Problem(422, "key_missing", "키오스크 키를 입력하세요.", "Enter the kiosk's key.")
    answer = Response(status=204)
    kiosk_session.begin(gate_id, key.strip(), answer)
    return answer


@blueprint.get("/kiosk/<gate_id>/state")
def state(gate_id: str) -> Response:
    """What the page shows while nobody stands before it."""
    gate = kiosk_session.session_gate(gate_id)
    return jsonify(_state(gate))


@blueprint.post("/kiosk/<gate_id>/look")
def look(gate_id: str) -> Response:
    """A frame of the camera: what to do, or what was decided."""
    gate, frame = _mine(gate_id), request.get_data(cache=False)
    if not frame or len(frame) > MAX_FRAME_BYTES:
        raise Problem(422, "frame_missing", "사진이 없거나 너무 큽니다.", "No picture, or too large a one.")
    return _told(node().attendant.look(gate, _page(), frame))


@blueprint.post("/kiosk/<gate_id>/challenge")
def challenge(gate_id: str) -> tuple[Response, int]:
    """Begin a turn of the head."""
    return jsonify(node().active.begin(_mine(gate_id).gate_id)), 201


@blueprint.post("/kiosk/<gate_id>/film/<challenge_id>")
def film(gate_id: str, challenge_id: str) -> Response:
    """The frames of a turn of the head."""
    gate, frames = _mine(gate_id), [part.read() for part in request.files.getlist("frame")]
    if not 0 < len(frames) <= MAX_FRAMES or not all(frames):
        raise Problem(422, "frame_missing", f"사진을 1~{MAX_FRAMES}장 보내세요.", f"Send 1 to {MAX_FRAMES} frames.")
    return _told(node().attendant.film(gate, _page(), frames, challenge_id))


@blueprint.post("/kiosk/<gate_id>/exit")
def exit_(gate_id: str) -> Response:
    """Open the way out, where this is one: a button outside would let anybody in."""
    gate = _mine(gate_id)
    if gate.direction != "out":
        raise Problem(409, "no_way_out", "여기는 나가는 문이 아닙니다.", "This gate is not a way out.")
    return _told(Told.of(node().pipeline.exit(gate)))


def _mine(gate_id: str) -> Gate:
    kiosk_session.same_origin()
    return kiosk_session.session_gate(gate_id)


def _page() -> str:
    return request.headers.get("X-Kiosk-Page", "")[:64]


def _told(told: Told) -> Response:
    return jsonify(told.document())


def _state(gate: Gate) -> dict[str, Any]:
    shown = node().kiosk_state(gate)
    out = gate.direction == "out"
    if out and shown["mode"] != "emergency_open":
        # The way out is open whatever is broken or locked.
        shown |= {"reason": None, "message": kiosk_words.EXIT.ko, "message_en": kiosk_words.EXIT.en}
    kept = ("name", "mode", "reason", "message", "message_en", "offline")
    return {name: shown[name] for name in kept} | {"exit": out, "release": kiosk_files.release()}
