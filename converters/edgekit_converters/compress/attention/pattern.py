"""Attention in a graph: scores of queries and keys, what is done to them, a softmax, and the product with values.

Vaswani et al., "Attention is all you need" (2017). Exporters differ in where they scale, in how a mask is put on, in
guards against rows that are masked out, and in whether heads have an axis of their own; the softmax over the last axis
between two products of computed matrices is what they share.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of, said
from edgekit_converters.graph.weights import only_user

if TYPE_CHECKING:
    import onnx_ir as ir

_ON_SCORES = frozenset({"Add", "Sub", "Mul", "Div", "Where", "Max", "Min", "Clip", "Identity", "Dropout", "Cast"})
_ON_WEIGHTS = frozenset({"Identity", "Dropout", "Cast"})
_LAST_OPSET_FLAT = 12
_LEAST_RANK = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """Softmax(on_scores(queries keys)) values, a matrix for every leading index: a sample's head."""

    scores: "ir.Node"
    on_scores: tuple["ir.Node", ...]
    """From the scores to the softmax: a scale, a mask."""
    softmax: "ir.Node"
    on_weights: tuple["ir.Node", ...]
    """From the softmax to the product, guards against rows without any key left out."""
    product: "ir.Node"

    @property
    def name(self) -> str:
        """Of the softmax."""
        return name_of(self.softmax)

    @property
    def query(self) -> "ir.Value":
        """The queries [..., length, width]."""
        return self.scores.inputs[0]  # type: ignore[return-value]  # a MatMul has both

    @property
    def key(self) -> "ir.Value":
        """The keys [..., width, length]."""
        return self.scores.inputs[1]  # type: ignore[return-value]

    @property
    def value(self) -> "ir.Value":
        """The values [..., length, width]."""
        return self.product.inputs[1]  # type: ignore[return-value]

    @property
    def context(self) -> "ir.Value":
        """What comes out, [..., length, width]."""
        return self.product.outputs[0]

    def data_place(self, node: "ir.Node") -> int:
        """Return which input of one of `on_scores` comes from the scores."""
        before = (self.scores, *self.on_scores)[self.on_scores.index(node)].outputs[0]
        return next(at for at, one in enumerate(node.inputs) if one is before)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAttention:
    """A softmax that is none of an attention that can be taken apart, and why."""

    name: str
    why: str


class NotMatchedError(Exception):
    """A graph is not of the form: the message says why."""


def attentions_of(model: "ir.Model") -> Iterator[Attention | NoAttention]:
    """Yield for every softmax of the main graph the attention it is of, or why it is of none."""
    for node in model.graph:
        if node.domain in ONNX and node.op_type == "Softmax":
            try:
                yield _matched(model, node)
            except NotMatchedError as exc:
                yield NoAttention(name=name_of(node), why=str(exc))
        elif node.op_type in {"Attention", "MultiHeadAttention"}:
            yield NoAttention(name=name_of(node), why=f"op '{node.op_type}' is attention in one, which is not opened")


def _matched(model: "ir.Model", softmax: "ir.Node") -> Attention:
    taken = softmax.inputs[0]
    if taken is None or taken.shape is None or len(taken.shape) < _LEAST_RANK:
        raise NotMatchedError("its softmax takes no matrices")
    _check_axis(model, softmax, len(taken.shape))
    found = list(_products_above(taken, ()))
    if not found:
        raise NotMatchedError("its scores are no product of two computed matrices")
    if len(found) > 1:
        raise NotMatchedError("its scores are a sum of two products")
    scores, on_scores = found[0]
    for node in (scores, *on_scores):
        if len(tuple(node.outputs[0].uses())) > 1 or node.outputs[0].is_graph_output():
            raise NotMatchedError(f"its scores behind {said(node)} are used elsewhere too")
    on_weights, product = _product_below(softmax)
    return Attention(scores=scores, on_scores=on_scores, softmax=softmax, on_weights=on_weights, product=product)


def _check_axis(model: "ir.Model", softmax: "ir.Node", rank: int) -> None:
    opset = next((version for domain, version in model.graph.opset_imports.items() if domain in ONNX), 0)
    axis = softmax.attributes.get_int("axis", 1 if opset <= _LAST_OPSET_FLAT else -1)
    if axis not in {-1, rank - 1}:
        raise NotMatchedError(f"its softmax is over axis {axis}, not over the last one")


def _products_above(
    value: "ir.Value | None", behind: tuple["ir.Node", ...]
) -> Iterator[tuple["ir.Node", tuple["ir.Node", ...]]]:
    """Yield the products a value is made of by what may be done to scores, with the nodes from there on."""
    node = None if value is None else value.producer()
    if node is None or node.domain not in ONNX:
        return
    if node.op_type == "MatMul":
        if all(one is not None and one.const_value is None for one in node.inputs):
            yield node, behind
    elif node.op_type in _ON_SCORES:
        for one in node.inputs[1:] if node.op_type == "Where" else node.inputs:
            yield from _products_above(one, (node, *behind))


def _product_below(softmax: "ir.Node") -> tuple[tuple["ir.Node", ...], "ir.Node"]:
    value, on_weights = softmax.outputs[0], list["ir.Node"]()
    while True:
        guard = _guard(value)
        node = guard or only_user(value)
        if node is None:
            raise NotMatchedError("its weights go elsewhere than into one product")
        if node.op_type == "MatMul":
            if node.inputs[0] is not value or node.inputs[1].const_value is not None:  # type: ignore[union-attr]
                raise NotMatchedError("its weights do not multiply computed values from the left")
            return tuple(on_weights), node
        if guard is None and node.op_type not in _ON_WEIGHTS:
            raise NotMatchedError(f"{said(node)} is between its softmax and the product with values")
        if guard is None:
            on_weights.append(node)
        value = node.outputs[0]


def _guard(value: "ir.Value") -> "ir.Node | None":
    """Return the Where that replaces what is no number, if that is all that becomes of a value."""
    users = {id(use.node): use.node for use in value.uses()}
    tests = [one for one in users.values() if one.op_type == "IsNaN"]
    guards = [one for one in users.values() if one.op_type == "Where" and one.inputs[2] is value]
    if len(users) != 2 or len(tests) != 1 or len(guards) != 1 or value.is_graph_output():  # noqa: PLR2004
        return None
    return guards[0] if only_user(tests[0].outputs[0]) is guards[0] else None
