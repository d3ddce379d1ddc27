"""Sequential tests that may be looked at after every report, with a stated rate of false alarms. Pure.

A test martingale M has mean 1 while nothing is wrong, so the chance that it is ever 1/alpha or more is at most alpha
(Ville's inequality), however often and however long one looks. For normal estimates M is the likelihood ratio mixed
over a half-normal prior of effects (Robbins, "Statistical methods related to the law of the iterated logarithm", 1970;
Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021); for
counts it is the likelihood ratio of two rates (Wald, 1945).
"""

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_STEPS = 60
_POWER = 0.95


def normal_evidence(value: float, information: float, null: float, scale: float) -> float:
    """Return log M against "the effect is `null` or less".

    Args:
        value: the estimate.
        information: one over its variance.
        null: the largest effect that is tolerated.
        scale: the size of effects that are to be found soonest, above the null.
    """
    return _log_mixture((value - null) * information, information, scale**-2)


def _log_mixture(score: float, information: float, rho: float) -> float:
    spread = information + rho
    tail = max(_NORMAL.cdf(score / math.sqrt(spread)), 1e-300)
    return math.log(2) - 0.5 * math.log(spread / rho) + score * score / (2 * spread) + math.log(tail)


def boundary(information: float, scale: float, alpha: float) -> float:
    """Return how far above the null an estimate has to be for log M to reach log(1/alpha)."""
    rho, wanted = scale**-2, math.log(1 / alpha)
    low, high = 0.0, math.sqrt(2 * (information + rho) * (wanted + 0.5 * math.log1p(information / rho) + 1))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _log_mixture(middle, information, rho) < wanted else (low, middle)
    return high / information


def upper_limit(value: float, information: float, scale: float, beta: float) -> float:
    """Return what the effect is below with confidence 1 - beta, at every look together."""
    return value + boundary(information, scale, beta)


def detectable(information: float, null: float, scale: float, alpha: float) -> float:
    """Return the effect that a look with this information finds in 95 of 100 cases."""
    return null + boundary(information, scale, alpha) + _NORMAL.inv_cdf(_POWER) / math.sqrt(information)


def share_evidence(bad: int, good: int, usual: float, worse: float) -> float:
    """Return log M against "at most the share `usual` is bad", made to find the share `worse`."""
    return bad * math.log(worse / usual) + good * math.log((1 - worse) / (1 - usual))


def rate_evidence(events: int, time: float, usual: float, worse: float) -> float:
    """Return log M against "at most `usual` events in a unit of time", made to find `worse`."""
    return events * math.log(worse / usual) - (worse - usual) * time
