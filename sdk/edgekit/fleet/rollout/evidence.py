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
_FAR = -30.0


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
    tail = _log_cdf(score / math.sqrt(spread))
    return math.log(2) - 0.5 * math.log(spread / rho) + score * score / (2 * spread) + tail


def _log_cdf(x: float) -> float:
    """Return the log of the normal distribution function, also far below, where the function itself is 0.

    Cut off there, a release that is much faster than what is tolerated would look worse the more is known of it.
    """
    if x > _FAR:
        return math.log(0.5 * math.erfc(-x / math.sqrt(2)))
    # the first terms of Mills' ratio; the error is below 15 / x**6
    return -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi)) + math.log1p(-1 / x**2 + 3 / x**4)


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
