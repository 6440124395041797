"""What `smartfit capacity` tells of a fleet: as a document for programs, and as text for people."""

import math
from dataclasses import asdict
from typing import Any

from infra.capacity.document import number, seconds, shown, size
from infra.capacity.figures import Figures
from infra.capacity.fleet import Fleet, demand
from infra.capacity.parts import loads
from infra.capacity.scenarios import Found
from infra.capacity.storage import storage
from infra.capacity.validation import Compared


def document(
    fleet: Fleet, figures: Figures, target: float, checked: list[Compared], found: list[Found]
) -> dict[str, Any]:
    """Everything, for JSON."""
    parts = loads(fleet, figures, target)
    return {
        "gyms": fleet.gyms,
        "members": fleet.members,
        "target": target,
        "validation": [{**asdict(each), "error": round(each.error, 4), "holds": each.holds} for each in checked],
        "valid": all(each.holds for each in checked),
        "demand": {name: asdict(rate) for name, rate in demand(fleet, figures).items()},
        "first_to_give": parts[0].part.name,
        "parts": [
            {
                "part": each.part.name,
                "unit": each.part.unit,
                "erlang": round(each.erlang, 4),
                "units": each.units,
                "most": each.part.most,
                "utilisation": round(each.utilisation, 4),
                **({"p50_s": each.p50_s, "p95_s": each.p95_s, "p99_s": each.p99_s} if each.part.timed else {}),
                "gyms_of_one_unit": None if math.isinf(each.gyms_of_one) else each.gyms_of_one,
                "turn": each.part.turn,
            }
            for each in parts
        ],
        "storage": [asdict(each) for each in storage(fleet, figures)],
        "scenarios": {each.name: each.figures for each in found},
    }


def text(told: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{told['gyms']:,} gyms, {told['members']:,} members, target {told['target']:.0%}",
        "",
        "측정값 재현 (measured on one machine, and simulated):",
        *(
            f"  {'ok    ' if row['holds'] else 'OUT OF'} {row['what']:44} {number(row['measured']):>8} {row['unit']:3}"
            f" simulated {number(row['simulated']):>8} ({row['error']:+.0%}, let pass {row['tolerance']:.0%})"
            for row in told["validation"]
        ),
        "",
        "필요한 수 (units needed, the first to give first):",
        f"  {'part':26} {'unit':20} {'busy units':>10} {'units':>7} {'busy':>5}  P50 / P95 / P99",
    ]
    for part in told["parts"]:
        times = " / ".join(seconds(part[name]) for name in ("p50_s", "p95_s", "p99_s")) if "p50_s" in part else "-"
        over = (
            f"  만 {part['most']}개까지 (only {part['most']} can share it)"
            if part["most"] and part["units"] > part["most"]
            else ""
        )
        lines.append(
            f"  {part['part']:26} {part['unit']:20} {number(part['erlang']):>10} {part['units']:>7,}"
            f" {part['utilisation']:>5.0%}  {times}{over}"
        )
    first = told["parts"][0]
    lines += [
        "",
        f"가장 먼저 한계에 닿는 곳 (first to give): {first['part']}, one {first['unit']} to {number(first['gyms_of_one_unit'] or math.inf)} gyms",
        f"  무엇을 늘리나 (what to turn): {first['turn']}",
        "",
        "저장 (kept, and a year's worth):",
        *(f"  {kept['what']:36} {size(kept['bytes']):>10} {size(kept['a_year']):>10}" for kept in told["storage"]),
    ]
    for name, figures in told["scenarios"].items():
        lines += ["", f"{name}:", *(f"  {key:24} {shown(value)}" for key, value in figures.items())]
    return "\n".join(lines)
