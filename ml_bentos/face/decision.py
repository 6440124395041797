"""From candidates to a verdict: accept, ask for another look, or refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ml_bentos.face.gallery import Candidate
from ml_bentos.face.thresholds import Thresholds

Verdict = Literal["match", "unsure", "no_match"]
# The FPIR the gate is set to; `strict` (the full gallery after a miss at the branch's own) may err a tenth as often.
FPIR = 0.003
STRICT_FPIR = 0.0003


def decide(candidates: Sequence[Candidate], thresholds: Thresholds, gallery_size: int, strict: bool = False) -> Verdict:
    """The verdict on `candidates` (best first) of a gallery of `gallery_size` members.

    match: the best reaches the threshold and leads the runner-up by the margin. unsure: it reaches the threshold without
    the margin, or stays below by no more than the retry band; another frame may settle it. no_match: neither.
    """
    if not candidates:
        return "no_match"
    best = candidates[0].score
    threshold = thresholds.accept(gallery_size, STRICT_FPIR if strict else FPIR)
    if best < threshold - thresholds.retry_band:
        return "no_match"
    lead = best - candidates[1].score if len(candidates) > 1 else float("inf")
    return "match" if best >= threshold and lead >= thresholds.margin else "unsure"
