"""Scales that have to pass something on their way into weights: a linear chain before them, or a shift behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.affine import affine_of, over_channels
from edgekit_converters.compress.rules.base import Match, RefusedError, Rule, check_alone
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.layer import LAYERS, Layer, Numbers, layer_of, write_layer
from edgekit_converters.compress.rules.pattern import Any, Stored, op
from edgekit_converters.compress.rules.values import number_of, same_shape, stored
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import inputs_of, over_inputs
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir

_LINEAR = frozenset(
    {
        "AveragePool", "Flatten", "GlobalAveragePool", "Identity", "ReduceMean", "ReduceSum", "Reshape", "Slice",
        "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Chain:
    """From a layer to what is multiplied: ops that f(g x) = g f(x) holds for, once what they add is scaled too."""

    layer: Layer
    between: "tuple[ir.Node, ...]"
    factor: float


class ScaleUp(Rule[_Chain]):
    """Queries or keys are scaled by their weights instead of all the scores, which are many more."""

    name = "scale-up"
    help = (
        "a number that a linear chain (a product of queries and keys) is multiplied by into the chain's first weights"
    )
    patterns = (op("Mul Div", Any("x"), anywhere=True),)

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Leave out what is no multiplication by a number."""
        for match in super().find(model, node):
            if _factor(match) is not None:
                yield match

    def check(self, match: Match) -> _Chain:
        """Look for a layer that the value comes from, past linear ops alone."""
        factor = _factor(match)
        if factor is None or not np.isfinite(factor):
            raise RefusedError("it divides by 0")
        return _chain(match.value("x"), match.root, factor)

    def rewrite(self, draft: Draft, match: Match, plan: _Chain) -> str:
        """Write the chain anew."""
        layer = plan.layer
        old = layer.node.outputs[0]
        new = write_layer(draft, layer, Numbers(layer.array * plan.factor, layer.bias * plan.factor))
        for node in plan.between:
            inputs = [new if one is old else _scaled(draft, node, one, plan.factor) for one in node.inputs]
            new, old = draft.op(node.op_type, *inputs, like=node), node.outputs[0]
        draft.instead(new)
        draft.finish([match.root, *reversed(plan.between), layer.node])
        return f"{plan.factor:g} into the weights of '{name_of(layer.node)}'"


def _factor(match: Match) -> float | None:
    node, value = match.root, match.value("x")
    at = 0 if node.inputs[0] is value else 1
    number = number_of(node.inputs[1 - at])
    if number is None or (node.op_type == "Div" and (at == 1 or number == 0)):
        return None
    return number if node.op_type == "Mul" else 1 / number


def _chain(value: "ir.Value", user: "ir.Node", factor: float) -> _Chain:
    """Follow a value up to a layer; of a product of two values the first that has one."""
    node = value.producer()
    if node is None or node.graph is not user.graph or node.domain not in ONNX:
        raise RefusedError("there is no layer before it", user)
    check_alone(node, {id(user)})
    if node.op_type in LAYERS.split() and len(node.inputs) > 1 and stored(node.inputs[1]) is not None:
        return _Chain(layer_of(node), (), factor)
    refused = None
    for one in _sources(node):
        try:
            before = _chain(one, node, factor)
        except RefusedError as exc:
            refused = refused or exc
        else:
            return _Chain(before.layer, (*before.between, node), factor)
    raise refused or RefusedError(f"{node.op_type} is between, which is not linear", node)


def _sources(node: "ir.Node") -> "list[ir.Value]":
    """Return those inputs one of which may be scaled instead of the output."""
    computed = [one for one in node.inputs if one is not None and one.const_value is None]
    if node.op_type in _LINEAR:
        return [one for one in node.inputs[:1] if one is not None]
    if node.op_type in {"MatMul", "Mul"}:
        return computed
    return computed if node.op_type in {"Add", "Sub"} and len(computed) == 1 else []


def _scaled(draft: Draft, node: "ir.Node", value: "ir.Value | None", factor: float) -> "ir.Value | None":
    """Return what an op takes beside the chain: a constant that is added is scaled too."""
    array = stored(value) if node.op_type in {"Add", "Sub"} else None
    return value if array is None or value is None else draft.floats(array * factor, value, "scaled")


@dataclass(frozen=True, slots=True)
class _Shifted:
    """A layer with scaled weights, and what is added to what it takes."""

    layer: Layer
    array: Reals
    offset: Reals


class ScaleDown(Rule[_Shifted]):
    """f x + o is f (x + o / f): the scale goes into the layer behind, even where that pads, and the shift stays."""

    name = "scale-down"
    help = "a scale before a shift before a layer into the layer's weights"
    patterns = (
        op(
            LAYERS,
            op(
                "Add Sub",
                op("Mul Div", Any("x"), Stored("scale"), name="scaled", anywhere=True),
                Stored("shift"),
                name="shifted",
                anywhere=True,
            ),
        ),
    )

    def check(self, match: Match) -> _Shifted:
        """Take one number a channel each, a scale that is nowhere 0."""
        layer, scaled, shifted = layer_of(match.root), match.node("scaled"), match.node("shifted")
        scale, shift = affine_of(scaled, match.value("x")), affine_of(shifted, match.value("scaled"))
        if np.any(shift.factor != 1):
            raise RefusedError("it turns the sign", shifted)
        if not same_shape(match.value("x"), layer.input):
            raise RefusedError("its constant makes the value larger, or shapes are not known", scaled)
        count = inputs_of(layer.weights)
        factor, offset = (
            over_channels(one, layer.behind, count, layer.input, node)
            for one, node in ((scale.factor, scaled), (shift.offset, shifted))
        )
        if np.any(factor == 0):
            raise RefusedError("its scale is 0 somewhere", scaled)
        return _Shifted(layer, layer.array * over_inputs(layer.weights, factor), offset / factor)

    def rewrite(self, draft: Draft, match: Match, plan: _Shifted) -> str:
        """Write the shift and the layer."""
        source = match.value("x")
        offset = draft.floats(plan.offset.reshape(-1, *(1,) * plan.layer.behind), source, "shift")
        shifted = draft.op("Add", source, offset, name=name_of(match.node("shifted")))
        shifted.shape = source.shape
        draft.instead(write_layer(draft, plan.layer, Numbers(plan.array, plan.layer.bias), shifted))
        return f"{match.node('scaled').op_type} before {match.node('shifted').op_type} into {match.root.op_type}"
