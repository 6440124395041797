"""Requests and answers about exports."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from platform_api.core.schemas import Strict, page_of

STATES = ("pending", "ready", "failed")


class ExportSchema(Schema):
    """An export and how far it is."""

    export_id = fields.String(attribute="id")
    state = fields.String(validate=validate.OneOf(STATES))
    waits_for = fields.List(
        fields.String(),
        metadata={"description": "Parts of the platform that have not given theirs yet; each is asked again."},
    )
    size = fields.Integer(allow_none=True, metadata={"description": "Bytes of the ZIP, once it is ready."})
    sha256 = fields.String(allow_none=True)
    created_at = fields.AwareDateTime()
    ready_at = fields.AwareDateTime(allow_none=True)
    expires_at = fields.AwareDateTime(allow_none=True, metadata={"description": "It is deleted then."})
    downloads = fields.Integer()


ExportPage = page_of(ExportSchema, "ExportPage")


class DownloadSchema(Strict):
    """POST /members/{id}/exports/{id}/download."""

    password = fields.String(required=True, validate=validate.Length(1, 200), load_only=True)
