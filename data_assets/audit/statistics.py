"""What is much for somebody, measured by what they themselves usually do.

Counts of acts are near a Poisson distribution, or wider. Their variance is made the same everywhere by Anscombe's transform,
2 sqrt(x + 3/8) (F. J. Anscombe, "The transformation of Poisson, binomial and negative-binomial data", Biometrika 35, 1948);
on it stands the modified z-score with median and MAD (B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle Outliers",
1993, who call what is above 3.5 an outlier). The spread is 1 at least, as it is in the transform of a Poisson count, so that
somebody whose days are all alike is not taken for unusual at the first day with one act more.
"""

import math
from collections.abc import Sequence
from statistics import median

OUTLIER = 3.5
LEAST_DAYS = 7
"""Days with acts in a history below which it says nothing of what is usual."""
_NORMAL = 1.4826
"""MAD of a normal distribution to its standard deviation."""


def anscombe(count: float) -> float:
    """The transform; its variance is 1 where the count is of a Poisson distribution."""
    return 2.0 * math.sqrt(count + 0.375)


def score(count: int, history: Sequence[int]) -> float | None:
    """How far a day's count lies above the usual, in robust standard deviations; None with too short a history.

    history: counts of earlier days on which there were any.
    """
    if len(history) < LEAST_DAYS:
        return None
    usual = [anscombe(each) for each in history]
    centre = median(usual)
    spread = max(1.0, _NORMAL * median(abs(each - centre) for each in usual))
    return (anscombe(count) - centre) / spread


def binomial_tail(successes: int, trials: int, share: float) -> float:
    """P(X >= successes) of a binomial distribution, summed exactly in logarithms."""
    if successes <= 0:
        return 1.0
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    total = 0.0
    for count in range(successes, trials + 1):
        choose = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
        total += math.exp(choose + count * math.log(share) + (trials - count) * math.log1p(-share))
    return min(1.0, total)
