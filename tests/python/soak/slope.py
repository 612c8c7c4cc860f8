"""How fast something grows: a line through samples by least squares, and how far the true slope may be from it.

Samples of a process's memory are not independent: one that is high is followed by others that are. Taken for independent they would promise
an interval that is much too narrow, so it is widened by what the residuals' correlation with the ones before says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Final

LEAST: Final = 10  # samples; with fewer nothing is said
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope, in units of the samples per unit of time, with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __mul__(self, factor: float) -> Slope:
        return Slope(self.value * factor, self.low * factor, self.high * factor)


def slope(times: Sequence[float], values: Sequence[float]) -> Slope | None:
    """Fits a line. None if there are too few samples to say anything.

    Raises:
        ValueError: the samples are not as many as the times, or all at one time.
    """
    count = len(times)
    if count != len(values):
        raise ValueError(f"{count} times and {len(values)} values")
    if count < LEAST:
        return None
    middle, level = fmean(times), fmean(values)
    spread = sum((time - middle) ** 2 for time in times)
    if not spread:
        raise ValueError("all samples are of one moment")
    value = sum((time - middle) * (one - level) for time, one in zip(times, values, strict=True)) / spread
    residuals = [one - level - value * (time - middle) for time, one in zip(times, values, strict=True)]
    independent = count / _widening(residuals) ** 2
    freedom = max(1.0, independent - 2)
    variance = sum(residual**2 for residual in residuals) / (count - 2) * (count / independent)
    reach = quantile(freedom) * math.sqrt(variance / spread)
    return Slope(value, value - reach, value + reach)


def _widening(residuals: Sequence[float]) -> float:
    """Returns how many times wider the interval is than with independent samples, if each depends on the one before alone."""
    square = sum(residual**2 for residual in residuals)
    if not square:
        return 1.0
    follows = sum(one * next_one for one, next_one in itertools.pairwise(residuals)) / square
    # A negative one would make it narrower: that is not claimed. Near 1 the samples say hardly anything.
    follows = min(max(follows, 0.0), 0.99)
    return math.sqrt((1 + follows) / (1 - follows))


def quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Returns the two-sided quantile of Student's t, by its expansion around the normal one (Abramowitz and Stegun 26.7.5).

    Below three degrees of freedom the expansion is too small; there what it says for three is taken twice.
    """
    if freedom < 3:
        return 2 * quantile(3.0, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
