"""What the models do in service, for Prometheus: which version serves, and how often people agree with it."""

from datetime import timedelta

from prometheus_client import Gauge
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.mlops import confirmations
from platform_api.mlops.kinds import KINDS
from platform_api.mlops.models import OPEN, Deployment, Model, Training, Version

DAYS = 7
EXPECTED = "accuracy_answered"
"""The figure of a package that agreement in service is comparable with: both leave out where the model was not sure."""

LIVE = Gauge("smartfit_model_live", "1: this version serves", ["model", "version"])
AGREEMENT = Gauge(
    "smartfit_model_agreement_ratio",
    f"Share of its sure verdicts of {DAYS} days that people agreed with",
    ["model", "version"],
)
DECIDED = Gauge(
    "smartfit_model_decided", f"Sure verdicts of {DAYS} days that people decided about", ["model", "version"]
)
COVERAGE = Gauge(
    "smartfit_model_coverage_ratio", f"Share of verdicts of {DAYS} days in which it was sure", ["model", "version"]
)
EXPECTED_ACCURACY = Gauge(
    "smartfit_model_expected_accuracy_ratio", "Accuracy on the test set, where it was sure", ["model", "version"]
)


TRAININGS = Gauge("smartfit_trainings", f"Trainings asked for within {DAYS} days", ["model", "state"])
TRIALS = Gauge("smartfit_model_on_trial", "1: a deployment of this version is under way", ["model", "version", "stage"])
CORRECTIONS = Gauge(
    "smartfit_model_corrections", "Corrections since the last data set; enough of them start a training", ["model"]
)
GAUGES = (LIVE, AGREEMENT, DECIDED, COVERAGE, EXPECTED_ACCURACY, TRAININGS, TRIALS, CORRECTIONS)

Told = dict[Gauge, dict[tuple[str, ...], float]]


def measure(session: Session) -> None:
    """Set the gauges. Versions that have nothing to tell any more are left out."""
    told: Told = {gauge: {} for gauge in GAUGES}
    for model, version in session.execute(select(Model.model, Model.live_version)):
        if version is not None:
            told[LIVE][model, version] = 1
    for name in (name for name, kind in KINDS.items() if kind.judges):
        _judge(session, name, told)
        told[CORRECTIONS][(name,)] = confirmations.counter(session, name)["corrected"]
    recent = select(Training.model, Training.state, func.count()).where(
        Training.requested_at >= clock.now() - timedelta(days=DAYS)
    )
    for model, state, count in session.execute(recent.group_by(Training.model, Training.state)):
        told[TRAININGS][model, state] = count
    for under_way in session.scalars(select(Deployment).where(Deployment.state.in_(OPEN))):
        told[TRIALS][under_way.model, under_way.version, under_way.stage] = 1
    # All at once, so that hardly a scrape falls between the old figures and the new ones.
    for gauge, values in told.items():
        gauge.clear()
        for labels, value in values.items():
            gauge.labels(*labels).set(value)


def _judge(session: Session, model: str, told: Told) -> None:
    known = select(Version.version, Version.metrics).where(Version.model == model)
    metrics = {version: figures for version, figures in session.execute(known)}  # noqa: C416 - rows are no pairs
    sums: dict[str, dict[str, int]] = {}
    for row in confirmations.performance(session, model, DAYS):
        if row["model_version"] in metrics:
            of = sums.setdefault(row["model_version"], dict.fromkeys(("judged", "answered", "decided", "agreed"), 0))
            for key in of:
                of[key] += row[key]
    for version, of in sums.items():
        told[COVERAGE][model, version] = of["answered"] / of["judged"]
        told[DECIDED][model, version] = of["decided"]
        if of["decided"]:
            told[AGREEMENT][model, version] = of["agreed"] / of["decided"]
        if EXPECTED in metrics[version]:
            told[EXPECTED_ACCURACY][model, version] = metrics[version][EXPECTED]
