"""What the demonstration found: figures, a table, a plot. Terms are those of ISO/IEC 19795-1.

TPIR: part of the members' probes that were identified, rightly, at a threshold. FPIR: part of the strangers' probes
that were taken for some member. FNIR = 1 - TPIR.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Probe:
    """One photo sent to the gate, and what came back.

    Attributes:
        member_id: whose photo it is; None for a stranger.
        granted: whether the gate opened.
        identified: member the answer names.
        candidate: member the best score belongs to, opened or not.
        score: of the best candidate; None where no face was found.
        whole_ms: the answer as the client saw it.
        stages_ms: as the answer tells them.
    """

    photo: str
    member_id: str | None
    granted: bool
    reason: str
    identified: str | None
    candidate: str | None
    score: float | None
    whole_ms: float
    stages_ms: dict[str, float]


@dataclass
class Report:
    """All that was seen in one run."""

    gallery: int
    filler: str = "population"
    threshold: float | None = None
    probes: list[Probe] = field(default_factory=list)
    model_ms: list[float] = field(default_factory=list)
    rules: list[tuple[str, str, str]] = field(default_factory=list)
    """(what was tried, reason expected, reason given)"""
    errors: list[str] = field(default_factory=list)
    enrolled: int = 0
    not_enrolled: list[str] = field(default_factory=list)

    @property
    def genuine(self) -> list[Probe]:
        """Probes of members."""
        return [probe for probe in self.probes if probe.member_id is not None]

    @property
    def impostors(self) -> list[Probe]:
        """Probes of strangers."""
        return [probe for probe in self.probes if probe.member_id is None]

    def tpir(self) -> float:
        """At the threshold the gate ships with."""
        return _part([probe.granted and probe.identified == probe.member_id for probe in self.genuine])

    def fpir(self) -> float:
        """At the threshold the gate ships with."""
        return _part([probe.granted for probe in self.impostors])

    def tpir_at(self, fpir: float) -> float:
        """TPIR at the lowest threshold at which no more than `fpir` of the strangers are taken for a member."""
        strangers = sorted((_score(probe) for probe in self.impostors), reverse=True)
        allowed = int(np.floor(fpir * len(strangers) + 1e-9))
        limit = strangers[allowed] if allowed < len(strangers) else -np.inf
        return _part([probe.candidate == probe.member_id and _score(probe) > limit for probe in self.genuine])

    def wrong_decisions(self) -> list[str]:
        """Rules that were decided otherwise than they should, and members taken for somebody else."""
        wrong = [f"{what}: {given} ({expected})" for what, expected, given in self.rules if expected != given]
        taken = [p.photo for p in self.genuine if p.granted and p.identified != p.member_id]
        return wrong + [f"{photo}: taken for another member" for photo in taken]

    def figures(self) -> dict[str, Any]:
        """The JSON of `--json`."""
        whole = [probe.whole_ms for probe in self.probes] or [float("nan")]
        return {
            "members": self.enrolled,
            "strangers": len(self.impostors),
            "gallery": self.gallery,
            "filler": self.filler,
            "tpir": round(self.tpir(), 5),
            "fpir": round(self.fpir(), 5),
            "tpir_at_fpir_0_003": round(self.tpir_at(0.003), 5),
            "tpir_at_fpir_0_01": round(self.tpir_at(0.01), 5),
            "p50_ms": round(float(np.percentile(whole, 50)), 2),
            "p95_ms": round(float(np.percentile(whole, 95)), 2),
            "model_ms": round(float(np.median(self.model_ms)), 2) if self.model_ms else None,
            "wrong_decisions": len(self.wrong_decisions()),
            "errors": len(self.errors),
            "not_enrolled": len(self.not_enrolled),
            "stages_ms": self.stages(),
            "threshold": self.threshold,
            "missed": [_told(p) for p in self.genuine if not (p.granted and p.identified == p.member_id)],
            "strangers_nearest": [_told(p) for p in sorted(self.impostors, key=_score, reverse=True)[:10]],
        }

    def stages(self) -> dict[str, dict[str, float]]:
        """P50 and P95 of each stage in ms, in the order the gate tells them."""
        names = list(dict.fromkeys(name for probe in self.probes for name in probe.stages_ms))
        found = {name: [probe.stages_ms[name] for probe in self.probes if name in probe.stages_ms] for name in names}
        return {
            name: {"p50": round(float(np.percentile(ms, 50)), 2), "p95": round(float(np.percentile(ms, 95)), 2)}
            for name, ms in found.items()
        }


def write_json(report: Report, path: Path) -> None:
    """The figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.figures(), indent=2) + "\n", encoding="utf-8")


