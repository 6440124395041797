"""What a fleet asks of the platform: from gyms and members to rates, by formulas that stand beside their results."""

from dataclasses import dataclass

from infra.capacity.figures import Figures
from infra.capacity.settings import SHARDS, SYNC_S, subscribers
from platform_api.monitoring.tracker import Rules

DAY_S, HOUR_S, YEAR_D = 86400.0, 3600.0, 365.0


class BadFleet(ValueError):
    """What is wrong with the fleet that was asked for."""


@dataclass(frozen=True)
class Fleet:
    """How many gyms, and members in all of them.

    Raises:
        BadFleet: fewer than one of either, or fewer members than gyms.
    """

    gyms: int
    members: int

    def __post_init__(self) -> None:
        if self.gyms < 1 or self.members < 1:
            raise BadFleet(
                f"gyms {self.gyms}, members {self.members}: 둘 다 1 이상이어야 합니다 (both must be at least 1)"
            )
        if self.members < self.gyms:
            raise BadFleet(
                f"회원 {self.members}명이 지점 {self.gyms}곳보다 적습니다 (fewer members than gyms: a gym has at least one)"
            )

    @classmethod
    def of(cls, gyms: int, figures: Figures) -> "Fleet":
        """With as many members a gym as are assumed."""
        return cls(gyms, round(gyms * figures["members_per_gym"]))


@dataclass(frozen=True)
class Rate:
    """A derived figure: its value, its unit, and the formula in the names of figures.json."""

    value: float
    unit: str
    formula: str


Demand = dict[str, Rate]


def demand(fleet: Fleet, figures: Figures) -> Demand:
    """What the fleet asks for at its peak hour, a second where no other unit is given."""
    f, gyms, members = figures, fleet.gyms, fleet.members
    peak = max(f.shares("hours"))
    visits_day = members * f["visits_per_member_year"] / YEAR_D * f["busy_day_factor"]
    visits_s = visits_day * peak / HOUR_S
    looks_s = visits_s * (1.0 - f["qr_share"]) * (1.0 + f["retry_share"])
    log_s = visits_s * (1.0 + f["exits_per_visit"])
    heard = len(subscribers("access.AccessGranted"))
    devices = gyms * f["devices_per_gym"]
    rules = Rules()
    nodes = gyms * f["nodes_per_gym"]
    photos_day = gyms * f["helper_tasks_per_gym_day"] * f["photos_per_task"]
    faces = members * f["face_share"]
    node_members = members / gyms * f["branches_per_membership"]
    # The feed is read by all nodes of all branches in the order of changes; who has none of his own passes them all.
    changes_s = min(float(gyms), log_s)
    return {
        "visits_day": Rate(visits_day, "/day", "members × visits_per_member_year / 365 × busy_day_factor"),
        "visits": Rate(visits_s, "/s", "visits_day × max(hours) / 3600"),
        "visits_gym_hour": Rate(visits_s / gyms * HOUR_S, "/hour", "visits × 3600 / gyms"),
        "looks": Rate(looks_s, "/s", "visits × (1 − qr_share) × (1 + retry_share)"),
        "looks_node": Rate(looks_s / nodes, "/s", "looks / (gyms × nodes_per_gym)"),
        "log_entries": Rate(log_s, "/s", "visits × (1 + exits_per_visit)"),
        "feed_looks": Rate(nodes / SYNC_S, "/s", "gyms × nodes_per_gym / edge_sync_interval_s"),
        "feed_passed": Rate(
            nodes / SYNC_S * changes_s * SYNC_S, "rows/s", "feed_looks × min(gyms, log_entries) × edge_sync_interval_s"
        ),
        "events": Rate(log_s * f["events_per_entry"], "/s", "log_entries × events_per_entry"),
        "deliveries": Rate(log_s * heard * f["events_per_entry"], "/s", "events × subscribers of AccessGranted"),
        "effects": Rate(log_s * f["events_per_entry"], "/s", "events, for each subscriber"),
        "devices": Rate(devices, "items", "gyms × devices_per_gym"),
        "echoes": Rate(devices / rules.interval, "/s", "gyms × devices_per_gym / echo_interval_s"),
        "heartbeats": Rate(
            devices / f["heartbeat_interval_s"], "/s", "gyms × devices_per_gym / heartbeat_interval_s"
        ),
        "devices_shard": Rate(devices / SHARDS, "items", "gyms × devices_per_gym / 64 shards"),
        "pushes": Rate(
            devices * f["faults_per_device_year"] * 2 / YEAR_D / DAY_S * f["alert_burst"]
            + members * f["pushes_per_member_day"] * peak / HOUR_S,
            "/s",
            "devices × faults_per_device_year × 2 / 365 / 86400 × alert_burst + members × pushes_per_member_day × max(hours) / 3600",
        ),
        "searches": Rate(
            members * f["searches_per_member_day"] * peak / HOUR_S,
            "/s",
            "members × searches_per_member_day × max(hours) / 3600",
        ),
        "photos_day": Rate(photos_day, "/day", "gyms × helper_tasks_per_gym_day × photos_per_task"),
        "photos": Rate(photos_day * peak / HOUR_S, "/s", "photos_day × max(hours) / 3600"),
        "faces": Rate(faces, "people", "members × face_share"),
        "gallery_branch": Rate(node_members * f["face_share"], "people", "members / gyms × branches_per_membership × face_share"),
        "node_first_sync": Rate(
            node_members * f["feed_bytes_member"], "bytes", "members / gyms × branches_per_membership × feed_bytes_member"
        ),
        "node_traffic": Rate(
            (f["feed_look_bytes"] / SYNC_S + log_s / nodes * f["entry_body_bytes"]) * DAY_S,
            "bytes/day",
            "(feed_look_bytes / edge_sync_interval_s + log_entries / nodes × entry_body_bytes) × 86400",
        ),
        "rollout": Rate(nodes * f["package_bytes"], "bytes", "nodes × package_bytes"),
    }  # fmt: skip
