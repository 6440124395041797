"""How the errors of liveness are told."""

from collections.abc import Mapping
from typing import Any

Rows = list[dict[str, Any]]


def tables(result: dict[str, Any]) -> list[tuple[str, Rows]]:
    """What was taken for live and why the rest was not, on simulated heads and on photographs; passive liveness beside it."""
    number = result["number"]
    errors = [
        {
            "landmark noise, eye distances": noise,
            "BPCER %": 100 * each["bpcer"],
            "worst APCER %": 100 * each["worst_apcer"],
            "of the kind": each["worst_kind"],
        }
        for noise, each in result["active_errors"].items()
    ]
    told = [(f"Turning the head, simulated: {number} sequences of each kind", errors)]
    told += [
        (f"Landmark noise {noise}: taken for live, and why the rest was not", _rows(kinds))
        for noise, kinds in result["active_simulated"].items()
    ]
    photos = result["active_lfw"]
    counts = photos["numbers"]
    title = f"Turning the head, LFW: {counts['sequences']} sequences of heads, {counts['pictures']} pictures tilted"
    told.append((title, _rows({kind: reasons for kind, reasons in photos.items() if kind != "numbers"})))
    passive = result["passive_lfw"]
    if passive:
        told.append((f"One frame, LFW: {number} photos", [{"figure": k, "measured": round(v, 4)} for k, v in passive.items()]))  # fmt: skip
    return told


def _rows(kinds: Mapping[str, Mapping[str, float]]) -> Rows:
    """A row a kind: share accepted, then the reasons of the rest."""
    return [
        {
            "kind": kind,
            "ok %": 100 * reasons.get("ok", 0.0),
            "refused": ", ".join(f"{reason} {value:.1%}" for reason, value in reasons.items() if reason != "ok"),
        }
        for kind, reasons in kinds.items()
    ]
