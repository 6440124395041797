"""How well the new face model tells people apart, beside the one that serves, on the very same photos of the very same people.

Figures as ISO/IEC 19795-1 has them, separately for two parts: `members` of the test split, whom the model was not taught with, and
`reference`, people of elsewhere whom nothing is ever taught with, so that what the pretrained model knew and the new one forgot is
seen. A rate that the comparisons are too few for is None and no number.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_bentos.face import calibration, evaluation, resampling
from ml_bentos.face.distributions import centre
from ml_bentos.face.population import Population
from ml_bentos.face.protocol import Embeddings
from ml_bentos.face.resampling import Trials
from ml_bentos.face.synthetic import filler

PARTS = ("members", "reference")
FMRS = {"1e-3": 1e-3, "1e-4": 1e-4, "1e-5": 1e-5}
FMR = "1e-3"
"""At which models are compared and groups are looked at: the rarest that a few dozen people can carry."""
FPIR = 0.003
GALLERIES = (1000, 10_000)
MEMBERS, SEARCH_DRAWS = 300, 24
"""People enrolled in a draw (never more than half), and draws: as many as make 300 people's searches enough for the FPIR."""
DET_POINTS = 41
LEAST_OF_A_GROUP = 30
"""People of a group with fewer of whom nothing is said of it."""

Raw = Mapping[str, Embeddings]
"""`members` and `reference`: embeddings without the population's mean taken off."""


def evaluated(new: Raw, live: Raw | None, groups: Mapping[str, str]) -> dict[str, Any]:
    """All figures, as JSON: {part: figures of the part}; a part without people is left out.

    Of a part: `people`, `photos`, `genuine`, `impostor` (comparisons); `new` and `live` (None without one), each with `fnmr`
    ({"1e-3": {"value", "low", "high", "threshold"} or None}), `eer`, `fnir` ({"1000": as fnmr}) and `det` ({"fmr": [...], "fnmr":
    [...]}); `gain` ({"fnmr": {"gain", "low", "high"} or None, "fnir_1000", "fnir_10000"}: by how much the rate of the new model is
    lower; None without a live one); `groups` ([{"group", "people", "too_few", "comparisons", "new": {"fnmr", "fmr"}, "live",
    "gain": {"fnmr", "fmr"}}]).

    Args:
        new: embeddings under the new model.
        live: of the same photos in the same order under the model that serves; None where none does.
        groups: of people, where it is known.

    Raises:
        ValueError: the two models were not shown the same photos, or of fewer than two people.
    """
    if live is not None:
        _same_photos(new, live)
    models = {"new": _Model(new)} | ({"live": _Model(live)} if live is not None else {})
    return {part: _part(models, part, groups) for part in PARTS if new.get(part)}


class _Model:
    """Normalised embeddings under a model, with the population and the templates of nobody that go with them."""

    def __init__(self, raw: Raw) -> None:
        together = {f"{part}/{person}": faces for part in PARTS for person, faces in raw.get(part, {}).items()}
        self.population: Population = calibration.population_of(together)
        self.embeddings = {part: centre(raw.get(part, {}), self.population.mean) for part in PARTS}
        nobody = filler(self.population, max(GALLERIES), seed=7)
        self.filler = {size: nobody[:size] for size in GALLERIES}

    def trials(self, part: str) -> tuple[Trials, dict[int, Trials]]:
        """One against one, and by gallery size one against many. Strangers to the members are the people of the reference set too."""
        faces = self.embeddings[part]
        strangers = self.embeddings["reference"] if part == "members" else {}
        return (
            resampling.comparisons(faces, self.population),
            resampling.searches(faces, strangers, self.population, self.filler, MEMBERS, SEARCH_DRAWS),
        )


def _part(models: Mapping[str, _Model], part: str, groups: Mapping[str, str]) -> dict[str, Any]:
    faces = models["new"].embeddings[part]
    people = sorted(faces)
    drawn = resampling.people_drawn(len(people))
    strangers = len(models["new"].embeddings["reference"]) if part == "members" else 0
    searched = np.hstack([drawn, resampling.people_drawn(strangers, seed=1)]) if strangers else drawn
    verified: dict[str, Trials] = {}
    rates: dict[str, dict[str, NDArray[np.float64] | None]] = {}
    out: dict[str, Any] = {"people": len(people), "photos": sum(map(len, faces.values())), "live": None, "gain": None}
    for name, model in models.items():
        one, many = model.trials(part)
        verified[name] = one
        again = {key: _again(one, fmr, drawn) for key, fmr in FMRS.items()}
        again |= {f"fnir_{size}": _again(many.get(size), FPIR, searched) for size in GALLERIES}
        rates[name] = again
        out |= {"genuine": len(one.genuine), "impostor": len(one.impostor)}
        out[name] = {
            "fnmr": {key: _rate(one, fmr, again[key]) for key, fmr in FMRS.items()},
            "eer": _eer(one),
            "fnir": {str(size): _rate(many.get(size), FPIR, again[f"fnir_{size}"]) for size in GALLERIES},
            "det": _det(one),
        }
    if "live" in models:
        out["gain"] = {
            name: _gain(out, rates, key, way)
            for name, key, way in (
                ("fnmr", FMR, ("fnmr", FMR)),
                *((f"fnir_{size}", f"fnir_{size}", ("fnir", str(size))) for size in GALLERIES),
            )
        }
    out["groups"] = _groups(verified, people, groups)
    return out


