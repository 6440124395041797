"""The ledger of rewards, as hypothesis plays it, in the real database."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy.exc import DBAPIError

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.helper import ledger


class Books(RuleBasedStateMachine):
    """Rewards and withdrawals in any order, against a model of two numbers a helper."""

    @initialize()
    def begin(self) -> None:
        self.name = f"helper-{clock.now().timestamp()}"
        with unit_of_work("helper") as session:
            self.accounts = ledger.accounts(session, self.name)
        self.available = self.held = self.made = 0

    def move(self, reference: str, lines: dict[str, int]) -> bool:
        try:
            with unit_of_work("helper") as session:
                return ledger.post(session, "test", f"{self.name}:{reference}", lines)
        except DBAPIError as error:
            if error.orig.pgcode != "SF003":  # type: ignore[union-attr]
                raise
            return False

    @rule(task=st.integers(0, 5), won=st.integers(1, 10_000))
    def reward(self, task: int, won: int) -> None:
        if self.move(f"reward:{task}", {self.accounts["available"]: won, ledger.REWARDS: -won}):
            self.available += won

    @rule(won=st.integers(1, 12_000))
    def hold(self, won: int) -> None:
        self.made += 1
        done = self.move(f"hold:{self.made}", {self.accounts["available"]: -won, self.accounts["held"]: won})
        assert done == (won <= self.available)
        if done:
            self.available, self.held = self.available - won, self.held + won

    @rule(won=st.integers(1, 12_000), back=st.booleans())
    def close(self, won: int, back: bool) -> None:
        self.made += 1
        goes_to = self.accounts["available"] if back else ledger.PAYOUTS
        done = self.move(f"close:{self.made}", {self.accounts["held"]: -won, goes_to: won})
        assert done == (won <= self.held)
        if done:
            self.held -= won
            self.available += won if back else 0

    @invariant()
    def the_sum_is_the_balance(self) -> None:
        if hasattr(self, "name"):
            with unit_of_work("helper") as session:
                assert ledger.balance_of(session, self.name) == ledger.Balance(self.available, self.held)
                assert ledger.trial_balance(session)["total"] == 0
