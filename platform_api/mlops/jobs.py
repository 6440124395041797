"""What this domain does again and again."""

from datetime import timedelta

from platform_api.core.database import unit_of_work
from platform_api.core.jobs import every
from platform_api.mlops import audits, confirmations, figures, following, rollout, shadowing


@every("mlops", timedelta(seconds=1))
def roll_out() -> None:
    """Carry out deployments, send trials on, end watches; serve what another worker made live."""
    rollout.evaluate()
    rollout.carry_out()
    rollout.follow()


@every("mlops", timedelta(seconds=1))
def score_shadows() -> None:
    """Let the version on trial look at what has its verdict already."""
    shadowing.score()


@every("mlops", timedelta(seconds=2))
def follow_trainings() -> None:
    """Hand trainings to Dagster, and follow them."""
    following.follow()


@every("mlops", timedelta(minutes=1))
def measure() -> None:
    """Tell which versions serve and how often people agree with them."""
    with unit_of_work("mlops") as session:
        figures.measure(session)


@every("mlops", timedelta(hours=6))
def forget() -> None:
    """Delete verdicts, logs and reports past their time."""
    with unit_of_work("mlops") as session:
        confirmations.forget(session)
        following.forget(session)
        audits.forget(session)
