"""Where the photos of the benchmarks of faces lie."""

import os
import sys
from pathlib import Path


def folder() -> Path:
    """LFW under SMARTFIT_DATA; ends the program, saying so, where it is not."""
    data = os.environ.get("SMARTFIT_DATA")
    path = Path(data or "") / "faces" / "lfw_home" / "lfw_funneled"
    if not data or not path.is_dir():
        sys.exit("SMARTFIT_DATA must name the folder of photos (faces/lfw_home/lfw_funneled lies in it)")
    return path
