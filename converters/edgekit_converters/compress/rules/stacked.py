"""A large kernel as a smaller one and a 3x3 one behind it: 5x5 as two 3x3, 7x7 as 5x5 and 3x3, then three 3x3.

Two kernels behind each other are one larger kernel; here the two are sought, by least squares in the measure of what
the layer takes on calibration data: the least trace of (K - W) H (K - W)^T for the kernel K of both, the wanted W, and
H = X^T X (compare Simonyan and Zisserman 2015, section 2.3, on stacks of 3x3).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.moments import Moments
from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.layer import Layer, layer_of
from edgekit_converters.compress.rules.linear import dilations_of, pads_of, strides_of
from edgekit_converters.compress.rules.pattern import op
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import groups_of
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir

_KERNELS = {(5, 5), (7, 7)}
_LAST = 3
"""The kernel of the second layer."""
_COST = 0.75
"""The share of the multiplications the two may take."""
_MOST_COLUMNS = 4096
_ROUNDS = 40
_STEPS = 40
_ENOUGH = 1e-6
"""The share of the power that may be left: a thousandth of the root mean square."""
_FEW, _STARTS = 100, 4
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Stack:
    """Two kernels, and the error they make of what the layer gives, as a share of its power."""

    layer: Layer
    first: Reals
    second: Reals
    error: float


class StackedConv(Rule[Stack]):
    """A 5x5 or 7x7 convolution as two behind each other."""

    name = "stacked"
    help = "5x5 and 7x7 convolutions by stacked 3x3 ones, fitted on calibration data"
    patterns = (op("Conv"),)

    def __init__(self, moments: Mapping[str, Sequence[Moments]] | None = None) -> None:
        """Take what layers take on calibration data, by their names."""
        self._moments = moments or {}

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield convolutions with a large kernel."""
        if is_large(node):
            yield from super().find(model, node)

    def check(self, match: Match) -> Stack:
        """Take a kernel without gaps whose two parts are cheaper, and fit them."""
        layer, node = layer_of(match.root), match.root
        if any(step != 1 for step in dilations_of(node, 2)) or pads_of(node, 2) is None:
            raise RefusedError("its kernel has gaps, or its padding follows from the size")
        middle = _middle(layer)
        if middle < 1:
            raise RefusedError(
                "two kernels would take more multiplications: its stride throws most of the first's away"
            )
        moments = self._moments.get(name_of(node))
        if moments is None:
            raise RefusedError(
                f"it looks at more than {_MOST_COLUMNS} values, too many to fit, or nothing is known of it"
            )
        kernels = np.split(layer.array, groups_of(node))
        pairs = [_fit(kernel, one.gram / one.count, middle) for kernel, one in zip(kernels, moments, strict=True)]
        lost = sum(
            _power(_composed(*pair) - kernel, one) for pair, kernel, one in zip(pairs, kernels, moments, strict=True)
        )
        there = sum(_power(kernel, one) for kernel, one in zip(kernels, moments, strict=True))
        first, second = (np.concatenate([pair[at] for pair in pairs]) for at in (0, 1))
        return Stack(layer, first, second, float(np.sqrt(lost / max(there, 1e-30))))

    def rewrite(self, draft: Draft, match: Match, plan: Stack) -> str:
        """Write the two; the first pads for both, so that together they are one kernel up to the edges."""
        node, weights = match.root, plan.layer.weights.value
        side = plan.first.shape[2]
        inner = draft.op(
            "Conv",
            node.inputs[0],
            draft.floats(plan.first, weights, "first"),
            like=node,
            name=f"{name_of(node)}/first",
            attributes={"kernel_shape": [side, side], "strides": [1, 1]},
        )
        bias = draft.floats(plan.layer.bias, weights, "bias")
        more = {"kernel_shape": [_LAST, _LAST], "pads": [0] * 4}
        made = draft.op("Conv", inner, draft.floats(plan.second, weights, "second"), bias, like=node, attributes=more)
        draft.instead(made)
        return f"{side + 2}x{side + 2} by {side}x{side} and 3x3, error of its own {plan.error:.2%}"


def is_large(node: "ir.Node") -> bool:
    """Whether a node is a convolution with a kernel that can be stacked."""
    weights = node.inputs[1] if node.op_type == "Conv" else None
    return weights is not None and weights.shape is not None and tuple(weights.shape)[2:] in _KERNELS


def columns_of(node: "ir.Node") -> int:
    """Return how many values a place of a convolution's output looks at."""
    shape = () if node.inputs[1] is None or node.inputs[1].shape is None else tuple(node.inputs[1].shape)[1:]
    return int(np.prod([size for size in shape if isinstance(size, int)]))


def can_be_fitted(node: "ir.Node") -> bool:
    """Whether it is a large convolution that is small enough to fit."""
    return is_large(node) and columns_of(node) <= _MOST_COLUMNS


def _middle(layer: Layer) -> int:
    """Return how many channels of a group lie between the two, so that they are cheaper."""
    outputs, inputs, side, _ = layer.array.shape
    outputs //= groups_of(layer.node)
    skipped = int(np.prod(strides_of(layer.node, 2)))
    each = inputs * (side - 2) ** 2 * skipped + outputs * _LAST**2
    return min(int(outputs), int(_COST * outputs * inputs * side**2 / each))


