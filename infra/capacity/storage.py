"""Bytes a fleet keeps: what a row takes with its indexes as measured, times how many there are, for as long as they are kept."""

from dataclasses import dataclass

from infra.capacity.figures import Figures
from infra.capacity.fleet import DAY_S, YEAR_D, Fleet, demand
from infra.capacity.settings import subscribers


@dataclass(frozen=True)
class Kept:
    """bytes: once the time of keeping is over, so that as much goes as comes; a_year: what comes in a year."""

    what: str
    bytes: float
    a_year: float
    formula: str


def storage(fleet: Fleet, figures: Figures) -> list[Kept]:
    """What is kept, largest first."""
    f = figures
    d = demand(fleet, f)
    day = d["visits_day"].value / f["busy_day_factor"] * (1.0 + f["exits_per_visit"])
    events = day * f["events_per_entry"]
    heard = len(subscribers("access.AccessGranted"))
    faces = d["faces"].value
    requests = (d["feed_looks"].value + d["log_entries"].value + d["searches"].value) * DAY_S
    processes = fleet.gyms * f["nodes_per_gym"] + f["centre_processes"]
    samples = processes * f["series_per_process"] * DAY_S / f["scrape_s"]
    photos = d["photos_day"].value

    def over(days: float, bytes_a_day: float, what: str, formula: str) -> Kept:
        return Kept(what, bytes_a_day * days, bytes_a_day * YEAR_D, formula)

    found = [
        over(f["entries_keep_days"], day * f["entry_row_bytes"], "entries", "log entries a day × entry_row_bytes"),
        over(f["events_keep_days"], events * f["outbox_row_bytes"], "outbox", "events a day × outbox_row_bytes"),
        over(
            f["events_keep_days"], events * heard * f["inbox_row_bytes"], "inboxes",
            "events a day × subscribers × inbox_row_bytes",
        ),
        over(
            f["audit_keep_days"],
            fleet.members * f["audited_acts_per_member_year"] / YEAR_D * (f["audit_row_bytes"] + f["audit_seal_bytes"]),
            "audit trail", "members × audited_acts_per_member_year × (audit_row_bytes + audit_seal_bytes)",
        ),
        Kept(
            "templates, sealed (auth)", faces * f["template_sealed_bytes"], faces * f["template_sealed_bytes"] * f["joins_per_year"],
            "faces × template_sealed_bytes",
        ),
        Kept(
            "gallery (access, a model version)", faces * f["template_row_bytes"], faces * f["template_row_bytes"] * f["joins_per_year"],
            "faces × template_row_bytes",
        ),
        Kept(
            "crops, sealed (objects)", faces * f["crops_per_face"] * f["crop_sealed_bytes"],
            faces * f["crops_per_face"] * f["crop_sealed_bytes"] * f["joins_per_year"],
            "faces × crops_per_face × crop_sealed_bytes",
        ),
        over(f["photos_keep_days"], photos * f["helper_photo_bytes"], "helper photos (objects)", "photos_day × helper_photo_bytes"),
        over(f["logs_keep_days"], requests * f["log_line_bytes"] * 2, "logs", "requests a day × 2 lines × log_line_bytes"),
        over(f["metrics_keep_days"], samples * f["sample_bytes"], "metrics", "processes × series_per_process × 86400 / scrape_s × sample_bytes"),
        over(
            f["traces_keep_days"], requests * f["traced_share"] * f["spans_per_request"] * f["span_bytes"], "traces",
            "requests a day × traced_share × spans_per_request × span_bytes",
        ),
    ]  # fmt: skip
    return sorted(found, key=lambda kept: -kept.bytes)
