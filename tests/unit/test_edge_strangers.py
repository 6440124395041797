"""Frames of strangers are handed over when nobody stands at the gate, and at the latest after a stated time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from access_edge.centre import Centre
from access_edge.clock import LearntClock
from access_edge.settings import EdgeSettings
from access_edge.strangers import LATEST, Strangers
from ml_bentos.face import Face
from platform_api.core import clock
from platform_api.core.encryption import Envelope, KeyRing
from platform_api.core.settings import load

FACE = Face(np.array([10, 10, 40, 40], np.float32), np.zeros((5, 2), np.float32), 0.9)


class TakingCentre(Centre):
    """A centre that takes every frame."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def send_stranger(self, jpeg: bytes, entry_id: str, gate_id: str, at: str) -> None:
        self.taken.append(entry_id)


@pytest.fixture
def centre() -> TakingCentre:
    return TakingCentre()


@pytest.fixture
def strangers(edge_values: dict[str, Any], centre: TakingCentre) -> Strangers:
    envelope = Envelope(KeyRing.from_file(edge_values["edge_keyring_file"]))
    made = Strangers(load(EdgeSettings, **edge_values), envelope, centre, LearntClock())
    for index in range(3):
        made.keep(np.zeros((100, 100, 3), np.uint8), FACE, f"entry-{index}", "g1")
    assert made.seal_waiting() == 3
    return made


def test_frames_wait_while_somebody_is_at_the_gate(strangers: Strangers, centre: TakingCentre) -> None:
    assert strangers.send(lambda: False) == 0
    assert (centre.taken, strangers.count()) == ([], 3)
    assert strangers.send(lambda: True) == 3
    assert (sorted(centre.taken), strangers.count()) == ([f"entry-{index}" for index in range(3)], 0)


def test_somebody_comes_while_frames_are_handed_over(strangers: Strangers, centre: TakingCentre) -> None:
    assert strangers.send(lambda: not centre.taken) == 1
    assert strangers.count() == 2


def test_frames_do_not_wait_for_ever(strangers: Strangers, centre: TakingCentre) -> None:
    with clock.travel(LATEST - timedelta(seconds=10)):
        assert strangers.send(lambda: False) == 0
    with clock.travel(LATEST + timedelta(seconds=10)):
        assert strangers.send(lambda: False) == 3
    assert strangers.count() == 0
