"""Bounds on what is dear: each takes tens of megabytes and some tenths of a second of a core, in a process whose threads serve
the rest of auth too. An enrolment asks access besides, which may be served by those very threads; a sign-in is anybody's to ask
for. So neither must ever take all of them."""

from platform_api.auth.settings import settings
from platform_api.core.turnstile import Turnstile

enrolments = Turnstile(
    lambda: settings().face_enrolments_at_once,
    "지금 얼굴 등록이 몰려 있습니다. 잠시 후 다시 시도하세요.",
    "Many faces are being enrolled just now; try again in a moment.",
    patience_s=0.5,
)
sign_ins = Turnstile(
    lambda: settings().sign_ins_at_once,
    "지금 로그인이 몰려 있습니다. 잠시 후 다시 시도하세요.",
    "Many people are signing in just now; try again in a moment.",
    patience_s=0.5,
)
