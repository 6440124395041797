"""Requests and answers of the auth domain. Unknown fields are refused, so that nobody sets what is not theirs to set."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates, validates_schema

from platform_api.auth.card import Card, luhn_valid
from platform_api.auth.members import Registration
from platform_api.auth.models import CONSENT_KINDS, LANGUAGES, ROLES
from platform_api.auth.passwords import MAX_LENGTH
from platform_api.core.clock import now
from platform_api.core.schemas import PageQuery, Strict, Truth, page_of

_PHONE = validate.Regexp(r"^\+?[0-9](?:[ -]?[0-9]){6,18}\Z", error="Not a phone number.")
_EXPIRY = validate.Regexp(r"^(0[1-9]|1[0-2])/[0-9]{2}\Z", error="Write it as MM/YY.")
_BRANCH = validate.Regexp(r"^[A-Za-z0-9_.:-]{1,64}\Z", error="Not a branch id.")
_EMAIL = [validate.Length(max=254), validate.Email()]
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


class Name(fields.String):
    """A person's name: 1 to 100 characters, no control characters and none that turn the writing direction."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs)).strip()
        if not 1 <= len(text) <= 100 or _CONTROL.search(text):
            raise ValidationError("A name has 1 to 100 printable characters.")
        return text


class BirthDate(fields.Date):
    """A date of birth of somebody alive."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> date:
        day = super()._deserialize(value, attr, data, **kwargs)
        if not isinstance(day, date) or not date(1900, 1, 1) <= day <= now().date():
            raise ValidationError("Not a date of birth.")
        return day


def _password() -> fields.String:
    return fields.String(required=True, load_only=True, validate=validate.Length(max=4 * MAX_LENGTH))


class CardSchema(Strict):
    """A payment card, used once to confirm who somebody is."""

    number = fields.String(required=True, load_only=True)
    expiry = fields.String(required=True, load_only=True, validate=_EXPIRY)
    birth_date = BirthDate(load_default=None)

    @validates("number")
    def check_number(self, value: str, data_key: str) -> None:
        """Length and check digit."""
        if not luhn_valid(value):
            raise ValidationError("Not a card number.")


class RegistrationSchema(Strict):
    """POST /members."""

    email = fields.String(required=True, validate=_EMAIL)
    password = _password()
    name = Name(required=True)
    phone = fields.String(required=True, validate=_PHONE)
    birth_date = BirthDate(required=True)
    language = fields.String(load_default="ko", validate=validate.OneOf(LANGUAGES))
    card = fields.Nested(CardSchema, required=True)

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> Registration:
        """As the rules want it."""
        card = data.pop("card")
        born = card["birth_date"] or data["birth_date"]
        return Registration(**data, card=Card(card["number"], card["expiry"], data["name"], born))


class RegisteredSchema(Schema):
    """Its answer: no more than the caller does not know, since it is kept for replays."""

    member_id = fields.String(attribute="id")
    roles = fields.List(fields.String())
    language = fields.String()
    status = fields.String()
    created_at = fields.AwareDateTime()


class MemberSchema(RegisteredSchema):
    """A profile."""

    email = fields.String()
    name = fields.String()
    phone = fields.String(allow_none=True)
    birth_date = fields.Date(allow_none=True)
    branch_ids = fields.List(fields.String())
    version = fields.Integer()
    updated_at = fields.AwareDateTime()


class ProfileChangeSchema(Strict):
    """PATCH /members/{id}. A new e-mail needs the present password."""

    name = Name()
    phone = fields.String(validate=_PHONE)
    language = fields.String(validate=validate.OneOf(LANGUAGES))
    email = fields.String(validate=_EMAIL)
    current_password = fields.String(load_only=True, validate=validate.Length(max=4 * MAX_LENGTH))

    @validates_schema
    def check_together(self, data: dict[str, Any], **_: Any) -> None:
        """E-mail and present password come together."""
        if ("email" in data) != ("current_password" in data):
            raise ValidationError("email and current_password go together.", "current_password")


class PasswordChangeSchema(Strict):
    """PUT /members/{id}/password."""

    current_password = _password()
    new_password = _password()


class RolesSchema(Strict):
    """PUT /members/{id}/roles."""

    roles = fields.List(fields.String(validate=validate.OneOf(ROLES)), required=True, validate=validate.Length(min=1))
    branch_ids = fields.List(fields.String(validate=_BRANCH), load_default=list, validate=validate.Length(max=1000))


class StatusSchema(Strict):
    """PUT /members/{id}/status."""

    status = fields.String(required=True, validate=validate.OneOf(("active", "suspended")))
    reason = fields.String(required=True, validate=validate.Length(min=1, max=500))


class LoginSchema(Strict):
    """POST /tokens."""

    email = fields.String(required=True, validate=validate.Length(max=254))
    password = _password()


class RefreshSchema(Strict):
    """POST /tokens/refresh and /tokens/revoke."""

    refresh_token = fields.String(required=True, load_only=True, validate=validate.Length(min=1, max=256))


class ServiceLoginSchema(Strict):
    """POST /service-tokens."""

    client_id = fields.String(required=True, validate=validate.Length(min=1, max=64))
    client_secret = fields.String(required=True, load_only=True, validate=validate.Length(min=1, max=1024))


class ServiceTokenSchema(Schema):
    """An access token."""

    access_token = fields.String()
    token_type = fields.String()
    expires_in = fields.Integer(metadata={"description": "Seconds."})


class TokensSchema(ServiceTokenSchema):
    """An access token and what renews it."""

    refresh_token = fields.String()
    member_id = fields.String()


class MemberQuery(PageQuery):
    """GET /members."""

    email = fields.String(load_default=None, validate=validate.Length(max=254))


class SessionSchema(Schema):
    """A sign-in on one device."""

    session_id = fields.String(attribute="id")
    user_agent = fields.String(allow_none=True)
    created_at = fields.AwareDateTime()
    last_used_at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime()
    revoked_at = fields.AwareDateTime(allow_none=True)
    revoked_reason = fields.String(allow_none=True)


class ConsentChangeSchema(Strict):
    """POST /members/{id}/consents."""

    kind = fields.String(required=True, validate=validate.OneOf(CONSENT_KINDS))
    granted = Truth(required=True)
    text_version = fields.String(required=True, validate=validate.Length(min=1, max=64))


class ConsentSchema(Schema):
    """A statement of will."""

    consent_id = fields.String(attribute="id")
    kind = fields.String()
    granted = fields.Boolean()
    text_version = fields.String()
    actor = fields.String()
    at = fields.AwareDateTime()


class JwksSchema(Schema):
    """Public keys (RFC 7517)."""

    keys = fields.List(fields.Dict(keys=fields.String(), values=fields.String()))


class RevocationQuery(Schema):
    """From when on."""

    since = fields.Float(load_default=0.0, validate=validate.Range(min=-1e9, max=2.5e11))


class RevokedSchema(Schema):
    """Tokens of `key` below version `least` are refused until Unix time `until`."""

    key = fields.String()
    least = fields.Integer()
    until = fields.Float()


class RevocationsSchema(Schema):
    """What was revoked, and the Unix time of the answer."""

    at = fields.Float()
    revoked = fields.List(fields.Nested(RevokedSchema))


MemberPage = page_of(MemberSchema, "MemberPage")
SessionPage = page_of(SessionSchema, "SessionPage")
ConsentPage = page_of(ConsentSchema, "ConsentPage")
