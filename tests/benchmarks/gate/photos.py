"""The people of this benchmark: the same photos for our model and for its peer."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_bentos.face.protocol import photos_of


@dataclass(frozen=True)
class Cast:
    """members: enrolment photos (up to five) and the probe kept back, of each; strangers: one photo each."""

    members: list[tuple[list[Path], Path]]
    strangers: list[Path]


def folder() -> Path:
    """LFW under SMARTFIT_DATA; ends the program, saying so, where it is not."""
    data = os.environ.get("SMARTFIT_DATA")
    path = Path(data or "") / "faces" / "lfw_home" / "lfw_funneled"
    if not data or not path.is_dir():
        sys.exit("SMARTFIT_DATA must name the folder of photos (faces/lfw_home/lfw_funneled lies in it)")
    return path


def cast(members: int, strangers: int, min_photos: int, max_photos: int = 5, seed: int = 0) -> Cast:
    """A random cast; a member's last photo is the probe."""
    everyone = photos_of(folder())
    rng = np.random.default_rng(seed)
    eligible = [name for name, photos in everyone.items() if len(photos) >= min_photos]
    chosen = [eligible[i] for i in rng.permutation(len(eligible))[:members]]
    rest = sorted(set(everyone) - set(chosen))
    outside = [rest[i] for i in rng.permutation(len(rest))[:strangers]]
    return Cast([(everyone[n][:-1][:max_photos], everyone[n][-1]) for n in chosen], [everyone[n][-1] for n in outside])
