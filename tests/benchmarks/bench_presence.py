"""Print how soon silent devices are found, and how many false alarms that costs, for three kinds of deadline.

    PYTHONPATH=sdk:agent python -m tests.benchmarks.bench_presence [--devices 300] [--seconds 3600]

Devices beat and report every 10 s over three networks in simulated time; one in ten dies. The deadline of
`edgekit.fleet.presence` is beside a fixed one (1.9 heartbeats) and phi-accrual (phi 8 and 12 of a normal law of the
time between two arrivals, 100 of them kept).
"""

import argparse
import math
from collections import deque
from collections.abc import Callable
from statistics import NormalDist, fmean, pstdev, quantiles
from typing import Protocol

from edgekit.fleet.presence.deadline import Deadline
from tests.sdk.fleet.presence.network import BEAT_S, NETWORKS, Network, arrivals

FIXED = 1.9
KEPT = 100
LEAST_DEVIATION_S = 0.1


class Rule(Protocol):
    """How long a device may be silent."""

    def beat(self, gap_s: float, heartbeat_s: float) -> None:
        """Learn from the time between two heartbeats."""

    def seconds(self, heartbeat_s: float) -> float:
        """Return after how many seconds of silence it is taken for dead."""


class Fixed:
    """The same patience with all."""

    def beat(self, gap_s: float, heartbeat_s: float) -> None:
        """Learn nothing."""

    def seconds(self, heartbeat_s: float) -> float:
        """Return 1.9 heartbeats."""
        return FIXED * heartbeat_s


class Phi:
    """Phi-accrual: silent when the chance that an arrival takes so long is below 10 ** -phi."""

    def __init__(self, phi: float) -> None:
        """Take the limit."""
        self._times = -NormalDist().inv_cdf(10**-phi)
        self._gaps: deque[float] = deque(maxlen=KEPT)

    def beat(self, gap_s: float, heartbeat_s: float) -> None:  # noqa: ARG002  # of the rule
        """Keep the time."""
        self._gaps.append(gap_s)

    def seconds(self, heartbeat_s: float) -> float:
        """Return the mean and so many deviations."""
        if len(self._gaps) < 2:
            return 2 * heartbeat_s
        return fmean(self._gaps) + self._times * max(LEAST_DEVIATION_S, pstdev(self._gaps))


RULES: dict[str, Callable[[], Rule]] = {
    "learnt margin": Deadline,
    "fixed 1.9": Fixed,
    "phi 8": lambda: Phi(8.0),
    "phi 12": lambda: Phi(12.0),
}


def measure(network: Network, make: Callable[[], Rule], devices: int, seconds: float) -> tuple[int, list[float]]:
    """Return false alarms, and the seconds from each death to its verdict; no crowd rule helps here."""
    dies = {number: seconds / 2 + number % 97 for number in range(0, devices, 10)}
    rules = [make() for _ in range(devices)]
    heard, beat = [math.inf] * devices, [math.nan] * devices
    false_alarms = 0
    for at_s, number, state in arrivals(network, devices, seconds, 11, dies):
        rule = rules[number]
        if at_s > heard[number] + rule.seconds(BEAT_S):
            false_alarms += 1
        heard[number] = at_s
        if state is not None:
            if not math.isnan(beat[number]):
                rule.beat(at_s - beat[number], BEAT_S)
            beat[number] = at_s
    found = [heard[number] + rules[number].seconds(BEAT_S) - dies[number] for number in dies]
    return false_alarms, sorted(found)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3600.0)
    arguments = parser.parse_args()
    hours = arguments.devices * arguments.seconds / 3600
    print("| network | deadline | found after, median | 99 % | false alarms in 1,000 device hours |")
    print("|---|---|---|---|---|")
    for name, network in NETWORKS.items():
        for rule, make in RULES.items():
            alarms, found = measure(network, make, arguments.devices, arguments.seconds)
            last = quantiles(found, n=100)[98]
            print(f"| {name} | {rule} | {found[len(found) // 2]:.1f} s | {last:.1f} s | {1000 * alarms / hours:.1f} |")


if __name__ == "__main__":
    main()
