"""A bound on enrolments at once: each takes tens of megabytes and some tenths of a second of a core, and then asks access,
which may be served by the threads of this very process. So they must never take all of them."""

from platform_api.auth.settings import settings
from platform_api.core.turnstile import Turnstile

enrolments = Turnstile(
    lambda: settings().face_enrolments_at_once,
    "지금 얼굴 등록이 몰려 있습니다. 잠시 후 다시 시도하세요.",
    "Many faces are being enrolled just now; try again in a moment.",
    patience_s=0.5,
)
