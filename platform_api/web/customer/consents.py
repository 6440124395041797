"""What members agree to, in plain words. A new wording is a new version: the domain keeps which one somebody agreed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from platform_api.web.languages import say
from platform_api.web.pages import backend

TEXT_VERSION = "2026-01"
PATH = "/auth/v1/members/me/consents"


@dataclass(frozen=True)
class Consent:
    """One thing to agree to."""

    kind: str
    required: bool
    title_ko: str
    title_en: str
    text_ko: str
    text_en: str

    @property
    def title(self) -> str:
        """In the language of the request."""
        return say(self.title_ko, self.title_en)

    @property
    def text(self) -> str:
        """In the language of the request."""
        return say(self.text_ko, self.text_en)


CONSENTS = (
    Consent(
        "terms", True, "이용 약관", "Terms of use",
        "24시간 무인 지점을 안전하게 쓰는 약속입니다. 출입 권한은 본인만 쓰고 남과 함께 들어가지 않습니다. 언제든 탈퇴할 수 있습니다.",
        "How we all use gyms with nobody at the desk: your access is yours alone, nobody enters behind you, and you may leave"
        " the service at any time.",
    ),
    Consent(
        "privacy", True, "개인정보 처리", "Personal data",
        "가입과 출입 관리를 위해 이메일, 이름, 전화번호, 생년월일, 출입 기록을 씁니다. 탈퇴하면 지웁니다."
        " 카드 번호는 본인 확인에 한 번 쓰고 보관하지 않습니다.",
        "To run your membership we use your e-mail, name, phone number, date of birth and entries, and erase them when you"
        " leave. The card number is used once to confirm who you are, and not kept.",
    ),
    Consent(
        "location", False, "위치 정보", "Location",
        "지점을 찾을 때 지금 위치에서 가까운 순서로 보여 줍니다. 위치는 검색에만 쓰고 저장하지 않습니다.",
        "Branches near where you are come first when you search. Your location is used for that search and not stored.",
    ),
    Consent(
        "marketing", False, "소식과 혜택", "News and offers",
        "새 지점과 할인 소식을 알림으로 보냅니다.",
        "We tell you of new branches and offers.",
    ),
    Consent(
        "face", False, "얼굴로 입장", "Entering by face",
        "얼굴에서 뽑은 숫자(특징값)와 얼굴 부분 사진을 암호화해 보관하고, 게이트에서 본인인지 확인하는 데만 씁니다."
        " 동의를 거두거나 탈퇴하면 모든 곳에서 바로 지웁니다. 동의하지 않아도 QR로 똑같이 입장할 수 있습니다.",
        "We keep numbers computed from your face and pictures cropped to it, encrypted, to recognise you at the gate and for"
        " nothing else. Take the consent back or leave, and they are erased everywhere at once. Without it you enter by QR"
        " just as well.",
    ),
    Consent(
        "face_training", False, "얼굴 인식 개선", "Better recognition",
        "게이트에서 찍힌 내 얼굴 사진을 인식 모델을 가르치는 데 씁니다. 최대 1년 보관하고, 동의를 거두면 지웁니다.",
        "Pictures of your face from the gate help to teach the recognition model. They are kept for a year at most, and erased"
        " when you take this back.",
    ),
)  # fmt: skip
BY_KIND = {consent.kind: consent for consent in CONSENTS}
AT_SIGN_UP = tuple(BY_KIND[kind] for kind in ("terms", "privacy", "location", "marketing"))


def say_so(kind: str, granted: bool, key: str | None) -> None:
    """Record that whoever is signed in agrees, or no longer does. Raises Problem."""
    body = {"kind": kind, "granted": granted, "text_version": TEXT_VERSION}
    backend().send("POST", PATH, body=body, key=f"{key}-{kind}" if key else None)


def newest(history: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The latest word on each kind, out of a history with the newest first."""
    found: dict[str, dict[str, Any]] = {}
    for said in history:
        found.setdefault(said["kind"], said)
    return found
