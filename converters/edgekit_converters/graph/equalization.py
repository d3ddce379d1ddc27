"""Cross-layer equalization: scale channels between two layers so that int8 loses less, outputs unchanged.

After Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1. With a
scale a channel for the weights, the first layer's weights lose the same whatever its channels' scales; what remains
is the tensor between (one scale for all channels) against the second layer's weights (one scale for all that one
output sums over). So with calibration data several strengths are tried a pair, as in Xiao et al. 2022 ("SmoothQuant"),
and the one with the least expected noise at the second layer's output is taken, or none. Factors are powers of two:
in float nothing is rounded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.biases import WITH_BIAS, bias_of, constant, free_name, set_bias
from edgekit_converters.graph.chains import NoPair, Pair, pairs_of
from edgekit_converters.graph.channels import Channels, channels_of
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import inputs_of, over_inputs, over_outputs, per_output
from edgekit_converters.graph.weights import Reals, replaced
from edgekit_converters.grids.base import Sharing
from edgekit_converters.grids.fitting import fit
from edgekit_converters.grids.linear import Linear
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

_LIMIT = 8.0
"""Factors are 2^-8 to 2^8: a channel that is silent on the calibration data may speak later."""
_HEADROOM = 2.0
"""A channel below a Clip's bound may grow until twice its largest value reaches the bound."""
_STRENGTHS = (1.0, 0.75, 0.5, 0.25)
_WORTH = 0.9
"""The share of the noise that may be left where a pair is scaled."""
_STEPS = 255.0
_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Equalized:
    """What was done at a layer: `why` it was left where `factors` are None."""

    name: str
    partner: str
    why: str
    spread: tuple[float, float]
    """The largest channel over the smallest that is not silent, before and after."""
    gain_db: float
    """By how much less noise is expected at the second layer's output; 0 without data."""
    scaled: bool


def equalize(model: "ir.Model", arrays: Arrays | None, work: Path) -> list[Equalized]:
    """Equalize a plain model in place.

    Args:
        model: as `make_plain` leaves it.
        arrays: calibration samples as `data.bind` gives them; without any the weights alone decide.
        work: an existing scratch folder.

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    from onnx_ir.passes.common import ShapeInferencePass

    ShapeInferencePass()(model)
    found = list(pairs_of(model))
    pairs = [one for one in found if isinstance(one, Pair)]
    left = [
        Equalized(name=name_of(one.first.node), partner="", why=one.why, spread=(1, 1), gain_db=0, scaled=False)
        for one in found
        if isinstance(one, NoPair)
    ]
    if arrays is None:
        return [*_by_weights(model, pairs), *left]
    seen = channels_of(model, [place for pair in pairs for place in _places(pair)], arrays, work / "channels.onnx")
    return [*(_by_noise(model, pair, seen) for pair in pairs), *left]


def _places(pair: Pair) -> list[tuple[str, int]]:
    """Return the second layer's input and output with the axes of their channels."""
    node = pair.second.node
    axis = -1 if node.op_type in {"Gemm", "MatMul"} else 1
    return [(str(node.inputs[0].name), axis), (str(node.outputs[0].name), axis)]  # type: ignore[union-attr]


def _by_noise(model: "ir.Model", pair: Pair, seen: dict[str, Channels]) -> Equalized:
    (taken, _), (made, _) = _places(pair)
    channels, signal = _merged(seen[taken], pair.repeat), seen[made].variance
    noise = _noise(pair, channels, signal, np.ones(len(channels.low)))
    tried = [_factors(pair, channels, strength) for strength in _STRENGTHS]
    noises = [_noise(pair, channels, signal, factors) for factors in tried]
    best = int(np.argmin(noises))
    spread = (_spread(channels.largest), _spread(channels.largest * tried[best]))
    worth = noises[best] < _WORTH * noise
    if worth:
        _apply(model, pair, tried[best])
    return Equalized(
        name=name_of(pair.first.node),
        partner=name_of(pair.second.node),
        why="" if worth else "no factors promise less noise",
        spread=spread if worth else (spread[0], spread[0]),
        gain_db=10 * math.log10(noise / noises[best]) if worth else 0.0,
        scaled=worth,
    )


def _merged(channels: Channels, repeat: int) -> Channels:
    """Return the channels of a flattened image as they were."""
    if repeat == 1:
        return channels
    low, high, total, squares = (
        one.reshape(-1, repeat) for one in (channels.low, channels.high, channels.total, channels.squares)
    )
    return Channels(
        count=channels.count * repeat, low=low.min(1), high=high.max(1), total=total.sum(1), squares=squares.sum(1)
    )


