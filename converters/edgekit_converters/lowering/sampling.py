"""Samples between the places of an image, and GridSample and AffineGrid, which are made of them.

An image is a table with a row of channels for each place. A sample is the sum of rows, each times a weight:
along every axis there are one (nearest), two (linear) or four (cubic) places to look at.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.arithmetic import counted
from edgekit_converters.lowering.builder import Builder, Tensor, channels_last
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.expressions import Expression
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.interpolation import PLAIN_CUBIC, Numbers, keys
from edgekit_converters.lowering.matrix import dense
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered

_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@dataclass(frozen=True, slots=True)
class Tap:
    """A place to look at along one axis (whole float32 numbers within it), and its weight."""

    place: Numbers
    weight: Numbers


def start_of(b: Builder, batch: int, each: int) -> Ref:
    """Return the first row of every image of a batch: int32 [batch]."""
    return b.binary("mul", counted(b, batch), b.module.ints(each))


def samples(
    b: Builder, table: Ref, start: Ref, sizes: Sequence[int], taps: Sequence[Sequence[Tap]]
) -> list[tuple[Ref, Numbers]]:
    """Return for each combination of taps the rows it sees, and their weights.

    Args:
        b: the module so far.
        table: [rows, channels], the images one behind the other.
        start: the first row of the image of each sample; it broadcasts to the shape of the samples.
        sizes: how many places each axis has.
        taps: the taps of each axis; they broadcast to the shape of the samples.
    """
    found = []
    for combination in itertools.product(*taps):
        row, step, weight = Expression(b, start), math.prod(sizes), 1.0
        for size, tap in zip(sizes, combination, strict=True):
            step //= size
            row = row + tap.place.as_integers() * step
            weight = weight * tap.weight
        found.append((gathered(b, table, row.ref, 0), weight))
    return found


def weighted(rows: Sequence[tuple[Ref, Numbers]], b: Builder) -> Expression:
    """Return the sum of rows, each times its weight: [..., channels]."""
    terms: list[Expression] = [Expression(b, values) * weight.reshape(*weight.ref.shape, 1) for values, weight in rows]
    total = terms[0]
    for one in terms[1:]:
        total = total + one
    return total


def linear(at: Numbers) -> list[Tap]:
    """Return both neighbours of each coordinate."""
    low = np.floor(at)
    return [Tap(low, 1.0 - (at - low)), Tap(low + 1.0, at - low)]


def cubic(at: Numbers) -> list[Tap]:
    """Return the four neighbours of each coordinate."""
    low = np.floor(at)
    return [
        Tap(low + step, keys(np.absolute(at - low - step), np.float32(PLAIN_CUBIC))) for step in (-1.0, 0.0, 1.0, 2.0)
    ]


def zeros_around(tap: Tap, size: int) -> Tap:
    """Let a tap count nothing outside."""
    inside = np.greater_equal(tap.place, 0.0) * np.less_equal(tap.place, float(size - 1))
    return Tap(within(tap.place, size), tap.weight * inside)


def within(at: Numbers, size: int) -> Numbers:
    """Return coordinates moved to the nearest within."""
    return np.minimum(np.maximum(at, 0.0), float(size - 1))


def _reflected(at: Numbers, low: float, high: float) -> Numbers:
    if high == low:
        return at * 0.0 + low
    away = np.remainder(np.absolute(at - low), 2 * (high - low))
    return low + (high - low) - np.absolute(away - (high - low))


@dataclass(frozen=True, slots=True)
class _Grid:
    """The attributes of a GridSample."""

    mode: str
    padding: str
    corners: bool

    def borders(self, size: int) -> tuple[float, float]:
        """Return the edges at which coordinates are reflected."""
        return (0.0, float(size - 1)) if self.corners else (-0.5, size - 0.5)

    def coordinates(self, given: Sequence[Numbers], sizes: Sequence[int]) -> list[Numbers]:
        """Turn -1 to 1 into places, and bring in what lies outside."""
        if self.corners:
            found = [(one + 1.0) * (0.5 * (size - 1)) for one, size in zip(given, sizes, strict=True)]
        else:
            found = [((one + 1.0) * float(size) - 1.0) * 0.5 for one, size in zip(given, sizes, strict=True)]
        if self.mode == "nearest":
            found = [np.rint(one) for one in found]
        if self.padding == "reflection":
            return [_reflected(one, *self.borders(size)) for one, size in zip(found, sizes, strict=True)]
        if self.padding == "border" and self.mode != "cubic":  # whose neighbours are moved alone, as PyTorch does
            return [within(one, size) for one, size in zip(found, sizes, strict=True)]
        return found

    def taps(self, at: Numbers, size: int) -> list[Tap]:
        """Return what is looked at along an axis."""
        kinds: dict[str, Callable[[Numbers], list[Tap]]] = {"linear": linear, "cubic": cubic}
        found = kinds[self.mode](at) if self.mode in kinds else [Tap(at, at * 0.0 + 1.0)]
        if self.padding == "zeros":
            return [zeros_around(one, size) for one in found]
        if self.padding == "reflection":
            found = [Tap(np.rint(_reflected(one.place, *self.borders(size))), one.weight) for one in found]
        return [Tap(within(one.place, size), one.weight) for one in found]


def grid_sample(b: Builder, node: Node) -> None:
    """Any mode and padding, images and volumes."""
    x, given, out = b.input(node), b.plain(b.input(node, 1)), b.shape_of(node.outputs[0])
    mode = node.attributes.get("mode", "linear")
    grid = _Grid(
        _MODES.get(mode, mode),
        node.attributes.get("padding_mode", "zeros"),
        bool(node.attributes.get("align_corners", 0)),
    )
    sizes = x.shape[2:]
    if any(map(is_free, sizes)):
        raise b.refuse(node, "the height or width of its image is free")
    batch, places = x.shape[0], math.prod(out[2:])
    numbers = Expression(b, b.reshaped(given, (batch, places, len(sizes))))
    # x comes first in the grid, the last axis of the image
    parts = [numbers.part(2, axis).reshape(batch, places) for axis in reversed(range(len(sizes)))]
    taps = [grid.taps(at, size) for at, size in zip(grid.coordinates(parts, sizes), sizes, strict=True)]
    table = b.reshaped(b.spatial(x), (batch * math.prod(sizes), x.shape[1]))
    start = b.reshaped(start_of(b, batch, math.prod(sizes)), (batch, 1))
    found = weighted(samples(b, table, start, sizes, taps), b)
    ref = b.reshaped(found.ref, (batch, *out[2:], out[1]))
    b.set(node.outputs[0], Tensor(ref, channels_last(x.rank)))


def affine_grid(b: Builder, node: Node) -> None:
    """The places of an image between -1 and 1, each turned by a matrix; coordinates lie before places."""
    theta, out = b.input(node), b.shape_of(node.outputs[0])
    sizes, count = out[1:-1], out[-1]
    if any(map(is_free, sizes)):
        raise b.refuse(node, "the size of its grid is not known beforehand")
    corners = node.attributes.get("align_corners", 0)
    lines = [
        np.linspace(-1.0, 1.0, size) if corners else (2 * np.arange(size) + 1) / size - 1 for size in reversed(sizes)
    ]
    # lines are x, y(, z); places lie as the image does, x running fastest
    meshes = np.meshgrid(*reversed(lines), indexing="ij")[::-1]
    base = np.stack([*(one.ravel() for one in meshes), np.ones(math.prod(sizes))], axis=1).astype(np.float32)
    rows = b.reshaped(b.plain(theta), (out[0] * count, count + 1))
    ref = b.reshaped(dense(b, rows, b.module.constant(base)), (out[0], count, *sizes))
    b.set(node.outputs[0], Tensor(ref, (0, len(out) - 1, *range(1, len(out) - 1))))


SAMPLING = {"GridSample": grid_sample, "AffineGrid": affine_grid}
