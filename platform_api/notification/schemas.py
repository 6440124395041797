"""Requests and answers of the notification domain."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import Schema, ValidationError, fields, validate

from platform_api.core.schemas import ID, Moment, PageQuery, Strict, Truth, page_of
from platform_api.notification.deliveries import STATES
from platform_api.notification.kinds import CHANNEL_OF, KINDS
from platform_api.notification.settings import CHANNELS
from platform_api.notification.subscriptions import LONGEST

TOKEN = validate.Regexp(r"^[A-Za-z0-9_:-]{20,4096}\Z", error="Not a registration token.")
CLOCK = validate.Regexp(r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z", error="Not HH:MM.")
LANGUAGE = validate.OneOf(("ko", "en"))
PLATFORMS = ("android", "ios", "web")
ALERT_STATES = ("open", "acknowledged", "recovered")
_ENDPOINT = validate.Regexp(r"^https://[!-~]+\Z", error="Not an https URL.")
_KEY = validate.Regexp(r"^[A-Za-z0-9_-]{20,100}={0,2}\Z", error="Not base64url.")
_NO_CONTROL = validate.Regexp(r"^[^\x00-\x1f\x7f]*\Z", error="Control characters are not allowed.")


def _zone(value: str) -> None:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationError("Not an IANA time zone.") from error


def _ascii(value: str) -> None:
    if not value.isascii():
        raise ValidationError("Letters beyond ASCII are not supported in an address.")


class NewDevice(Strict):
    """POST /devices."""

    token = fields.String(required=True, validate=TOKEN, metadata={"description": "FCM registration token."})
    platform = fields.String(required=True, validate=validate.OneOf(PLATFORMS))
    name = fields.String(load_default=None, allow_none=True, validate=[validate.Length(1, 60), _NO_CONTROL])


class SubscriptionKeys(Strict):
    """Keys of a push subscription (RFC 8291)."""

    p256dh = fields.String(
        required=True, validate=_KEY, metadata={"description": "Point of P-256, 65 bytes, base64url."}
    )
    auth = fields.String(required=True, validate=_KEY, metadata={"description": "16 bytes, base64url."})


class Subscription(Strict):
    """A browser's PushSubscription, as its toJSON() has it."""

    endpoint = fields.String(required=True, validate=[validate.Length(1, LONGEST), _ENDPOINT])
    expirationTime = fields.Float(load_default=None, allow_none=True)
    keys = fields.Nested(SubscriptionKeys, required=True)


class NewSubscription(Strict):
    """POST /devices/webpush."""

    subscription = fields.Nested(Subscription, required=True)
    name = fields.String(load_default=None, allow_none=True, validate=[validate.Length(1, 60), _NO_CONTROL])


class WebPushKey(Schema):
    """What a page gives to PushManager.subscribe as applicationServerKey."""

    key = fields.String(metadata={"description": "Public key of VAPID (RFC 8292), base64url."})


class DeviceSchema(Schema):
    """A device; its token or subscription is never shown."""

    device_id = fields.String()
    kind = fields.String(validate=validate.OneOf(tuple(CHANNEL_OF)))
    platform = fields.String(validate=validate.OneOf(PLATFORMS))
    name = fields.String(allow_none=True)
    created_at = fields.AwareDateTime()
    seen_at = fields.AwareDateTime(metadata={"description": "When its app registered last."})


class DeviceList(Schema):
    """All of a member's devices."""

    items = fields.List(fields.Nested(DeviceSchema))


class KindChannels(Strict):
    """By which channels a kind comes; what is left out stays at its default."""

    push = Truth()
    email = Truth()


class NewPreferences(Strict):
    """PUT /preferences: all of them."""

    language = fields.String(load_default=None, allow_none=True, validate=LANGUAGE)
    timezone = fields.String(required=True, validate=[validate.Length(1, 64), _zone])
    quiet_from = fields.String(load_default=None, allow_none=True, validate=CLOCK)
    quiet_until = fields.String(load_default=None, allow_none=True, validate=CLOCK)
    kinds = fields.Dict(
        keys=fields.String(validate=validate.OneOf(tuple(KINDS))),
        values=fields.Nested(KindChannels),
        load_default=dict,
        metadata={"description": "Kinds that are to come otherwise than by default."},
    )


