"""What a gate node tells Prometheus, beside the request metrics that every process has."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_MS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.08, 0.12, 0.25, 0.5, 1.0, 3.0)

STAGE = Histogram("smartfit_edge_stage_seconds", "Time of each stage from frame to log", ["stage"], buckets=_MS)
DECISIONS = Counter("smartfit_edge_decisions_total", "Answers at the gates", ["method", "decision", "reason"])
LOOKS = Counter("smartfit_edge_kiosk_looks_total", "Frames of kiosks, by what was done with them", ["stage"])
MATCHES = Counter("smartfit_edge_matches_total", "Recognised faces by the gallery that held them", ["tier"])
GATE_COMMANDS = Counter("smartfit_edge_gate_commands_total", "Commands to gate controllers", ["command", "result"])
FEED_MALFORMED = Counter("smartfit_edge_feed_malformed_total", "Records of the feed that could not be read")
SWAP = Histogram(
    "smartfit_edge_swap_seconds",
    "Time to swap model, thresholds and index",
    buckets=(1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2),
)
SWAPS = Counter("smartfit_edge_model_swaps_total", "Swaps to a bundle of another model version", ["how"])
DOWNLOADS = Counter("smartfit_edge_model_downloads_total", "Packages fetched, by what became of them", ["result"])
SHADOW = Counter("smartfit_edge_shadow_frames_total", "Looks at the gate given to a model on trial", ["result"])
BUILD = Histogram("smartfit_edge_gallery_build_seconds", "Time to build an index beside the live one", buckets=_MS)
HIT_RATE = Gauge("smartfit_edge_cache_hit_ratio", "Share of recognised faces found in the cache")
GALLERY = Gauge("smartfit_edge_gallery_members", "Members in the live index", ["tier"])
SYNC_AGE = Gauge("smartfit_edge_replica_age_seconds", "Since the replica was as new as the centre; -1: never")
UNSENT = Gauge("smartfit_edge_entries_unsent", "Entries the centre does not have yet")
REJECTED = Gauge("smartfit_edge_entries_rejected", "Entries the centre refuses")
STRANGERS = Gauge("smartfit_edge_stranger_frames", "Sealed frames of strangers on this node")
CLOCK_OFFSET = Gauge("smartfit_edge_clock_offset_seconds", "The centre's time less the local clock")
DAMAGED = Gauge("smartfit_edge_replica_damaged", "1 while a damaged replica is being rebuilt")
