"""Transposes moved to where they meet another one.

Transpose -> Relu, + c, Softmax, ... -> Transpose    both orders one behind the other, behind the ops
Add(Transpose(x), Transpose(y)), Concat of several   one Transpose behind
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule, check_alone
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.compress.rules.elementwise import BINARY, UNARY, element_input
from edgekit_converters.compress.rules.pattern import Found
from edgekit_converters.compress.rules.shapes import order_of
from edgekit_converters.compress.rules.values import sizes_of, stored
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of

if TYPE_CHECKING:
    import onnx_ir as ir

_ALONG = frozenset({"Softmax", "LogSoftmax"})
_ALONG_SINCE = 13
_JOINS = BINARY | {"Sum", "Mean"}


@dataclass(frozen=True, slots=True)
class _Path:
    """The first Transpose, and the ops up to the second one, which is the match's root."""

    first: "ir.Node"
    between: "tuple[ir.Node, ...]"
    order: tuple[int, ...]


class TransposeDown(Rule[_Path]):
    """Ops that do not mind the order of axes are done before the first Transpose; then the two are one, or none."""

    name = "transpose-down"
    help = "a Transpose past ops on single elements to the Transpose behind them"
    keeps_inner = True

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield a Transpose behind an op that may have another one before it."""
        made = node.inputs[0].producer() if node.op_type == "Transpose" and node.inputs[0] is not None else None
        if made is not None and node.domain in ONNX and made.op_type in UNARY | BINARY | _ALONG and _begins(made):
            yield Match(model, node, Found((node,)))

    def check(self, match: Match) -> _Path:
        """Go up past ops that nothing else takes from, to a Transpose."""
        between: list[ir.Node] = []
        user, value = match.root, match.root.inputs[0]
        while True:
            node = None if value is None else value.producer()
            if node is None or node.graph is not match.root.graph:
                raise RefusedError("there is no Transpose before it")
            check_alone(node, {id(user)})
            if node.op_type == "Transpose":
                return _Path(node, tuple(reversed(between)), order_of(node))
            value = _source(node, match.opset)
            between.append(node)
            user = node

    def rewrite(self, draft: Draft, match: Match, plan: _Path) -> str:
        """Write the ops on what the first one takes, and one Transpose behind them."""
        old, new = plan.first.outputs[0], plan.first.inputs[0]
        for node in plan.between:
            new, old = moved(draft, node, old, new, plan.order), node.outputs[0]
        order = [plan.order[at] for at in order_of(match.root)]
        draft.instead(draft.op("Transpose", new, like=match.root, attributes={"perm": order}))
        draft.finish([match.root, *reversed(plan.between), plan.first])
        return f"'{name_of(plan.first)}' past {len(plan.between)} ops into it"


def _begins(node: "ir.Node") -> bool:
    """Whether a Transpose is somewhere above, past ops of one computed input: others are no near miss."""
    while True:
        computed = [one for one in node.inputs if one is not None and one.const_value is None]
        made = computed[0].producer() if len(computed) == 1 else None
        if made is None:
            return False
        if made.op_type == "Transpose":
            return True
        if made.op_type not in UNARY | BINARY | _ALONG:
            return False
        node = made


def _source(node: "ir.Node", opset: int) -> "ir.Value":
    if node.op_type in _ALONG and node.domain in ONNX and node.inputs[0] is not None:
        if opset < _ALONG_SINCE:
            raise RefusedError(f"{node.op_type} goes along several axes before opset {_ALONG_SINCE}", node)
        if node.inputs[0].shape is None:
            raise RefusedError("the number of its dimensions is not known", node)
        return node.inputs[0]
    return element_input(node)


def moved(draft: Draft, node: "ir.Node", old: "ir.Value", new: "ir.Value | None", order: Sequence[int]) -> "ir.Value":
    """Write an op before a Transpose of that order instead of behind it."""
    inputs = [new if one is old else _back(draft, one, order, node) for one in node.inputs]
    more: dict[str, Given] = {}
    if node.op_type in _ALONG:
        more["axis"] = order[(node.attributes.get_int("axis", -1) or 0) % len(order)]
    return draft.op(node.op_type, *inputs, like=node, attributes=more)


def _back(draft: Draft, value: "ir.Value | None", order: Sequence[int], node: "ir.Node") -> "ir.Value | None":
    """Return a constant as it lies before a Transpose."""
    array = stored(value) if node.op_type not in UNARY else None
    if array is None or value is None or array.ndim == 0:
        return value
    full = array.reshape([*(1 for _ in range(len(order) - array.ndim)), *array.shape])
    return draft.floats(full.transpose(np.argsort(order)), value, "moved")


class TransposeJoin(Rule[tuple[int, ...]]):
    """What is combined from values in the same order of axes is combined before the Transpose."""

    name = "transpose-join"
    help = "the same Transpose of all that is added, multiplied or concatenated once, behind"
    keeps_inner = True

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield an op with several computed inputs, all of them transposed."""
        if node.domain not in ONNX or node.op_type not in _JOINS | {"Concat"}:
            return
        made = {id(one): one.producer() for one in node.inputs if one is not None and one.const_value is None}
        if len(made) > 1 and all(one is not None and one.op_type == "Transpose" for one in made.values()):
            yield Match(model, node, Found((node, *(one for one in made.values() if one is not None))))

    def check(self, match: Match) -> tuple[int, ...]:
        """Take one order of axes, of values that nothing else takes."""
        node, *before = match.found.nodes
        orders = {order_of(one) for one in before}
        if len(orders) > 1:
            raise RefusedError("its inputs are transposed differently")
        for one in before:
            if one.graph is not node.graph:
                raise RefusedError("it reaches into another branch or loop", one)
            check_alone(one, {id(node)})
        (order,) = orders
        if node.op_type == "Concat" and any(one is not None and one.const_value is not None for one in node.inputs):
            raise RefusedError("it joins constants too")
        for value in node.inputs:
            sizes = None if value is None else sizes_of(value)
            if value is not None and value.const_value is not None and stored(value) is None:
                raise RefusedError("it takes a constant of whole numbers")
            if sizes is None or len(sizes) > len(order):
                raise RefusedError("the number of its dimensions is not known, or grows")
        return order

    def rewrite(self, draft: Draft, match: Match, plan: tuple[int, ...]) -> str:
        """Write the op, then the Transpose."""
        node = match.root
        made = {id(one.outputs[0]): one.inputs[0] for one in match.found.nodes[1:]}
        inputs = [made.get(id(one)) if id(one) in made else _back(draft, one, plan, node) for one in node.inputs]
        more: dict[str, Given] = {}
        if node.op_type == "Concat":
            more["axis"] = plan[(node.attributes.get_int("axis", 0) or 0) % len(plan)]
        joined = draft.op(node.op_type, *inputs, like=node, attributes=more)
        draft.instead(draft.op("Transpose", joined, attributes={"perm": plan}))
        return f"{len(made)} Transposes behind {node.op_type}"
