"""Values of the API in people's words: states, kinds, reasons. A value that is not listed is shown as it is."""

from __future__ import annotations

from platform_api.web.languages import say
from platform_api.web.words_entries import ENTRIES
from platform_api.web.words_gyms import GYMS
from platform_api.web.words_operations import OPERATIONS
from platform_api.web.words_work import WORK

WORDS: dict[str, dict[str, tuple[str, str]]] = {
    "role": {
        "customer": ("회원", "member"),
        "helper": ("도우미", "helper"),
        "branch_manager": ("지점장", "branch manager"),
        "operator": ("운영자", "operator"),
    },
    "kind": {
        "hanging": ("빨래 널기", "hanging laundry"),
        "sorting": ("빨래 분류", "sorting laundry"),
        "folding": ("빨래 개기", "folding laundry"),
    },
    "verdict": {
        "done": ("완료", "done"),
        "not_done": ("미완료", "not done"),
        "unclear": ("판단 못 함", "unclear"),
    },
    "verdict_reason": {
        "no_model": ("판정 모델이 아직 없습니다", "no model judges yet"),
        "kind_not_taught": ("모델이 배우지 않은 작업입니다", "the model was not taught this work"),
        "not_sure": ("확신이 없습니다", "not sure enough"),
        "out_of_kind": ("이 작업의 사진으로 보이지 않습니다", "does not look like this work"),
        "photo_unreadable": ("사진을 읽을 수 없습니다", "the photo cannot be read"),
        "photo_missing": ("사진이 없습니다", "the photo is missing"),
        "photo_damaged": ("사진이 손상되었습니다", "the photo is damaged"),
        "model_unavailable": ("판정 모델을 쓸 수 없었습니다", "the model was away"),
        "model_failed": ("판정 모델이 실패했습니다", "the model failed"),
    },
    "decided": {
        "waiting": ("결정 대기", "waiting"),
        "confirmed": ("확인", "confirmed"),
        "corrected": ("정정", "corrected"),
        "redo": ("다시 하기", "sent back"),
        "withdrawn": ("철회", "withdrawn"),
    },
    "block": {
        "unpaid": ("미납으로 제한", "blocked: unpaid"),
        "banned": ("이용 제한", "blocked"),
    },
    "mode": {
        "normal": ("정상 운영", "normal"),
        "lockdown": ("출입 통제", "lockdown"),
        "emergency_open": ("비상 개방", "emergency open"),
    },
    "branch_status": {
        "open": ("영업 중", "open"),
        "closed": ("휴업", "closed"),
        "preparing": ("준비 중", "in preparation"),
    },
    "outcome": {"granted": ("입장", "granted"), "denied": ("거부", "denied")},
    "entry_method": {
        "face": ("얼굴", "face"),
        "qr": ("QR", "QR"),
        "exit": ("나가기 버튼", "exit button"),
        "emergency": ("비상", "emergency"),
        "manual": ("수동", "by hand"),
    },
    "direction": {"in": ("들어옴", "in"), "out": ("나감", "out"), "both": ("양방향", "both ways")},
    "entry_reason": {
        "granted": ("얼굴로 확인", "recognised"),
        "granted_qr": ("QR로 확인", "by QR pass"),
        "exit": ("나감", "left"),
        "emergency_open": ("비상 개방 중", "emergency open"),
        "no_match": ("등록된 회원이 아님", "no member recognised"),
        "unsure": ("확실하지 않음", "not sure who"),
        "liveness_failed": ("실물 얼굴이 아님", "not a live face"),
        "liveness_unsure": ("실물 확인 못 함", "liveness unclear"),
        "lockout": ("여러 번 실패해 얼굴 잠금", "face paused after misses"),
        "no_face": ("얼굴이 보이지 않음", "no face seen"),
        "several_faces": ("여러 사람이 함께 섬", "several people"),
        "face_too_small": ("너무 멀리 섬", "too far away"),
        "blurred": ("흔들림", "blurred"),
        "too_dark": ("너무 어두움", "too dark"),
        "too_bright": ("너무 밝음", "too bright"),
        "turned_away": ("정면이 아님", "turned away"),
        "membership_none": ("이용권 없음", "no membership"),
        "membership_expired": ("이용권 만료", "membership expired"),
        "membership_not_started": ("이용권 시작 전", "membership not started"),
        "membership_frozen": ("휴회 중", "membership frozen"),
        "blocked_unpaid": ("미납", "payment due"),
        "blocked_banned": ("이용 제한", "banned"),
        "branch_not_allowed": ("이 지점 이용권이 아님", "membership not for this branch"),
        "outside_hours": ("이용 시간이 아님", "outside hours"),
        "anti_passback": ("이미 들어와 있음", "already inside"),
        "capacity_full": ("정원 초과", "branch full"),
        "lockdown": ("출입 통제 중", "lockdown"),
        "qr_expired": ("만료된 QR", "QR expired"),
        "qr_not_yet_valid": ("아직 유효하지 않은 QR", "QR not valid yet"),
        "qr_replayed": ("이미 쓴 QR", "QR used before"),
        "qr_forged": ("위조된 QR", "forged QR"),
        "qr_wrong_branch": ("다른 지점의 QR", "QR of another branch"),
        "gate_unreachable": ("문이 응답하지 않음", "gate did not answer"),
        "gallery_unavailable": ("명단을 확인할 수 없었음", "gallery away"),
        "replica_damaged": ("장치 복구 중", "node being restored"),
        "log_unavailable": ("기록할 수 없었음", "log away"),
    },
    "equipment": {
        "ok": ("정상", "ok"),
        "suspect": ("의심", "suspect"),
        "fault": ("장애", "fault"),
        "recovered": ("복구됨", "recovered"),
        "maintenance": ("점검 중", "maintenance"),
    },
    "equipment_kind": {
        "treadmill": ("러닝머신", "treadmill"),
        "bike": ("자전거", "bike"),
        "elliptical": ("일립티컬", "elliptical"),
        "rower": ("로잉머신", "rower"),
        "stepper": ("스테퍼", "stepper"),
        "strength": ("근력 기구", "strength machine"),
        "shower": ("샤워", "shower"),
        "sauna": ("사우나", "sauna"),
        "washer": ("세탁기", "washer"),
        "dryer": ("건조기", "dryer"),
        "locker": ("사물함", "lockers"),
        "gate": ("출입문", "gate"),
        "kiosk": ("키오스크", "kiosk"),
        "camera": ("카메라", "camera"),
        "hvac": ("냉난방", "heating and cooling"),
        "lighting": ("조명", "lighting"),
        "network": ("네트워크", "network"),
        "defibrillator": ("심장충격기", "defibrillator"),
        "other": ("기타", "other"),
    },
    "severity": {"minor": ("경미", "minor"), "major": ("중대", "major"), "critical": ("긴급", "critical")},
    "fault": {
        "no_echo": ("응답 없음", "no answer"),
        "no_heartbeat": ("신호 없음", "no heartbeat"),
        "reported": ("스스로 알린 고장", "reported by itself"),
    },
    "stranger": {
        "member": ("회원", "a member"),
        "stranger": ("모르는 사람", "a stranger"),
        "dismissed": ("볼 것 없음", "nothing of interest"),
    },
    **GYMS,
    **ENTRIES,
    **WORK,
    **OPERATIONS,
}


def word(group: str, value: str | None) -> str:
    """What `value` of `group` is called."""
    if value is None:
        return "–"
    ko, en = WORDS.get(group, {}).get(value, (value, value))
    return say(ko, en)