def _factors(pair: Pair, channels: Channels, strength: float) -> Reals:
    """Return factors r^-strength * w^(1-strength): r the channels' ranges, w the weights that take them."""
    rows = per_output(pair.second, np.abs(pair.second.array)).max(axis=1)
    share = np.abs(pair.second.array) / over_outputs(pair.second, np.where(rows > 0, rows, 1.0))
    ranges, weights = channels.largest, _largest_input(pair, share)
    alive = (ranges > 0) & (weights > 0)
    wanted = np.zeros(len(ranges))
    wanted[alive] = (1 - strength) * np.log2(weights[alive]) - strength * np.log2(ranges[alive])
    if alive.any():  # the tensor's range stays what it is
        wanted[alive] += np.log2(ranges.max()) - np.max(wanted[alive] + np.log2(ranges[alive]))
    factors = np.where(alive, np.exp2(np.floor(np.clip(wanted, -_LIMIT, _LIMIT))), 1.0)
    return factors if pair.highest == math.inf else _below(factors, ranges, pair.highest)


def _below(factors: Reals, ranges: Reals, highest: float) -> Reals:
    """Keep channels below a Clip's bound, and those that come near it as they are."""
    room = highest / (_HEADROOM * np.where(ranges > 0, ranges, highest))
    most = np.exp2(np.floor(np.log2(room)))
    return np.where(room >= 1, np.minimum(factors, most), 1.0)


def _largest_input(pair: Pair, array: Reals) -> Reals:
    """Return the largest entry of the second layer's weights for each channel between."""
    count = inputs_of(pair.second)
    numbers = over_inputs(pair.second, np.arange(count, dtype=np.float64)).ravel().astype(np.intp)
    largest = np.zeros(count)
    np.maximum.at(largest, numbers, array.ravel())
    return np.asarray(largest.reshape(-1, pair.repeat).max(axis=1))


def _noise(pair: Pair, channels: Channels, signal: Reals, factors: Reals) -> float:
    """Return the expected int8 noise at the second layer's outputs, each as a share of its signal, summed up.

    The tensor between has one scale and rounds evenly; the weights' rounding is done.
    """
    second = pair.second
    spread = np.repeat(factors, pair.repeat)
    weights = second.array * over_inputs(second, 1 / spread)
    wrong = fit(Linear(bits=8), weights, second.axis, Sharing()).snap(weights) - weights
    power = np.repeat(channels.power, pair.repeat) * spread**2
    high, low = np.max(channels.high * factors, initial=0.0), np.min(channels.low * factors, initial=0.0)
    step = (high - low) / _STEPS
    noise = per_output(second, wrong**2 * over_inputs(second, power) + weights**2 * (step**2 / 12)).sum(axis=1)
    heard = signal > 1e-6 * signal.max(initial=0.0)
    return float(np.sum(noise[heard] / signal[heard]))


def _by_weights(model: "ir.Model", pairs: Sequence[Pair]) -> list[Equalized]:
    """Make the ranges of the first's outputs and the second's inputs alike: s = sqrt(r1 r2) / r2 in the paper."""
    before = [_spread(_ranges(pair)[0]) for pair in pairs]
    stuck = [pair.highest != math.inf for pair in pairs]
    for _ in range(_ROUNDS):
        changed = False
        for pair, left in zip(pairs, stuck, strict=True):
            made, taken = _ranges(pair)
            alive = (made > 0) & (taken > 0)
            wanted = np.log2(np.where(alive, taken, 1.0) / np.where(alive, made, 1.0)) / 2
            factors = np.exp2(np.rint(np.clip(wanted, -_LIMIT, _LIMIT)))
            if not left and (factors != 1).any():
                _apply(model, pair, factors)
                changed = True
        if not changed:
            break
    return [
        Equalized(
            name=name_of(pair.first.node),
            partner=name_of(pair.second.node),
            why="only calibration data tells whether its Clip is reached" if left else "",
            spread=(start, _spread(_ranges(pair)[0])),
            gain_db=0.0,
            scaled=not left,
        )
        for pair, start, left in zip(pairs, before, stuck, strict=True)
    ]


def _ranges(pair: Pair) -> tuple[Reals, Reals]:
    return per_output(pair.first, np.abs(pair.first.array)).max(axis=1), _largest_input(pair, np.abs(pair.second.array))


def _spread(ranges: Reals) -> float:
    heard = ranges[ranges > 0]
    return float(heard.max() / heard.min()) if heard.size else 1.0


def _apply(model: "ir.Model", pair: Pair, factors: Reals) -> None:
    """Multiply the first layer's channels, and divide where the second takes them."""
    first, second = pair.first, pair.second
    if first.node.op_type in WITH_BIAS:
        bias = bias_of(first)
        if bias is None:
            raise AssertionError("a pair's first layer has a constant bias")
        if bias.any():
            set_bias(model, first, bias * factors)
    replaced(first.value, first.array * over_outputs(first, factors))
    for node, place, behind in pair.added:
        stored = node.inputs[place]
        array = np.asarray(stored.const_value.numpy(), np.float64)  # type: ignore[union-attr]  # it is constant
        scaled = array * factors.reshape(-1, *(1 for _ in range(behind)))
        name = free_name(model, f"{node.outputs[0].name}/added")
        value = constant(name, scaled, stored)  # type: ignore[arg-type]  # it is constant
        model.graph.register_initializer(value)
        node.replace_input_with(place, value)
    replaced(second.value, second.array * over_inputs(second, np.repeat(1 / factors, pair.repeat)))
