"""Nodes that hand on what they are given."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft, check_stand_in
from edgekit_converters.compress.rules.pattern import Found
from edgekit_converters.compress.rules.values import same_shape, stored
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

_TRAINING = 2  # the place of Dropout's third input


class NoOp(Rule["ir.Value"]):
    """Identity, Dropout, x * 1, x + 0, a Reshape to the shape there is, a Transpose that moves nothing, ..."""

    name = "no-op"
    help = "nodes that change nothing are taken out"
    keeps_inner = True

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield a node that hands one of its inputs on."""
        if node.domain not in ONNX or node.op_type not in _HANDED_ON:
            return
        value = _HANDED_ON[node.op_type](node)
        if value is not None and (node.op_type in _ALWAYS or same_shape(value, node.outputs[0])):
            yield Match(model, node, Found((node,), {"x": value}))

    def check(self, match: Match) -> "ir.Value":
        """Refuse where another result is used, or an output of the model would be left without a maker."""
        if any(one.uses() or one.is_graph_output() for one in match.root.outputs[1:]):
            raise RefusedError("its other results are used")
        check_stand_in(match.value("x"), match.root.outputs[0])
        return match.value("x")

    def rewrite(self, draft: Draft, match: Match, plan: "ir.Value") -> str:
        """Let what it is given stand for it."""
        draft.instead(plan)
        return f"{match.root.op_type} taken out"


def _first(node: "ir.Node") -> "ir.Value | None":
    return node.inputs[0]


def _only(node: "ir.Node") -> "ir.Value | None":
    return node.inputs[0] if len(node.inputs) == 1 else None


def _dropout(node: "ir.Node") -> "ir.Value | None":
    """Hand on unless in training: an attribute up to opset 6, an input from 12 on."""
    asked = node.inputs[_TRAINING] if len(node.inputs) > _TRAINING else None
    trains = asked is not None and (asked.const_value is None or bool(np.any(asked.const_value.numpy())))
    return None if trains or node.attributes.get_int("is_test", 1) == 0 else node.inputs[0]


def _neutral(number: float, *, left: bool) -> "Callable[[ir.Node], ir.Value | None]":
    """Hand on what is combined with a neutral element on the right, or also on the left."""

    def handed_on(node: "ir.Node") -> "ir.Value | None":
        for at in (1, 0) if left else (1,):
            array = stored(node.inputs[at])
            if array is not None and np.all(array == number):
                return node.inputs[1 - at]
        return None

    return handed_on


def _same_dtype(node: "ir.Node") -> "ir.Value | None":
    value = node.inputs[0]
    return value if value is not None and value.dtype == node.outputs[0].dtype and value.dtype is not None else None


def _in_order(node: "ir.Node") -> "ir.Value | None":
    order = node.attributes.get_ints("perm", None)
    value = node.inputs[0]
    if value is None or value.shape is None:
        return None
    order = order or tuple(reversed(range(len(value.shape))))
    return value if list(order) == sorted(order) else None


def _one_by_one(node: "ir.Node") -> "ir.Value | None":
    kernel = node.attributes.get_ints("kernel_shape", None) or (0,)
    return node.inputs[0] if set(kernel) == {1} else None


# kind -> the input a node hands on if the shapes are the same, or None
_HANDED_ON: Mapping[str, "Callable[[ir.Node], ir.Value | None]"] = MappingProxyType(
    {
        "Identity": _first,
        "Dropout": _dropout,
        "Mul": _neutral(1.0, left=True),
        "Div": _neutral(1.0, left=False),
        "Pow": _neutral(1.0, left=False),
        "Add": _neutral(0.0, left=True),
        "Sub": _neutral(0.0, left=False),
        "Cast": _same_dtype,
        "Transpose": _in_order,
        "MaxPool": _one_by_one,
        "AveragePool": _one_by_one,
        **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Pad", "Slice"), _first),
        **dict.fromkeys(("Concat", "Sum", "Mean", "Max", "Min"), _only),
    }
)
_ALWAYS = frozenset({"Identity", "Dropout"})
"""Those that are told by their kind alone, even where shapes are not known."""
