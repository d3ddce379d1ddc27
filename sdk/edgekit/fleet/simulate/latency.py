"""How long simulated inferences take: lognormal, with a tail, drifting with the temperature."""

import math

import numpy as np

from edgekit.fleet.simulate.hardware import Hardware
from edgekit_agent.protocol import WIRE_SCALE, ExpHistogram, Latency

_BANK = 1 << 16
_DAY_S = 86400.0
_WARMING_S = 300.0
_DAILY_C = 4.0
_NOISE_C = 0.3
_UNEQUAL = 0.04
"""No two boards of a class are equally fast: the sigma of their medians."""


class Bank:
    """Random numbers drawn once, of which devices take stretches: drawing anew would cost as much as all the rest."""

    def __init__(self, seed: int) -> None:
        """Draw them."""
        chance = np.random.default_rng(seed)
        self._normal = chance.standard_normal(_BANK)
        self._uniform = chance.random(_BANK)

    def normal(self, at: int, count: int) -> np.ndarray:
        """Return normal numbers from a place on, round and round."""
        return self._normal.take(np.arange(at, at + count), mode="wrap")

    def uniform(self, at: int, count: int) -> np.ndarray:
        """Return numbers between 0 and 1 from a place on, round and round."""
        return self._uniform.take(np.arange(at, at + count), mode="wrap")


class LatencyModel:
    """One device's inferences and temperature; `seed` decides all of it."""

    def __init__(self, hardware: Hardware, bank: Bank, seed: int) -> None:
        """Take the class of the device."""
        self._hardware, self._bank = hardware, bank
        chance = np.random.default_rng(seed)
        self._own = float(np.exp(_UNEQUAL * chance.standard_normal()))
        self._phase = float(chance.random()) * _DAY_S
        self._at = int(chance.integers(_BANK))
        self.temperature_c = hardware.ambient_c

    def window(self, seconds: float, now_s: float, count: int, slower: float) -> Latency:
        """Return the latency of a window's inferences.

        Args:
            seconds: how long the window was.
            now_s: the moment it ends, which decides where in the day's warmth it is.
            count: how many inferences.
            slower: the factor on the inference itself: 1.1 is 10 % slower.
        """
        self._warm(seconds, now_s)
        hardware, at = self._hardware, self._at
        self._at = (at + 7919) % _BANK
        heat = 1.0 + hardware.throttle * max(0.0, self.temperature_c - hardware.throttle_c)
        factor = self._own * heat
        pre = hardware.pre_s * factor * np.exp(hardware.spread * self._bank.normal(at + count, count))
        infer = hardware.infer_s * factor * slower * np.exp(hardware.spread * self._bank.normal(at, count))
        chance = self._bank.uniform(at, count)
        infer[chance < hardware.tail] *= hardware.tail_times
        post = hardware.post_s * factor * np.exp(hardware.spread * self._bank.normal(at + 2 * count, count))
        return Latency(
            pre=histogram(pre), infer=histogram(infer), post=histogram(post), e2e=histogram(pre + infer + post)
        )

    def runs(self, count: int, slower: float) -> tuple[float, ...]:
        """Return the seconds of so many inferences one after the other, as a benchmark takes them."""
        hardware = self._hardware
        spread = np.exp(hardware.spread * self._bank.normal(self._at, count))
        return tuple((hardware.infer_s * self._own * slower * spread).tolist())

    def _warm(self, seconds: float, now_s: float) -> None:
        """Move towards what load and the time of day make of it."""
        hardware = self._hardware
        daily = _DAILY_C * math.sin(2 * math.pi * (now_s + self._phase) / _DAY_S)
        noise = _NOISE_C * float(self._bank.normal(self._at, 1)[0])
        target = hardware.ambient_c + hardware.load_c + daily
        self.temperature_c += (target - self.temperature_c) * -math.expm1(-seconds / _WARMING_S) + noise


def histogram(values: np.ndarray) -> ExpHistogram:
    """Return the histogram of positive seconds at the scale of the wire, the same as adding them one by one."""
    found = ExpHistogram(WIRE_SCALE)
    if not len(values):
        return found
    indexes = np.ceil(np.log2(values) * 2.0**WIRE_SCALE).astype(np.int64) - 1
    low = int(indexes.min())
    dense = np.bincount(indexes - low).tolist()
    found.add_counts(
        {low + position: count for position, count in enumerate(dense) if count},
        zeros=0,
        total=float(values.sum()),
        minimum=float(values.min()),
        maximum=float(values.max()),
    )
    return found
