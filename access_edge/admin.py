"""The local admin's routes: what a technician at the branch can see and do without the centre."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from access_edge.kiosk import admin_only, node
from platform_api.core.errors import Problem
from platform_api.core.http import ServiceUnavailable

CATCH_UP_S = 10.0
LONGEST_LIST = 500

blueprint = Blueprint("admin", __name__, url_prefix="/edge/v1/admin")


@blueprint.get("/status")
@admin_only
def status() -> Response:
    """Sync, replica, gallery, log and clock."""
    return jsonify(node().state.document())


@blueprint.post("/sync")
@admin_only
def sync() -> Response:
    """Look at the change feed now. 503 where the centre does not answer."""
    if not node().sync.catch_up(CATCH_UP_S):
        raise Problem(503, "centre_unavailable", "센터에 연결할 수 없습니다.", "The centre does not answer.")
    return jsonify(node().state.document())


@blueprint.get("/log")
@admin_only
def log() -> Response:
    """The oldest entries that the centre does not have."""
    limit = min(max(request.args.get("limit", 100, type=int), 1), LONGEST_LIST)
    return jsonify(counts=node().entries.counts(), unsent=[document for _, document in node().entries.unsent(limit)])


@blueprint.post("/log/forward")
@admin_only
def forward() -> Response:
    """Hand the log over now. 503 where the centre does not answer."""
    try:
        sent = node().forwarder.run()
    except ServiceUnavailable as error:
        raise Problem(503, "centre_unavailable", "센터에 연결할 수 없습니다.", "The centre does not answer.") from error
    return jsonify(sent=sent, counts=node().entries.counts())


@blueprint.post("/model/rollback")
@admin_only
def rollback() -> Response:
    """Go back to the model before. 409 where there is none."""
    try:
        return jsonify(model=node().builder.rollback())
    except LookupError as error:
        raise Problem(
            409, "no_previous_model", "되돌릴 모델이 없습니다.", "There is no model to go back to."
        ) from error