class EmailState(Schema):
    """What is shown of an e-mail address."""

    address = fields.String(metadata={"description": "Enough for its owner to know it."})
    verified = fields.Boolean()
    bounced = fields.Boolean(metadata={"description": "The mail server says that there is no such mailbox."})


class PreferencesSchema(Schema):
    """What holds for a member."""

    language = fields.String(allow_none=True, metadata={"description": "null: the account's language."})
    timezone = fields.String()
    quiet_from = fields.String(allow_none=True)
    quiet_until = fields.String(allow_none=True)
    kinds = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(
            Schema.from_dict({"push": fields.Boolean(), "email": fields.Boolean()}, name="KindChannelsShown")
        ),
    )
    email = fields.Nested(EmailState, allow_none=True)


class NewEmail(Strict):
    """PUT /email."""

    address = fields.Email(required=True, validate=[validate.Length(max=254), _ascii])


class Code(Strict):
    """POST /email/verification."""

    code = fields.String(required=True, validate=validate.Regexp(r"^[0-9]{6}\Z", error="Six digits."))


class EmailSchema(EmailState):
    """An e-mail address that was given."""

    code_until = fields.AwareDateTime(
        allow_none=True, metadata={"description": "How long the code sent there is good."}
    )


class NotificationSchema(Schema):
    """What a member was told."""

    notification_id = fields.String()
    kind = fields.String(validate=validate.OneOf(tuple(KINDS)))
    urgent = fields.Boolean()
    title = fields.String()
    body = fields.String()
    data = fields.Dict(keys=fields.String(), values=fields.String())
    occurred_at = fields.AwareDateTime()
    created_at = fields.AwareDateTime()
    read_at = fields.AwareDateTime(allow_none=True)


NotificationPage = page_of(NotificationSchema, "NotificationPage")


class NotificationQuery(PageQuery):
    """Which notifications."""

    unread = fields.Boolean(load_default=False)
    kind = fields.String(load_default=None, validate=validate.OneOf(tuple(KINDS)))


class Unread(Schema):
    """How many are unread."""

    unread = fields.Integer()


class ReadAll(Strict):
    """POST /notifications/read."""

    until = Moment(load_default=None, allow_none=True, metadata={"description": "Those that came by then; null: all."})


class Marked(Schema):
    """How many were marked."""

    marked = fields.Integer()


class DeliverySchema(Schema):
    """A delivery as operators see it: neither what it says nor where it goes."""

    delivery_id = fields.String()
    notification_id = fields.String()
    member_id = fields.String()
    channel = fields.String(validate=validate.OneOf(CHANNELS))
    device_id = fields.String()
    urgent = fields.Boolean()
    state = fields.String(validate=validate.OneOf(STATES))
    due_at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime()
    attempts = fields.Integer()
    reason = fields.String(allow_none=True)
    reference = fields.String(allow_none=True)
    sent_at = fields.AwareDateTime(allow_none=True)
    created_at = fields.AwareDateTime()


DeliveryPage = page_of(DeliverySchema, "DeliveryPage")


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    member_id = fields.String(load_default=None, validate=ID)
    state = fields.String(load_default=None, validate=validate.OneOf(STATES))
    channel = fields.String(load_default=None, validate=validate.OneOf(CHANNELS))


class AlertSchema(Schema):
    """A fault, and how far it has escalated."""

    fault_id = fields.String()
    equipment_id = fields.String()
    branch_id = fields.String()
    name = fields.String()
    kind = fields.String()
    reason = fields.String()
    severity = fields.String()
    state = fields.String(validate=validate.OneOf(ALERT_STATES))
    level = fields.Integer(metadata={"description": "How often it was passed on because nobody acknowledged it."})
    told = fields.List(fields.String(), metadata={"description": "Members who have heard of it."})
    since = fields.AwareDateTime()
    detected_at = fields.AwareDateTime()
    next_at = fields.AwareDateTime(allow_none=True, metadata={"description": "When it is passed on next."})
    acknowledged_by = fields.String(allow_none=True)
    acknowledged_at = fields.AwareDateTime(allow_none=True)
    recovered_at = fields.AwareDateTime(allow_none=True)


AlertPage = page_of(AlertSchema, "AlertPage")


class AlertQuery(PageQuery):
    """Which faults."""

    branch_id = fields.String(load_default=None, validate=ID)
    state = fields.String(load_default=None, validate=validate.OneOf(ALERT_STATES))
