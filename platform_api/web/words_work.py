"""Words of helpers' tasks and money; see words.py."""

from __future__ import annotations

WORK: dict[str, dict[str, tuple[str, str]]] = {
    "task_state": {
        "submitted": ("AI 판정 중", "being judged"),
        "judged": ("지점장 확인 대기", "waiting for the manager"),
        "confirmed": ("확인됨", "confirmed"),
        "corrected": ("정정됨", "corrected"),
        "redo": ("다시 하기", "sent back"),
        "expired": ("기한 지남", "expired"),
    },
    "ledger": {
        "reward": ("작업 보상", "reward"),
        "adjustment": ("조정", "adjustment"),
        "withdrawal_requested": ("출금 신청", "withdrawal"),
        "withdrawal_rejected": ("출금 거절, 돌려받음", "withdrawal rejected, given back"),
        "withdrawal_cancelled": ("출금 취소, 돌려받음", "withdrawal cancelled, given back"),
    },
    "withdrawal": {
        "requested": ("처리 대기", "waiting"),
        "approved": ("지급됨", "paid"),
        "rejected": ("거절됨", "rejected"),
        "cancelled": ("취소됨", "cancelled"),
    },
}
