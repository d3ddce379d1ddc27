"""A network in simulated time: devices that beat and report, and how late what they say arrives."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from edgekit_agent.protocol import State

BEAT_S = 10.0
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Network:
    """Delays: lognormal around `median_s`, and now and then (`stall_every_s`) the broker stands still for all."""

    median_s: float
    sigma: float
    stall_every_s: float = 0.0
    stall_s: float = 0.0
    lost_share: float = 0.0
    retry_s: float = 0.0

    def arrives(self, sent_s: float, chance: Random) -> float:
        """Return when a message arrives."""
        at_s = sent_s + chance.lognormvariate(0.0, self.sigma) * self.median_s
        while chance.random() < self.lost_share:  # TCP sends again
            at_s += self.retry_s
        if self.stall_every_s:
            into_s = at_s % self.stall_every_s
            if at_s >= self.stall_every_s and into_s < self.stall_s:
                at_s += self.stall_s - into_s
        return at_s


GOOD = Network(median_s=0.05, sigma=0.5)
WIFI = Network(median_s=0.2, sigma=0.8, lost_share=0.02, retry_s=1.5)
SLOW = Network(median_s=1.5, sigma=0.6, stall_every_s=600.0, stall_s=20.0)
NETWORKS = {"good": GOOD, "wifi": WIFI, "slow broker": SLOW}


def arrivals(
    network: Network, devices: int, seconds: float, seed: int, dies: dict[int, float] | None = None
) -> Iterator[tuple[float, int, State | None]]:
    """Yield what arrives in the order of time: when, of which device, its state or None for a report.

    Args:
        network: the delays.
        devices: how many, each with a heartbeat and a report of its own phase every 10 s.
        seconds: for how long.
        seed: of the chance.
        dies: which devices say nothing after which moment.
    """
    chance = Random(seed)  # noqa: S311  # no secret
    waiting: list[tuple[float, int, int, float]] = []
    last = [0.0] * devices
    for number in range(devices):
        for kind in (0, 1):
            first = chance.random() * BEAT_S
            heapq.heappush(waiting, (network.arrives(first, chance), number, kind, first))
    states = [State(state="online", birth=1, boot=f"b{number}", heartbeat_s=BEAT_S) for number in range(devices)]
    ends = [(dies or {}).get(number, seconds) for number in range(devices)]
    while waiting:
        at_s, number, kind, sent_s = heapq.heappop(waiting)
        if sent_s >= ends[number]:
            continue
        # what one connection carries arrives in order
        last[number] = max(last[number], at_s)
        yield at_s, number, states[number] if kind == 0 else None
        sent_s += BEAT_S + chance.uniform(0.0, 0.02)
        heapq.heappush(waiting, (network.arrives(sent_s, chance), number, kind, sent_s))
