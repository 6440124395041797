"""Two plots of a fleet: what each part's units are busy with as gyms are added, and an entry's way at the peak hour."""

from pathlib import Path

import numpy as np

from infra.capacity.distributions import Floats
from infra.capacity.figures import Figures
from infra.capacity.fleet import Fleet
from infra.capacity.parts import loads

SCALES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)


def units_by_gyms(figures: Figures, target: float, place: Path) -> Path:
    """Units of each part over the number of gyms, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.0, 5.0), layout="constrained")
    found = [loads(Fleet.of(gyms, figures), figures, target) for gyms in SCALES]
    for first in found[0]:
        units = [next(each.units for each in at if each.part is first.part) for at in found]
        axes.plot(SCALES, units, marker="o", markersize=3, label=f"{first.part.name} ({first.part.unit})")
    axes.set(xscale="log", yscale="log", xlabel="gyms", ylabel=f"units at {target:.0%} utilisation")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=120)
    pyplot.close(figure)
    return place


def times(named: dict[str, Floats], place: Path) -> Path:
    """Share of times that are longer, over the time, by name (seconds)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.0, 4.0), layout="constrained")
    for name, values in named.items():
        ordered = np.sort(values) * 1000.0
        axes.plot(ordered, 1.0 - np.arange(len(ordered)) / len(ordered), label=name)
    axes.set(xscale="log", yscale="log", xlabel="ms", ylabel="share that takes longer")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=120)
    pyplot.close(figure)
    return place
