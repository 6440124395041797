"""What a kiosk's camera has seen lately: who counts as standing still, as gone, as answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from access_edge import visit
from access_edge.visit import Visit
from ml_bentos.face import Face


def face(x: float, y: float = 100.0, size: float = 120.0) -> Face:
    return Face(np.array([x, y, size, size], np.float32), np.zeros((5, 2), np.float32), 0.9)


@pytest.fixture
def begun() -> Visit:
    """A visit whose page has just looked."""
    made = Visit()
    assert made.begin("page", 100.0)
    return made


def test_a_face_counts_once_it_held_still(begun: Visit) -> None:
    assert begun.steady(face(100), b"one", 100.0) is None
    assert begun.steady(face(110), b"two", 100.3) == b"one"
    # It went on too fast, or too long ago.
    assert begun.steady(face(260), b"three", 100.6) is None
    assert begun.steady(face(260), b"four", 100.6 + visit.STILL_S + 0.1) is None
    begun.unsteady()
    assert begun.steady(face(260), b"five", 102.3) is None


def test_boxes_overlap_as_they_share() -> None:
    assert visit.overlap(face(0), face(0)) == pytest.approx(1.0)
    assert visit.overlap(face(0), face(60)) == pytest.approx(1 / 3)
    assert visit.overlap(face(0), face(500)) == 0.0


def test_somebody_is_gone_after_a_moment_without_a_face(begun: Visit) -> None:
    begun.face_at = 100.0
    begun.answer("granted", b"frame", 100.0, 2.0)
    begun.nobody(100.5)
    assert begun.answered is not None
    begun.nobody(100.0 + visit.GONE_S)
    assert begun.answered is None


def test_a_second_page_waits_until_the_first_is_silent(begun: Visit) -> None:
    assert not begun.begin("other", 101.0)
    assert begun.begin("page", 102.0)
    assert not begun.begin("other", 106.0)
    assert begun.begin("other", 102.0 + visit.PAGE_S)
    assert not begun.begin("page", 108.0)


def test_a_code_is_used_once_while_it_is_shown(begun: Visit) -> None:
    assert begun.fresh("a.b.c", 100.0)
    begun.code_answered("a.b.c", granted=True, now=100.0)
    assert begun.passed_by_code()
    for second in range(1, 20):
        begun.begin("page", 100.0 + second)
        assert not begun.fresh("a.b.c", 100.0 + second)
        assert begun.fresh("d.e.f", 100.0 + second)
    # Out of sight for a while: it is shown anew, and the node says that it was used.
    begun.begin("page", 119.0 + visit.CODE_GONE_S)
    assert begun.fresh("a.b.c", 119.0 + visit.CODE_GONE_S)
    assert not begun.passed_by_code()


class _Model:
    """Embeds every face as the vector it was given."""

    vector = np.array([1.0, 0.0], np.float32)

    def embed(self, _bgr: Any, _face: Any) -> Any:
        return self.vector


class _Bundle:
    model = _Model()
    thresholds = type("T", (), {"same_person": 0.4})


def test_who_was_answered_is_known_again_and_another_is_not(begun: Visit) -> None:
    bundle: Any = _Bundle()
    picture = np.zeros((4, 4, 3), np.uint8)
    assert not begun.told(bundle, picture, face(0), 100.0)
    begun.answer("denied", b"", 100.0, 3.0)
    assert begun.answered is not None
    begun.answered.vector = np.array([1.0, 0.0], np.float32)
    assert begun.told(bundle, picture, face(0), 104.0)
    bundle.model.vector = np.array([0.0, 1.0], np.float32)
    # Compared once a second: the model's work is not done at each look.
    assert begun.told(bundle, picture, face(0), 104.5)
    assert not begun.told(bundle, picture, face(0), 105.5)
    assert not begun.told(bundle, picture, face(0), 105.6)
    bundle.model.vector = np.array([1.0, 0.0], np.float32)
    assert begun.told(bundle, picture, face(0), 105.8)
    # In the end whoever is still there may be asked again.
    assert not begun.told(bundle, picture, face(0), 100.1 + visit.REPEAT_S["denied"])