def _again(trials: Trials | None, rate: float, drawn: NDArray[np.float32]) -> NDArray[np.float64] | None:
    return trials.missed_again(rate, drawn) if trials is not None and trials.supports(rate) else None


def _rate(trials: Trials | None, rate: float, again: NDArray[np.float64] | None) -> dict[str, float] | None:
    if trials is None or again is None:
        return None
    low, high = resampling.limits(again)
    value = trials.missed(rate)
    if value == 0:
        # No error seen: the rule of three of ISO/IEC 19795-1, of people, as one's photos are no trials of their own.
        high = max(high, min(1.0, 3 / len(np.unique(trials.owner))))
    return {"value": _short(value), "low": _short(low), "high": _short(high), "threshold": _short(trials.cut(rate))}


def _gain(
    out: Mapping[str, Any],
    rates: Mapping[str, Mapping[str, NDArray[np.float64] | None]],
    key: str,
    way: tuple[str, str],
) -> dict[str, float] | None:
    new, live = rates["new"][key], rates["live"][key]
    if new is None or live is None:
        return None
    low, high = resampling.limits(live - new)
    before, after = (out[name][way[0]][way[1]]["value"] for name in ("live", "new"))
    return {"gain": _short(before - after), "low": _short(low), "high": _short(high)}


def _eer(trials: Trials) -> float | None:
    if not len(trials.genuine) or not len(trials.impostor):
        return None
    return _short(evaluation.equal_error_rate(trials.genuine, trials.impostor))


def _det(trials: Trials) -> dict[str, list[float]]:
    """FNMR over FMR, from 1 down to where one impostor comparison in the set is accepted."""
    if not len(trials.genuine) or not len(trials.impostor):
        return {"fmr": [], "fnmr": []}
    fmrs = np.logspace(-max(1.0, np.log10(len(trials.impostor))), 0, DET_POINTS)
    return {"fmr": [_short(fmr) for fmr in fmrs], "fnmr": [_short(trials.missed(fmr)) for fmr in fmrs]}


def _groups(verified: Mapping[str, Trials], people: list[str], groups: Mapping[str, str]) -> list[dict[str, Any]]:
    """Error rates of each group at the threshold of all: of its people with themselves, and as strangers to everybody."""
    belongs = np.array([groups.get(person, "") for person in people])
    out: list[dict[str, Any]] = []
    for group in sorted(set(belongs) - {""}):
        chosen = np.flatnonzero(belongs == group)
        row: dict[str, Any] = {"group": str(group), "people": len(chosen), "too_few": True}
        out.append(row)
        if len(chosen) < LEAST_OF_A_GROUP or not all(trials.supports(FMRS[FMR]) for trials in verified.values()):
            continue
        drawn = resampling.people_drawn(len(chosen))
        again = {name: _at_the_threshold(trials, chosen, drawn) for name, trials in verified.items()}
        row["too_few"] = False
        row["comparisons"] = {kind: total for kind, (_, _, total) in again["new"].items()}
        for name, kinds in again.items():
            row[name] = {kind: _or_none(value) for kind, (value, _, _) in kinds.items()}
        if "live" in again:
            row["gain"] = {kind: _difference(again["live"][kind], again["new"][kind]) for kind in ("fnmr", "fmr")}
    return out


_Again = tuple[float, NDArray[np.float64], int]
"""A rate, its bootstrap values, and the number of comparisons."""


def _at_the_threshold(trials: Trials, chosen: NDArray[np.intp], drawn: NDArray[np.float32]) -> dict[str, _Again]:
    cut = np.float32(trials.cut(FMRS[FMR]))
    found = {}
    for kind, whose, wrong in (
        ("fnmr", trials.owner, trials.genuine <= cut),
        ("fmr", trials.probe, trials.impostor > cut),
    ):
        wrongs = np.bincount(whose[wrong], minlength=trials.people)[chosen].astype(np.float64)
        totals = np.bincount(whose, minlength=trials.people)[chosen].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[kind] = (
                float(np.divide(wrongs.sum(), totals.sum())),
                np.asarray((drawn @ wrongs) / (drawn @ totals), np.float64),
                int(totals.sum()),
            )
    # As few as that carry no rate of one in a thousand.
    if found["fmr"][2] * FMRS[FMR] < resampling.LEAST_EXPECTED:
        found["fmr"] = (float("nan"), *found["fmr"][1:])
    return found


def _difference(live: _Again, new: _Again) -> dict[str, float] | None:
    if np.isnan(live[0]) or np.isnan(new[0]):
        return None
    low, high = resampling.limits(live[1] - new[1])
    return {"gain": _short(live[0] - new[0]), "low": _short(low), "high": _short(high)}


def _same_photos(new: Raw, live: Raw) -> None:
    for part in PARTS:
        if _counts(new.get(part, {})) != _counts(live.get(part, {})):
            raise ValueError(f"the two models were not shown the same photos of the {part}")


def _counts(embeddings: Embeddings) -> dict[str, int]:
    return {person: len(vectors) for person, vectors in embeddings.items()}


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else _short(value)


def _short(value: float | np.floating[Any]) -> float:
    return float(f"{float(value):.6g}")
