"""Branches and their equipment, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response

from platform_api.web.maps import Drawing, draw
from platform_api.web.operations import operations
from platform_api.web.operations.asking import answers, every, get, part
from platform_api.web.pages import for_roles, show

URGENT = ("fault", "suspect", "maintenance", "recovered", "ok")


@dataclass(frozen=True)
class Fleet:
    """What a branch has, as the map and the list show it. `level`: bad, warn, plain or good."""

    branch_id: str
    name: str
    level: str
    worst: str
    mode: str
    row: dict[str, Any]
    place: tuple[float, float] | None


@operations.get("/app/ops/fleet")
@for_roles("operator")
def fleet() -> Response:
    """All branches on a map and in a list."""
    return show("operations/fleet.html", **_fleet())


@operations.get("/app/ops/fleet/now")
@for_roles("operator")
def fleet_now() -> Response:
    """The part of it that is asked for again and again."""
    return part("operations/fleet_now.html", **_fleet())


@operations.get("/app/ops/fleet/<branch_id>")
@for_roles("operator")
def branch(branch_id: str) -> Response:
    """One branch."""
    return show("operations/branch.html", **_branch(branch_id))


@operations.get("/app/ops/fleet/<branch_id>/now")
@for_roles("operator")
def branch_now(branch_id: str) -> Response:
    """The part of it that is asked for again and again."""
    return part("operations/branch_now.html", **_branch(branch_id))


def _fleet() -> dict[str, Any]:
    found, away = answers({
        "monitoring": every("/monitoring/v1/overview"),
        "branch": every("/branch/v1/branches"),
        "access": get("/access/v1/branches"),
    })  # fmt: skip
    profiles = {row["branch_id"]: row for row in found.get("branch", [])}
    modes = {row["branch_id"]: row for row in found.get("access", {"items": []})["items"]}
    watched = {row["branch_id"]: row for row in found.get("monitoring", [])}
    known = [_of(key, watched.get(key), profiles.get(key), modes.get(key)) for key in {*watched, *profiles, *modes}]
    branches = sorted(known, key=_urgency)
    placed = [each for each in branches if each.place]
    totals = {
        "branches": len(branches),
        "equipment": sum(each.row["equipment"] for each in branches),
        "open_faults": sum(each.row["open_faults"] for each in branches),
        "unacknowledged": sum(each.row["unacknowledged"] for each in branches),
    }
    drawing: Drawing | None = draw([each.place for each in placed if each.place]) if placed else None
    return {"branches": branches, "placed": placed, "drawing": drawing, "totals": totals, "away": away}


_NOTHING: dict[str, Any] = {
    "equipment": 0,
    "by_state": {},
    "open_faults": 0,
    "unacknowledged": 0,
    "critical": 0,
    "oldest_open_since": None,
}


def _of(
    branch_id: str, watched: dict[str, Any] | None, profile: dict[str, Any] | None, gates: dict[str, Any] | None
) -> Fleet:
    row = watched or _NOTHING
    worst = next((state for state in URGENT if row["by_state"].get(state)), "ok")
    if row["open_faults"] or worst == "fault":
        level, worst = "bad", "fault"
    else:
        level = {"ok": "good", "recovered": "good", "suspect": "warn"}.get(worst, "plain")
    mode = (gates or {}).get("mode", "normal")
    if mode != "normal":
        level = "bad"
    place = (profile["latitude"], profile["longitude"]) if profile and profile.get("latitude") is not None else None
    name = next(each["name"] for each in (profile, watched, gates) if each)
    return Fleet(branch_id, name, level, worst, mode, row, place)


def _urgency(each: Fleet) -> tuple[Any, ...]:
    row = each.row
    states = [-row["by_state"].get(state, 0) for state in URGENT[:2]]
    return each.mode == "normal", -row["critical"], -row["unacknowledged"], -row["open_faults"], *states, each.name


def _branch(branch_id: str) -> dict[str, Any]:
    of = {"branch_id": branch_id}
    found, away = answers({
        "branch": get(f"/branch/v1/branches/{branch_id}"),
        "access": get(f"/access/v1/branches/{branch_id}"),
        "occupancy": get(f"/access/v1/branches/{branch_id}/occupancy"),
        "equipment": every("/monitoring/v1/equipment", **of),
        "faults": get("/monitoring/v1/faults", open="true", limit=50, **of),
        "edges": get("/access/v1/edges", **of),
        "gates": get("/access/v1/gates", **of),
        "strangers": get("/access/v1/strangers", undecided="true", limit=50, **of),
    })  # fmt: skip
    gone = [problem for problem in away.values() if problem.status == 404]
    if "branch" in away and "access" in away and gone:
        raise gone[0]
    items = sorted(found.get("equipment", []), key=lambda each: (URGENT.index(each["state"]), each["name"]))
    listed = {name: found[name]["items"] if name in found else [] for name in ("faults", "edges", "gates", "strangers")}
    listed["edges"] = [each for each in listed["edges"] if not each["revoked_at"]]
    names = {each["equipment_id"]: each["name"] for each in items}
    about = found.get("branch") or found.get("access") or {"name": branch_id}
    away = {name: problem for name, problem in away.items() if problem.status != 404}
    occupancy = found.get("occupancy")
    if occupancy:
        occupancy = {name: value for name, value in occupancy.items() if name != "as_of"}
    # Heard from within two minutes: to the minute, so that the part is the same while nothing happens.
    edges = [{**each, "last_seen_at": (each["last_seen_at"] or "")[:16]} for each in listed.pop("edges")]
    return {
        "branch_id": branch_id, "about": about, "gate_mode": found.get("access"), "occupancy": occupancy,
        "items": [_shown(each) for each in items], "names": names, "edges": edges, "away": away, **listed,
    }  # fmt: skip


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    kept = ("equipment_id", "name", "kind", "state", "since", "causes", "severity", "firmware")
    return {name: item[name] for name in kept} | {"loss": round(item["loss"] or 0, 2)}


def branch_names() -> dict[str, str]:
    """Names by id."""
    return {row["branch_id"]: row["name"] for row in every("/monitoring/v1/overview")()}