def _fit(kernel: Reals, gram: Reals, middle: int) -> tuple[Reals, Reals]:
    """Return two kernels nearest to one: [middle, inputs, k-2, k-2] and [outputs, middle, 3, 3].

    Levenberg and Marquardt's method, from the best two that the kernel's centre is; with few numbers to find also from
    elsewhere, as there are several best places.
    """
    gram = gram / max(float(np.trace(gram)) / len(gram), 1e-30)
    gram = gram + _RIDGE * np.eye(len(gram))
    starts = [_centre(kernel, middle)]
    if kernel.size <= _FEW:
        rng = np.random.default_rng(0)
        starts += [(rng.normal(size=a.shape), rng.normal(size=b.shape)) for a, b in starts * _STARTS]
    found = [_descended(first, second, kernel, gram) for first, second in starts]
    return min(found, key=lambda one: _lost(one[0], one[1], kernel, gram))


def _centre(kernel: Reals, middle: int) -> tuple[Reals, Reals]:
    """Return two whose second looks at one place alone, and that make the centre of a kernel up to the rank."""
    outputs, inputs, side, _ = kernel.shape
    left, values, right = np.linalg.svd(kernel[:, :, 1:-1, 1:-1].reshape(outputs, -1), full_matrices=False)
    middle = min(middle, len(values))
    roots = np.sqrt(values[:middle])
    second = np.zeros((outputs, middle, _LAST, _LAST))
    second[:, :, 1, 1] = left[:, :middle] * roots
    first = right[:middle] * roots[:, np.newaxis]
    return first.reshape(middle, inputs, side - 2, side - 2), second


def _composed(first: Reals, second: Reals) -> Reals:
    """Return the kernel of two behind each other."""
    side = first.shape[2] + 2
    made = np.zeros((len(second), first.shape[1], side, side))
    for down, along in product(range(_LAST), repeat=2):
        part = np.tensordot(second[:, :, down, along], first, axes=1)
        made[:, :, down : down + side - 2, along : along + side - 2] += part
    return made


def _gathered(whole: Reals, first: Reals, second: Reals) -> tuple[Reals, Reals]:
    """Return by how much each of the two moves the kernel of both into a direction."""
    inner = first.shape[2]
    to_first, to_second = np.zeros_like(first), np.zeros_like(second)
    for down, along in product(range(_LAST), repeat=2):
        part = whole[:, :, down : down + inner, along : along + inner]
        to_first += np.tensordot(second[:, :, down, along].T, part, axes=1)
        to_second[:, :, down, along] = np.tensordot(part, first, axes=([1, 2, 3], [1, 2, 3]))
    return to_first, to_second


def _descended(first: Reals, second: Reals, kernel: Reals, gram: Reals) -> tuple[Reals, Reals]:
    """Return a better pair: steps of the linearised problem, damped more where one does not help."""
    cut, damping = first.size, 1e-2
    best = _lost(first, second, kernel, gram)
    there = _lost(first, second * 0, kernel, gram)

    def weighted(whole: Reals) -> Reals:
        return (whole.reshape(len(kernel), -1) @ gram).reshape(kernel.shape)

    def joined(pair: tuple[Reals, Reals]) -> Reals:
        return np.concatenate([one.ravel() for one in pair])

    for _ in range(_ROUNDS):
        if best < _ENOUGH * there:
            break
        slope = joined(_gathered(weighted(kernel - _composed(first, second)), first, second))
        scale = damping * float(np.mean(first**2) + np.mean(second**2)) * first.shape[0]

        def normal(way: Reals, one: Reals = first, two: Reals = second, scale: float = scale) -> Reals:
            moved = _composed(way[:cut].reshape(one.shape), two) + _composed(one, way[cut:].reshape(two.shape))
            return joined(_gathered(weighted(moved), one, two)) + scale * way

        step = _solved(normal, slope)
        trial = first + step[:cut].reshape(first.shape), second + step[cut:].reshape(second.shape)
        lost = _lost(*trial, kernel, gram)
        if lost < best:
            (first, second), best, damping = trial, lost, damping / 4
        else:
            damping *= 8
    return first, second


def _solved(normal: Callable[[Reals], Reals], wanted: Reals) -> Reals:
    """Return about what a symmetric operator makes the wanted of: some steps of conjugate gradients."""
    found, rest, way = np.zeros_like(wanted), wanted, wanted
    power = begin = float(wanted @ wanted)
    for _ in range(_STEPS):
        if power <= 1e-12 * begin:
            break
        turned = normal(way)
        step = power / float(way @ turned)
        found, rest = found + step * way, rest - step * turned
        before, power = power, float(rest @ rest)
        way = rest + power / before * way
    return found


def _lost(first: Reals, second: Reals, kernel: Reals, gram: Reals) -> float:
    off = (_composed(first, second) - kernel).reshape(len(kernel), -1)
    return float(np.sum((off @ gram) * off))


def _power(kernel: Reals, moments: Moments) -> float:
    """Return the mean square of what a kernel gives on the calibration data."""
    flat = kernel.reshape(len(kernel), -1)
    return float(np.sum((flat @ (moments.gram / moments.count)) * flat))
