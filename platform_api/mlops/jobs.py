"""What this domain does again and again."""

from datetime import timedelta

from platform_api.core.database import unit_of_work
from platform_api.core.jobs import every
from platform_api.mlops import confirmations, rollout, supervision


@every("mlops", timedelta(seconds=1))
def roll_out() -> None:
    """Carry out deployments; serve what another worker made live."""
    rollout.carry_out()
    rollout.follow()


@every("mlops", timedelta(seconds=2))
def supervise_trainings() -> None:
    """Start, follow and end trainings."""
    supervision.supervise()


@every("mlops", timedelta(hours=6))
def forget() -> None:
    """Delete verdicts and logs past their time."""
    with unit_of_work("mlops") as session:
        confirmations.forget(session)
        supervision.forget(session)
