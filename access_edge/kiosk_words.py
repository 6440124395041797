"""What the kiosk's screen says beside the reasons of `messages`: words for the moment before anything is decided."""

from __future__ import annotations

from access_edge.messages import Message, message

STEADY = Message("좋습니다. 잠시 그대로 계세요.", "Good. Hold still for a moment.")
OFF_CENTRE = Message("얼굴을 타원 안에 맞춰 주세요.", "Move your face into the oval.")
AGAIN = Message(
    "카메라를 정면으로 한 번 더 보거나 QR로 입장하세요.", "Look straight at the camera once more, or use your QR pass."
)
EXIT = Message(
    "버튼을 누르거나 카메라를 보면 문이 열립니다.", "Press the button or look at the camera: the gate opens."
)

_FILM = {
    "wrong_side": Message(
        "반대쪽으로 돌리셨습니다. 화살표를 따라 주세요.", "That was the other side. Follow the arrow."
    ),
    "not_enough_turn": Message("고개를 조금 더 크게 돌려 주세요.", "Turn your head a little further."),
    "not_frontal_at_start": Message("먼저 카메라를 정면으로 봐 주세요.", "First look straight at the camera."),
    "too_few_frames": Message("얼굴을 타원 안에 두고 다시 해 주세요.", "Keep your face in the oval and try again."),
}


def film_words(reason: str, detail: str | None) -> Message:
    """What to do better at the next turn of the head."""
    return _FILM.get(detail or "") or message(reason)
