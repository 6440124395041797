"""What came of the demonstration: as JSON, and as a table for who started it.

download_to_live_s is what a version takes of itself, from its package in the object store to being ready to serve; how long it
is tried as a shadow hangs on the work that comes in, and is told beside it.
"""

from dataclasses import dataclass, field
from typing import Any

from infra.local import console as out
from infra.local.credentials import OPERATOR_EMAIL
from infra.local.state import State


@dataclass
class Found:
    """What came of it; the JSON of the demonstration."""

    labels_before: int
    corrections: int = 0
    accuracy_before: float = 0.0
    accuracy_after: float = 0.0
    gain_low: float = 0.0
    gain_high: float = 0.0
    sensor_started: bool = False
    train_s: float = 0.0
    download_to_live_s: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        own = {name: value for name, value in vars(self).items() if name != "more"}
        return {**own, **self.more}


def show(found: Found, state: State) -> None:
    """Print it, with where to look."""
    more = found.more
    out.say("모델이 스스로 배웠습니다.", "the model has learnt by itself", "green")
    rows = [
        ("처음 라벨 (labels before)", f"{found.labels_before}"),
        ("수정 (corrections)", f"{found.corrections}"),
        ("정확도 전 (accuracy before)", _rate(found.accuracy_before, more["accuracy_before_interval"])),
        ("정확도 후 (accuracy after)", _rate(found.accuracy_after, more["accuracy_after_interval"])),
        ("차이의 95 % 구간 (gain)", f"{found.gain_low:+.1%} … {found.gain_high:+.1%}"),
        ("시험 사진 (frozen split)", f"{more['test_photos']} of {more['test_helpers']} helpers"),
        (
            "현장에서 맞은 비율 (right at work)",
            f"{more['agreed_at_work_before']['right_of_all']:.1%} → {more['agreed_at_work_after']['right_of_all']:.1%}",
        ),
        ("센서가 시작 (started by the sensor)", "예 (yes)" if found.sensor_started else "아니오 (no)"),
        ("학습 라인 (line)", f"{found.train_s:.0f} s"),
        ("받아서 준비까지 (fetched, ready)", f"{found.download_to_live_s:.2f} s"),
        ("배포 단계 (stages, s)", "  ".join(map(_stage, more["stages"]))),
        ("단계별 (steps, s)", "  ".join(f"{name} {value:.0f}" for name, value in more["seconds"].items())),
        ("Dagster", str(more["run"])),
        ("로그인 (log in)", f"{OPERATOR_EMAIL}, {state.secrets / 'operator_password'}"),
        ("멈추기 (stop)", f"smartfit down --state {state.folder}"),
    ]
    for label, value in rows:
        out.console.print(f"  {label:<36} [bold]{value}[/bold]")


def _rate(rate: float, interval: tuple[float, float]) -> str:
    return f"{rate:.1%} ({interval[0]:.1%} … {interval[1]:.1%})"


def _stage(stage: dict[str, Any]) -> str:
    return str(stage["state"]) + (f" {stage['seconds']:.1f}" if stage["seconds"] is not None else "")
