"""Values that a schema cannot say how to make: keys, pictures, times to come, bodies that pass the rules of a domain.

By path, then by the name of the field, wherever in the request it stands; requests are made with them seven times in eight.
"""

import base64
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from schemathesis.transport.serialization import Binary

from platform_api.core import clock

PASSWORD = "한강-자전거-도로-27"
CARD = {"number": "4111111111111111", "expiry": "12/39"}
UNIT = base64.b64encode((np.ones(128) / np.sqrt(128)).astype("<f4").tobytes()).decode()
VECTOR = base64.b64encode(np.ones(128, "<f4").tobytes()).decode()

Values = dict[str, list[Any]]


def picture(seed: int) -> bytes:
    """A JPEG like no other."""
    grid = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(grid).resize((320, 240), Image.Resampling.BICUBIC).save(written, "JPEG")
    return written.getvalue()


def public_key(private: Ed25519PrivateKey | None = None) -> str:
    """A public key as it is registered; of a new pair where none is given."""
    key = (private or Ed25519PrivateKey.generate()).public_key()
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def in_hours(hours: float) -> str:
    """A time to come."""
    return (clock.now() + timedelta(hours=hours)).isoformat()


def accounts() -> dict[str, Values]:
    """Of the auth domain."""
    passwords: Values = {"password": [PASSWORD], "current_password": [PASSWORD], "new_password": ["또-다른-긴-암호-31"]}
    profile: Values = {"name": ["이바다"], "phone": ["+82 10-9876-5432"], "birth_date": ["1990-01-31"]}
    return {
        "/auth/v1/members": {
            **passwords, **profile, "email": [f"new{n}@example.com" for n in range(500)],
            "number": [CARD["number"]], "expiry": [CARD["expiry"]], "language": ["ko", "en"],
        },
        "/auth/v1/members/{member_id}": {**passwords, **profile, "email": [f"moved{n}@example.com" for n in range(500)]},
        "/auth/v1/members/{member_id}/password": passwords,
        "/auth/internal/v1/galleries/{version}/templates": {"vectors": [UNIT], "rows": [1]},
        "/auth/v1/tokens": {**passwords, "email": ["contract19@example.com"]},
    }  # fmt: skip


def doors() -> dict[str, Values]:
    """Of the access domain."""
    dates: Values = {
        "from": ["2030-01-01", "2031-01-01"], "until": ["2030-01-09", "2031-01-09"],
        "valid_from": ["2026-01-01"], "valid_until": ["2099-12-31", None],
    }  # fmt: skip
    gate: Values = {"controller_url": ["https://127.0.0.1:8448"], "branch_id": ["gangnam"], "minutes": [5.0]}
    probe: Values = {"vectors": [VECTOR], "dim": [128], "model_version": ["contract-1"]}
    return {
        "/access/v1/branches/{branch_id}": {"timezone": ["Asia/Seoul"]},
        "/access/v1/qr-passes": {"branch_id": ["gangnam"]},
        "/access/v1/memberships": {**dates, "branch_ids": [["gangnam"]], "hours": [{}]},
        "/access/v1/memberships/{membership_id}": {**dates, "branch_ids": [["gangnam"]], "hours": [{}]},
        "/access/v1/memberships/{membership_id}/freeze": dates,
        "/access/v1/edges": {"public_key": [public_key() for _ in range(100)]},
        "/access/v1/gates": gate,
        "/access/v1/gates/{gate_id}": gate,
        "/access/v1/edge/identify": probe,
        "/access/internal/v1/gallery/identify": probe,
    }


def work() -> dict[str, Values]:
    """Of helper, branch, search and mlops."""
    shots = [[Binary(picture(seed))] for seed in range(1000, 1040)]
    return {
        "/helper/v1/tasks": {"branch_id": ["gangnam"], "kind": ["hanging"], "photos": shots},
        "/helper/v1/withdrawals": {"won": [10_000]},
        "/branch/v1/branches": {"timezone": ["Asia/Seoul"], "hours": [{}], "prices": [[]]},
        "/branch/v1/branches/{branch_id}": {"timezone": ["Asia/Seoul"], "hours": [{}], "prices": [[]]},
        "/branch/v1/branches/{branch_id}/photos": {"photo": [shot[0] for shot in shots]},
        "/search/v1/branches/{branch_id}/reviews": {"branch_id": ["jongno"]},
        "/search/internal/v1/branches/{branch_id}/keywords": {
            "branch_id": ["gangnam"],
            "reviews": [[]],
            "words": [[]],
            "traits": [{}],
            "digest": ["0" * 64],
        },
        "/search/internal/v1/recommendations": {"version": ["v1"], "items": [[]]},
        "/mlops/v1/models/{model}/deployments": {"version": ["contract-1"]},
        "/mlops/v1/models/{model}/versions/{version}": {"version": ["contract-2"]},
    }


def machines() -> dict[str, Values]:
    """Of monitoring and notification."""
    window: Values = {"starts_at": [in_hours(1)], "ends_at": [in_hours(5)]}
    return {
        "/monitoring/v1/equipment": {"echo_url": ["https://127.0.0.1/echo"], "branch_id": ["gangnam"]},
        "/monitoring/v1/equipment/{equipment_id}": {"echo_url": ["https://127.0.0.1/echo"]},
        "/monitoring/v1/equipment/{equipment_id}/key": {"public_key": [public_key() for _ in range(100)]},
        "/monitoring/v1/maintenance-windows": {**window, "equipment_id": [None]},
        "/monitoring/v1/maintenance-windows/{window_id}": window,
        "/notification/v1/preferences": {
            "timezone": ["Asia/Seoul"], "quiet_from": ["22:00"], "quiet_until": ["08:00"], "kinds": [{}],
        },
    }  # fmt: skip


def by_path() -> dict[str, Values]:
    """All of them."""
    return {**accounts(), **doors(), **work(), **machines()}


def fill(names: Any, known: Values, number: int) -> None:
    """Put known values in place of those made up, in objects and lists of any depth, where their kind is the same."""
    for name, value in list(_pairs(names)):
        offered = known.get(name) if isinstance(name, str) else None
        chosen = offered[number % len(offered)] if offered else ...
        if chosen is not ... and _alike(value, chosen):
            names[name] = chosen
        elif isinstance(value, dict | list):
            fill(value, known, number)


def _pairs(names: Any) -> Iterator[tuple[Any, Any]]:
    yield from names.items() if isinstance(names, dict) else enumerate(names)


def _alike(value: Any, chosen: Any) -> bool:
    # A file of a form may have been made up as a text.
    return value is None or chosen is None or isinstance(chosen, Binary) or isinstance(value, type(chosen))
