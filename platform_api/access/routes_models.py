"""HTTP of face models for edge nodes: their packages, and what the nodes report of them."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from platform_api.access import observations
from platform_api.access import schemas_models as schemas
from platform_api.access.device_auth import device, require_device
from platform_api.core.errors import Problem
from platform_api.core.openapi import BINARY
from platform_api.core.uploads import body_up_to
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("edge_models", "/access/v1/edge", "For edge nodes: packages of face models, reports of how they do")
blueprints = [blp]

MAX_REPORTS_BYTES = 256 * 1024


@blp.get("/models/<version>/archive")
@require_device
@transaction("access")
@blp.response(200, BINARY, content_type="application/octet-stream")
@blp.alt_response(206, schema=BINARY, content_type="application/octet-stream", description="The part asked for.")
@blp.alt_response(416, "REQUESTED_RANGE_NOT_SATISFIABLE")
def archive(version: str) -> Response:
    """The signed package of a model in use or staged; `Range` goes on where a cut download ended."""
    package = observations.package(current_session(), version)
    start, end = _part(package)
    partial = (start, end) != (0, package.size)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, immutable",
        "Content-Length": str(end - start),
        "ETag": f'"{package.sha256}"',
    }
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{package.size}"
    return Response(
        package.chunks(start, end), 206 if partial else 200, headers, content_type="application/octet-stream",
        direct_passthrough=True,
    )  # fmt: skip


@blp.post("/model-reports")
@require_device
@body_up_to(MAX_REPORTS_BYTES)
@transaction("access")
@blp.arguments(schemas.ModelReports)
@blp.response(200, schemas.ModelReportReceipt)
def report(said: dict[str, Any]) -> dict[str, int]:
    """How models did at this node; a report known already is counted, not taken again."""
    accepted, passed_over = observations.take(current_session(), device(), said["reports"])
    return {"accepted": accepted, "passed_over": passed_over}


def _part(package: observations.Package) -> tuple[int, int]:
    """The bytes asked for. A range of another package than this (If-Range), or in no form we know, asks for all.

    Raises:
        Problem: 416.
    """
    asked, of = request.range, request.if_range
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return 0, package.size
    if request.headers.get("If-Range") and of.etag != package.sha256:
        return 0, package.size
    part = asked.range_for_length(package.size)
    if part is None:
        raise Problem(
            416, "range_invalid", "요청한 범위가 파일 밖입니다. 처음부터 다시 받으세요.",
            "The range lies outside the file; fetch it from its beginning.",
            headers={"Content-Range": f"bytes */{package.size}"},
        )  # fmt: skip
    return part
