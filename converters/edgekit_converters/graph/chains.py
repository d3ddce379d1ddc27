"""Pairs of layers with nothing between them that minds its channels being scaled, and why others are no pair."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.graph.biases import WITH_BIAS, bias_of
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import bound, numbers, said
from edgekit_converters.graph.scaling import inputs_of, outputs_of
from edgekit_converters.graph.weights import Weights, is_constant, weights_of

if TYPE_CHECKING:
    import onnx_ir as ir

LAYERS = WITH_BIAS | {"MatMul"}
_MATRIX = 2  # dimensions


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A layer whose channels only the second one takes, through ops that f(g x) = g f(x) holds for, g > 0."""

    first: Weights
    second: Weights
    repeat: int
    """How many of the second's inputs in a row come of one channel: a flattened image has one a pixel."""
    added: tuple[tuple["ir.Node", int, int], ...]
    """Constants that are added between (node, place among its inputs, axes behind the channels): they scale too."""
    highest: float
    """Where a Clip between cuts off; infinite without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPair:
    """A layer that makes no pair with what follows, and why."""

    first: Weights
    why: str


class _StopError(Exception):
    """What follows is no pair: the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where channels are on their way: `behind` axes lie behind theirs; `rank` is None where it is not known."""

    value: "ir.Value"
    behind: int
    rank: int | None
    flattened: bool = False
    added: tuple[tuple["ir.Node", int, int], ...] = ()
    highest: float = math.inf

    @property
    def axis(self) -> int | None:
        return None if self.rank is None else self.rank - 1 - self.behind


def pairs_of(model: "ir.Model") -> Iterator[Pair | NoPair]:
    """Yield for every layer with constant weights the pair it begins or why it begins none."""
    layers = [one for one in weights_of(model, LAYERS) if one.place == 1 and _usable(one)]
    by_node = {id(one.node): one for one in layers}
    for first in layers:
        try:
            yield _pair(model, first, by_node)
        except _StopError as stop:
            yield NoPair(first=first, why=str(stop))


def _usable(weights: Weights) -> bool:
    op, rank = weights.node.op_type, len(weights.array.shape)
    return rank == _MATRIX if op in {"Gemm", "MatMul"} else rank > _MATRIX


def _pair(model: "ir.Model", first: Weights, layers: dict[int, Weights]) -> Pair:
    if first.node.graph is not model.graph:
        raise _StopError("it is inside a branch or loop")
    _check_own(first)
    image = first.node.op_type in {"Conv", "ConvTranspose"}
    rank = first.array.ndim if image else _rank(first.node.outputs[0])
    place = _Place(value=first.node.outputs[0], behind=first.array.ndim - _MATRIX if image else 0, rank=rank)
    while True:
        node = _only_user(place.value)
        second = layers.get(id(node))
        if second is not None and node.inputs[0] is place.value:
            return _met(first, second, place)
        if node.domain not in ONNX or node.op_type not in _THROUGH:
            raise _StopError(f"{said(node)} between the layers does not keep a scale")
        place = _THROUGH[node.op_type](node, place)


def _check_own(weights: Weights) -> None:
    if len(tuple(weights.value.uses())) > 1:
        raise _StopError("its weights are used elsewhere too")
    if weights.node.op_type in WITH_BIAS and bias_of(weights) is None:
        raise _StopError("its bias is no constant with a value a channel")


def _met(first: Weights, second: Weights, place: _Place) -> Pair:
    _check_own(second)
    image = second.node.op_type in {"Conv", "ConvTranspose"}
    if (
        place.behind != (second.array.ndim - _MATRIX if image else 0)
        or second.node.attributes.get_int("transA", 0) != 0
    ):
        raise _StopError(f"{said(second.node)} does not sum over its channels")
    repeat, rest = divmod(inputs_of(second), outputs_of(first))
    if rest or (repeat > 1 and not place.flattened):
        raise _StopError(f"{said(second.node)} takes other channels")
    return Pair(first=first, second=second, repeat=repeat, added=place.added, highest=place.highest)


def _only_user(value: "ir.Value") -> "ir.Node":
    uses = tuple(value.uses())
    if value.is_graph_output():
        raise _StopError("its result is an output of the model")
    if len(uses) != 1:
        raise _StopError(f"its result goes to {len(uses)} nodes")
    if uses[0].node.graph is not value.producer().graph:  # type: ignore[union-attr]  # a layer made it
        raise _StopError("its result goes into a branch or loop")
    return uses[0].node


def _rank(value: "ir.Value") -> int | None:
    return None if value.shape is None else len(value.shape)


def _same(node: "ir.Node", place: _Place) -> _Place:
    """Take an op that works on every element, or inside every channel, and is positively homogeneous in input 0."""
    if node.inputs[0] is not place.value or any(one.uses() for one in node.outputs[1:]):
        raise _StopError(f"{said(node)} takes more than the channels")
    if any(one is not None and one.const_value is None for one in node.inputs[1:]):
        raise _StopError(f"{said(node)} takes what is computed")
    return replace(place, value=node.outputs[0])


def _image(node: "ir.Node", place: _Place) -> _Place:
    """Take a pooling: it works inside the channels where these lie behind the batch."""
    if place.axis != 1:
        raise _StopError(f"{said(node)} works across the channels")
    if node.attributes.get_float("extrapolation_value", 0.0):
        raise _StopError(f"{said(node)} puts another value than 0 around")
    return _same(node, place)


def _product(node: "ir.Node", place: _Place) -> _Place:
    other = node.inputs[1] if node.inputs[0] is place.value else node.inputs[0]
    if other is None or not is_constant(other):
        raise _StopError(f"{said(node)} takes what is computed")
    if node.op_type == "Div" and node.inputs[0] is not place.value:
        raise _StopError(f"{said(node)} divides by it")
    _check_broadcast(node, other, place)
    return replace(place, value=node.outputs[0])


def _sum(node: "ir.Node", place: _Place) -> _Place:
    made = _product(node, place)
    if place.flattened:
        raise _StopError(f"{said(node)} adds to what is flattened")
    at = 1 if node.inputs[0] is place.value else 0
    if node.op_type == "Sub" and at == 0:
        raise _StopError(f"{said(node)} turns its sign")
    return replace(made, added=(*place.added, (node, at, place.behind)))


def _check_broadcast(node: "ir.Node", other: "ir.Value", place: _Place) -> None:
    rank = len(other.const_value.shape)  # type: ignore[union-attr]  # it is constant
    if rank > (place.behind + 1 if place.rank is None else place.rank):
        raise _StopError(f"{said(node)} adds dimensions")


def _clip(node: "ir.Node", place: _Place) -> _Place:
    low, high = (bound(node, at, name, other) for at, name, other in ((1, "min", -math.inf), (2, "max", math.inf)))
    if low not in {0.0, -math.inf}:
        raise _StopError(f"{said(node)} cuts off at {low:g}, which is no scale's")
    return replace(_same(node, place), highest=min(place.highest, high))


def _pad(node: "ir.Node", place: _Place) -> _Place:
    mode = node.attributes.get_string("mode", "constant")
    pads = numbers(node, 1, "pads")
    filled = node.attributes.get_float("value", 0.0) or bound(node, 2, "value", 0.0)
    if place.axis is None or pads is None or (len(node.inputs) > 3 and node.inputs[3] is not None):  # noqa: PLR2004  # axes
        raise _StopError(f"{said(node)} pads what is not known beforehand")
    rank = len(pads) // 2
    if pads[place.axis] or pads[place.axis + rank] or (mode == "constant" and filled != 0):
        raise _StopError(f"{said(node)} pads the channels, or with another value than 0")
    return _same(node, place)


def _flatten(node: "ir.Node", place: _Place) -> _Place:
    if node.op_type == "Flatten":
        plain = node.attributes.get_int("axis", 1) == 1
    else:  # to [batch, all the rest]
        plain = _joins_all_but_batch(place.value.shape, numbers(node, 1, "shape"))
    if place.axis != 1 or not plain:
        raise _StopError(f"{said(node)} moves the channels")
    return replace(_same(node, place), behind=0, rank=_MATRIX, flattened=place.behind > 0)


def _joins_all_but_batch(shape: "ir.Shape | None", target: Sequence[int] | None) -> bool:
    if shape is None or target is None or len(target) != _MATRIX:
        return False
    batch, *rest = shape
    count = math.prod(one for one in rest if isinstance(one, int))
    fixed = all(isinstance(one, int) for one in rest)
    return (fixed and target[1] == count) or (target[1] == -1 and target[0] in {0, batch})


def _transpose(node: "ir.Node", place: _Place) -> _Place:
    order = node.attributes.get_ints("perm", None)
    if order is None or place.flattened:
        raise _StopError(f"{said(node)} moves the channels")
    axis = list(order).index(len(order) - 1 - place.behind)
    return replace(_same(node, place), behind=len(order) - 1 - axis, rank=len(order))


def _reduce(node: "ir.Node", place: _Place) -> _Place:
    """Take a mean or squeeze over other axes than the channels'."""
    axes = numbers(node, 1, "axes")
    if axes is None or place.rank is None or place.axis is None:
        raise _StopError(f"{said(node)} works on axes that are not known beforehand")
    gone = {axis % place.rank for axis in axes}
    if place.axis in gone:
        raise _StopError(f"{said(node)} works across the channels")
    if node.op_type != "Squeeze" and node.attributes.get_int("keepdims", 1) != 0:
        return _same(node, place)
    behind = place.behind - sum(axis > place.axis for axis in gone)
    return replace(_same(node, place), behind=behind, rank=place.rank - len(gone))


# What channels pass through scaled, and what becomes of their place.
_THROUGH: MappingProxyType[str, Callable[["ir.Node", _Place], _Place]] = MappingProxyType(
    {
        **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Identity", "Dropout"), _same),
        **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample"), _image),
        **dict.fromkeys(("Mul", "Div"), _product),
        **dict.fromkeys(("Add", "Sub"), _sum),
        **dict.fromkeys(("Flatten", "Reshape"), _flatten),
        **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum", "Squeeze"), _reduce),
        "Clip": _clip,
        "Pad": _pad,
        "Transpose": _transpose,
    }
)
