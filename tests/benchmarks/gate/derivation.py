"""`python -m tests.benchmarks.gate.derivation`: where the shipped thresholds come from, as tables.

They are read off the impostor distribution measured by `ml_bentos.face.calibration` on half of LFW (1,553 people, 4,506
photos; the module's docstring says how) and stored in the model's metadata; nothing is a constant in code. Choices made by
random draws of members, probes and strangers (20 to 60 draws each, mean TPIR at FPIR 0.3 %; K: least photos of a member,
one kept back; "10k": 300 members filled up to 10,000 by `ml_bentos.face.synthetic`; "real": 1,053 members, all real):

    what                                                       K=4      K=2
    first landmarks, mean template, mirror image               99.37    97.44   gallery 300
    + population mean taken off                                99.55    97.84   gallery 300
      ... rows by maximum in place of the mean template        99.38    97.46   gallery 300
      ... mean of the rows' scores                             99.23    97.98   gallery 300
      ... weighted by feature norm                             99.53    97.85   gallery 300
      ... whitened within people (other half), shrink 0.5      99.71    98.40   gallery 150; mean alone 99.71, 98.27
    + landmarks meaned over anchors at a face width of 70 px   99.78    98.60   gallery 300
                                                               99.62    97.57   10k
    + four views, each with landmarks of its own               99.67    98.08   10k
      ... and without normalisation of the probe               99.81    98.40   real
    + probe's scores normalised by its expected deviation      99.80    98.10   10k
    + views a little larger and smaller                        99.80    98.18   10k; each member's last photo: 99.68, 97.87

With two views, on 1,053 real members: plain cosine 99.72 and 98.20; normalised by the probe's deviation 99.81 and 98.28; by
the template's as well 99.76 and 98.27; less half the mean of the next 20 candidates (T-norm) 99.79 and 98.28; less all of the
next 5 99.74 and 98.05. The first is taken: it gains most, and needs the probe alone.
"""

from typing import Any

from ml_bentos.face import weights
from ml_bentos.face.population import load_metadata
from ml_bentos.face.thresholds import Thresholds
from tests.results import table

SIZES = (1, 100, 300, 1_000, 3_000, 10_000, 100_000)
FPIRS = (0.01, 0.003, 0.001, 0.0003)


def threshold_rows(thresholds: Thresholds) -> list[dict[str, Any]]:
    """The shipped threshold by gallery size and FPIR."""
    return [
        {"members": size, **{f"FPIR {fpir:.2%}": round(thresholds.accept(size, fpir), 4) for fpir in FPIRS}}
        for size in SIZES
    ]


def main() -> None:
    """Print the tables of the shipped model."""
    metadata = load_metadata(weights.DEFAULT)
    thresholds = Thresholds.from_dict(metadata["thresholds"])
    pairs = zip(thresholds.log10_fmr, thresholds.score, strict=True)
    table("Impostor distribution", [{"FMR": f"{10**x:.1e}", "score": score} for x, score in pairs])
    table("Thresholds", threshold_rows(thresholds))
    table("Random draws", [{"setting": name, **figures} for name, figures in metadata["metrics"].items()])
    for part in ("measured_on", "verification", "cross_validation"):
        table(part, [metadata[part]])


if __name__ == "__main__":
    main()
