"""A number that a linear chain's result is multiplied by: into the weights at the chain's beginning."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import name_of
from edgekit_converters.compress.rules.base import Match, RefusedError, Rule, check_alone
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.layer import LAYERS, Layer, Numbers, layer_of, write_layer
from edgekit_converters.compress.rules.pattern import Any, op
from edgekit_converters.compress.rules.values import number_of, stored
from edgekit_converters.graph.model import ONNX

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
