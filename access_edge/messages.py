"""What the person at the gate is told for each reason code: Korean first, English beside it.

The words say what to do next, never who somebody else is, and to a stranger never how near a miss it was.
"""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """One reason in both languages."""

    ko: str
    en: str


_QR = "QR로 입장하세요."
_QR_EN = "Use your QR pass."
_DESK = "앱의 고객센터로 문의하세요."
_DESK_EN = "Contact support in the app."

MESSAGES: dict[str, Message] = {
    "granted": Message("어서 오세요!", "Welcome!"),
    "granted_qr": Message("어서 오세요!", "Welcome!"),
    "exit": Message("안녕히 가세요.", "Goodbye."),
    "emergency_open": Message("비상 개방 중입니다. 자유롭게 통행하세요.", "Emergency: the gate is open. Pass freely."),
    "no_match": Message(f"등록된 회원을 찾지 못했습니다. {_QR}", f"No member recognised. {_QR_EN}"),
    "unsure": Message("카메라를 정면으로 한 번 더 봐 주세요.", "Please look straight at the camera once more."),
    "liveness_failed": Message(f"얼굴을 확인하지 못했습니다. {_QR}", f"The face could not be verified. {_QR_EN}"),
    "liveness_unsure": Message("화면 안내에 따라 고개를 돌려 주세요.", "Follow the screen and turn your head."),
    "lockout": Message(f"얼굴 인식이 잠시 중지되었습니다. {_QR}", f"Face entry is paused for a moment. {_QR_EN}"),
    "no_face": Message("얼굴이 보이지 않습니다. 카메라 앞에 서 주세요.", "No face seen. Stand in front of the camera."),
    "several_faces": Message("한 분씩 카메라 앞에 서 주세요.", "One person at a time, please."),
    "face_too_small": Message("카메라에 조금 더 가까이 와 주세요.", "Come a little closer."),
    "blurred": Message("잠시 멈춰서 카메라를 봐 주세요.", "Stand still and look at the camera."),
    "too_dark": Message(f"너무 어둡습니다. 밝은 쪽으로 서거나 {_QR}", f"Too dark. Step into the light, or: {_QR_EN}"),
    "too_bright": Message(f"너무 밝습니다. 빛을 등지지 말고 {_QR}", f"Too bright. Turn from the light, or: {_QR_EN}"),
    "turned_away": Message("카메라를 정면으로 봐 주세요.", "Look straight at the camera."),
    "membership_none": Message(f"이용권이 없습니다. {_DESK}", f"No membership. {_DESK_EN}"),
    "membership_expired": Message(
        "이용권이 만료되었습니다. 앱에서 연장하세요.", "Membership expired. Renew it in the app."
    ),
    "membership_not_started": Message("이용권 시작일 전입니다.", "The membership has not started yet."),
    "membership_frozen": Message(
        "휴회 중입니다. 앱에서 해제하세요.", "The membership is frozen. Resume it in the app."
    ),
    "blocked_unpaid": Message("미납금이 있습니다. 앱에서 결제하세요.", "A payment is due. Pay in the app."),
    "blocked_banned": Message(f"이용이 제한된 회원입니다. {_DESK}", f"Access is restricted. {_DESK_EN}"),
    "branch_not_allowed": Message(
        "이 지점에서는 쓸 수 없는 이용권입니다.", "The membership does not cover this branch."
    ),
    "outside_hours": Message("지금은 이용 시간이 아닙니다.", "Outside the hours of the membership or the branch."),
    "anti_passback": Message(f"이미 입장한 회원입니다. {_DESK}", f"Already inside. {_DESK_EN}"),
    "capacity_full": Message("정원이 찼습니다. 잠시 후 다시 시도하세요.", "The branch is full. Try again in a while."),
    "lockdown": Message("출입이 통제되고 있습니다. 나가는 문은 열려 있습니다.", "Locked down. The way out is open."),
    "qr_expired": Message("QR이 만료되었습니다. 앱에서 새로 여세요.", "The QR has expired. Open a new one in the app."),
    "qr_not_yet_valid": Message(
        "아직 유효하지 않은 QR입니다. 휴대폰 시각을 확인하세요.", "Not valid yet. Check your phone's clock."
    ),
    "qr_replayed": Message("이미 쓴 QR입니다. 앱에서 새로 여세요.", "This QR was used. Open a new one in the app."),
    "qr_forged": Message("올바르지 않은 QR입니다. 앱에서 새로 여세요.", "Not a valid QR. Open a new one in the app."),
    "qr_wrong_branch": Message(
        "다른 지점의 QR입니다. 이 지점의 QR을 여세요.", "A QR of another branch. Open one for this branch."
    ),
    "gate_unreachable": Message(
        f"문이 응답하지 않습니다. 다시 시도하거나 {_DESK}", f"The gate does not answer. Try again or: {_DESK_EN}"
    ),
    "gallery_unavailable": Message(
        f"지금은 입장 정보를 확인할 수 없습니다. {_DESK}", f"Entry cannot be checked just now. {_DESK_EN}"
    ),
    "replica_damaged": Message(f"입장 정보를 복구하는 중입니다. {_DESK}", f"Entry data is being restored. {_DESK_EN}"),
    "log_unavailable": Message(
        f"출입을 기록할 수 없어 문을 열 수 없습니다. {_DESK}", f"Entries cannot be recorded now. {_DESK_EN}"
    ),
}


def message(reason: str) -> Message:
    """The words for a reason code. Raises KeyError for one that is not in the contract."""
    return MESSAGES[reason]