def print_tables(report: Report, console: Console) -> None:
    """The figures for people."""
    figures = report.figures()
    table = Table(title="얼굴 출입 (faces at the gate)", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for label, value in (
        ("등록 회원 (members enrolled)", str(figures["members"])),
        ("미등록 방문자 (strangers)", str(figures["strangers"])),
        ("갤러리 (gallery)", f"{figures['gallery']:,} ({figures['filler']})"),
        ("TPIR, 설정된 임계값 (at the set threshold)", f"{figures['tpir']:.2%}"),
        ("FPIR, 설정된 임계값 (at the set threshold)", f"{figures['fpir']:.2%}"),
        ("FNIR, 설정된 임계값 (at the set threshold)", f"{1 - figures['tpir']:.2%}"),
        ("TPIR @ FPIR 0.3 %", f"{figures['tpir_at_fpir_0_003']:.2%}"),
        ("TPIR @ FPIR 1 %", f"{figures['tpir_at_fpir_0_01']:.2%}"),
        ("전체 응답 (whole answer) P50 / P95", f"{figures['p50_ms']:.1f} / {figures['p95_ms']:.1f} ms"),
        ("모델만 (bare model calls)", f"{figures['model_ms'] or float('nan'):.1f} ms"),
    ):
        table.add_row(label, value)
    console.print(table)
    if figures["strangers"] < 300:
        console.print("[dim]방문자가 적어 FPIR 수치는 대략입니다 (too few strangers to tell small FPIRs apart).[/dim]")
    _print_stages(figures["stages_ms"], console)
    _print_rules(report, console)


def _print_stages(stages: dict[str, dict[str, float]], console: Console) -> None:
    table = Table(title="단계별 시간 (stages), ms", title_justify="left")
    for name in ("단계 (stage)", "P50", "P95"):
        table.add_column(name, justify="left" if name.startswith("단") else "right")
    for name, ms in stages.items():
        table.add_row(name, f"{ms['p50']:.2f}", f"{ms['p95']:.2f}")
    console.print(table)


def _print_rules(report: Report, console: Console) -> None:
    table = Table(title="출입 규칙 (rules)", title_justify="left")
    for name in ("시도 (tried)", "기대 (expected)", "결과 (answer)", ""):
        table.add_column(name)
    for what, expected, given in report.rules:
        table.add_row(what, expected, given, "[green]✓[/green]" if expected == given else "[red]✗[/red]")
    console.print(table)
    for line in report.wrong_decisions():
        console.print(f"[red]잘못된 결정 (wrong decision): {line}[/red]")
    for line in report.errors:
        console.print(f"[red]오류 (error): {line}[/red]")
    for line in report.not_enrolled:
        console.print(f"[yellow]등록 안 됨 (not enrolled): {line}[/yellow]")


def plot(report: Report, path: Path) -> None:
    """Score distributions and DET curve (ISO/IEC 19795-1) as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    genuine = np.array([_score(probe) for probe in report.genuine if probe.score is not None])
    impostor = np.array([_score(probe) for probe in report.impostors if probe.score is not None])
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    low, high = min(genuine.min(), impostor.min()), max(genuine.max(), impostor.max())
    bins = np.linspace(low, high, 60).tolist()
    left.hist(impostor, bins, alpha=0.6, density=True, label=f"strangers ({len(impostor)})", color="tab:red")
    left.hist(genuine, bins, alpha=0.6, density=True, label=f"members ({len(genuine)})", color="tab:green")
    if report.threshold is not None:
        left.axvline(report.threshold, color="black", linestyle="--", label=f"threshold {report.threshold:.3f}")
    left.set(xlabel="score of the best candidate", ylabel="density", title=f"Scores, gallery of {report.gallery:,}")
    left.legend()
    fpirs, fnirs = det_curve(report)
    right.step(fpirs, fnirs, where="post")
    right.set(xscale="log", yscale="log", xlabel="FPIR", ylabel="FNIR", title="DET curve (open set)")
    right.axvline(0.003, color="grey", linestyle=":", label="FPIR 0.3 %")
    right.plot(max(report.fpir(), fpirs[0]), max(1 - report.tpir(), fnirs.min()), "ko", label="as shipped")
    right.grid(visible=True, which="both", alpha=0.3)
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def det_curve(report: Report) -> tuple[np.ndarray, np.ndarray]:
    """FPIR and FNIR at every threshold that separates two strangers; zeros are drawn at half of one probe."""
    count = max(1, len(report.impostors))
    fpirs = np.arange(0, count + 1) / count
    fnirs = np.array([1 - report.tpir_at(fpir) for fpir in fpirs])
    half_genuine = 0.5 / max(1, len(report.genuine))
    return np.maximum(fpirs, 0.5 / count), np.maximum(fnirs, half_genuine)


def _score(probe: Probe) -> float:
    return probe.score if probe.score is not None else float("-inf")


def _told(probe: Probe) -> dict[str, Any]:
    own = None if probe.member_id is None else probe.candidate == probe.member_id
    return {"photo": probe.photo, "reason": probe.reason, "score": probe.score, "nearest_is_own": own}


def _part(hits: list[bool]) -> float:
    return float(np.mean(hits)) if hits else float("nan")
