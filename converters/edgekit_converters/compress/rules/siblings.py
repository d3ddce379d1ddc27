"""Layers that take the same value: one layer with all their outputs, then a Split.

Conv, Conv on x              one Conv with the outputs of both, Split         (Inception's 1x1 branches)
MatMul (+ Add), ... on x     one MatMul (+ Add), Split                        (queries, keys and values)
Split, then the same activation on every part     the activation, then the Split
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.affine import affine_of, over_channels
from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.compress.rules.layer import Layer, Numbers, layer_of, write_layer
from edgekit_converters.compress.rules.pattern import Found
from edgekit_converters.compress.rules.values import stored
from edgekit_converters.compress.rules.windows import embedded, union, window_of_layer
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import groups_of, outputs_of
from edgekit_converters.graph.weights import Reals, only_user

if TYPE_CHECKING:
    import onnx_ir as ir

_SIZES_SINCE = 13  # the opset from which Split takes its sizes as an input
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class _Sibling:
    """A layer with the bias added behind it, if one is, and the value that comes of both."""

    layer: Layer
    array: Reals
    bias: Reals
    end: "ir.Value"


@dataclass(frozen=True, slots=True)
class _Family:
    """Siblings in the order of their outputs, and what the layer for all has of its own."""

    members: tuple[_Sibling, ...]
    numbers: Numbers
    attributes: dict[str, Given]
    added: bool
    """Whether the bias is added behind, for want of a place in the layer."""


class _Siblings(Rule[_Family]):
    """Layers of the same kind on the same value."""

    kinds: frozenset[str]
    keeps_inner = True

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield all layers on a node's input where it is the first of them."""
        if node.op_type not in self.kinds or node.domain not in ONNX or node.inputs[0] is None:
            return
        uses = [use.node for use in node.inputs[0].uses() if use.idx == 0]
        others = {id(one) for one in uses if one.op_type == node.op_type and one.domain in ONNX}
        if len(others) > 1 and node.graph is not None:
            family = tuple(one for one in node.graph if id(one) in others)
            if family[0] is node and len(family) > 1:
                yield from self._families(model, family)

    def _families(self, model: "ir.Model", nodes: "tuple[ir.Node, ...]") -> Iterator[Match]:
        """Yield those of the layers that may be one."""
        yield Match(model, nodes[0], Found(nodes))

    def rewrite(self, draft: Draft, match: Match, plan: _Family) -> str:
        """Write the layer, what is added to all, and the Split."""
        first = plan.members[0].layer
        names = "+".join(name_of(one.layer.node) for one in plan.members)[:_LONGEST_NAME]
        bias = np.zeros_like(plan.numbers.bias) if plan.added else plan.numbers.bias
        made = write_layer(draft, first, Numbers(plan.numbers.array, bias), attributes=plan.attributes)
        draft.made[-1].name = names
        if plan.added:
            made = draft.op("Add", made, draft.floats(plan.numbers.bias, first.weights.value, "bias"))
        sizes = [outputs_of(one.layer.weights) for one in plan.members]
        parts = split(draft, match.opset, made, sizes, 1 if first.is_conv else -1)
        for part, one in zip(parts, plan.members, strict=True):
            draft.instead(part, one.end)
        return f"{len(sizes)} siblings into one: {names}"


def split(draft: Draft, opset: int, value: "ir.Value", sizes: Sequence[int], axis: int) -> "list[ir.Value]":
    """Write a Split as the opset has it; return its parts."""
    if opset < _SIZES_SINCE:
        draft.op("Split", value, outputs=len(sizes), attributes={"axis": axis, "split": list(sizes)})
    else:
        draft.op("Split", value, draft.whole(sizes, "sizes"), outputs=len(sizes), attributes={"axis": axis})
    return list(draft.made[-1].outputs)


def _fitting(nodes: "Sequence[ir.Node]") -> list[Layer]:
    """Return those that have weights of their own; two at least."""
    layers, refused = [], []
    for node in nodes:
        try:
            layers.append(layer_of(node))
        except RefusedError as exc:
            refused.append(exc)
    if len(layers) < 2:  # noqa: PLR2004  # siblings
        raise refused[0]
    return layers


class ConvSiblings(_Siblings):
    """Convolutions with the same kernel size, strides, padding and dilations."""

    name = "conv-siblings"
    help = "convolutions of one value into one convolution and a Split"
    kinds = frozenset({"Conv"})

    def _families(self, model: "ir.Model", nodes: "tuple[ir.Node, ...]") -> Iterator[Match]:
        rest = list(nodes)
        while rest:
            same = tuple(one for one in rest if _look(one) == _look(rest[0]))
            yield Match(model, same[0], Found(same if len(same) > 1 else nodes))
            rest = [one for one in rest if all(one is not other for other in same)]

    def check(self, match: Match) -> _Family:
        """Take convolutions without groups that look at the same places."""
        nodes = match.found.nodes
        if any(_look(one) != _look(nodes[0]) for one in nodes):
            raise RefusedError("its siblings have other kernel sizes, strides, dilations or padding")
        if any(groups_of(one) != 1 for one in nodes):
            raise RefusedError("it has groups", next(one for one in nodes if groups_of(one) != 1))
        return _family([_Sibling(one, one.array, one.bias, one.node.outputs[0]) for one in _fitting(nodes)], {})


def _look(node: "ir.Node") -> tuple[object, ...]:
    weights = node.inputs[1]
    kernel = None if weights is None or weights.shape is None else tuple(weights.shape)[2:]
    return (kernel, *(str(node.attributes.get(key)) for key in ("strides", "pads", "dilations", "auto_pad")))


class PaddedSiblings(_Siblings):
    """Convolutions whose kernels differ: the smaller ones with zeros around. More multiplications, fewer calls."""

    name = "conv-siblings-padded"
    help = "convolutions of one value with different kernels into one, the smaller kernels with zeros around"
    kinds = frozenset({"Conv"})
    default = False

    def check(self, match: Match) -> _Family:
        """Take convolutions without groups, and with the same strides."""
        nodes = match.found.nodes
        if any(groups_of(one) != 1 for one in nodes):
            raise RefusedError("it has groups", next(one for one in nodes if groups_of(one) != 1))
        layers = _fitting(nodes)
        windows = [window_of_layer(one) for one in layers]
        if len({one.room for one in windows}) > 1:
            raise RefusedError("their outputs are of different sizes")
        whole = union(windows)
        members = [
            _Sibling(one, embedded(one.array, window, whole), one.bias, one.node.outputs[0])
            for one, window in zip(layers, windows, strict=True)
        ]
        return _family(members, whole.attributes)


class DenseSiblings(_Siblings):
    """MatMul or Gemm layers, with the bias that is added behind a MatMul."""

    name = "dense-siblings"
    help = "dense layers of one value into one layer and a Split: queries, keys and values"
    kinds = frozenset({"MatMul", "Gemm"})

    def check(self, match: Match) -> _Family:
        """Take layers with weights of their own."""
        return _family([_with_bias(one) for one in _fitting(match.found.nodes)], {})


def _with_bias(layer: Layer) -> _Sibling:
    """Return a dense layer [outputs, inputs] with the bias added behind it, if it is one number an output."""
    value = layer.node.outputs[0]
    user = only_user(value)
    if layer.node.op_type == "MatMul" and user is not None and user.op_type == "Add" and user.graph is layer.node.graph:
        other = stored(user.inputs[1] if user.inputs[0] is value else user.inputs[0])
        if other is not None:
            try:
                bias = over_channels(affine_of(user, value).offset, 0, outputs_of(layer.weights), value, user)
            except RefusedError:
                return _Sibling(layer, layer.matrix.T, layer.bias, value)
            return _Sibling(layer, layer.matrix.T, bias, user.outputs[0])
    return _Sibling(layer, layer.matrix.T, layer.bias, value)


def _family(members: Sequence[_Sibling], attributes: dict[str, Given]) -> _Family:
    if len({one.layer.weights.value.dtype for one in members}) > 1:
        raise RefusedError("their weights are of different types")
    first = members[0].layer
    array = np.concatenate([one.array for one in members])
    bias = np.concatenate([one.bias for one in members])
    added = first.node.op_type == "MatMul" and bool(np.any(bias))
    stored_as = array if first.is_conv else first.as_stored(array.T)
    return _Family(tuple(members), Numbers(stored_as, bias), attributes, added)


class SplitActivation(Rule["list[ir.Node]"]):
    """The same activation on every part of a Split: once, before it."""

    name = "split-activation"
    help = "the same activation behind every part of a Split before it"
    keeps_inner = True
    _kinds = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSwish", "HardSigmoid", "Gelu", "Clip"})

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield a Split whose first part goes into an activation."""
        if node.op_type == "Split" and node.domain in ONNX:
            user = only_user(node.outputs[0])
            if user is not None and user.op_type in self._kinds:
                yield Match(model, node, Found((node,)))

    def check(self, match: Match) -> "list[ir.Node]":
        """Take parts that go nowhere else, into activations with the same settings."""
        users = [only_user(one) for one in match.root.outputs]
        found = [one for one in users if one is not None and one.graph is match.root.graph]
        if len(found) < len(users) or any(_settings(one) != _settings(found[0]) for one in found):
            raise RefusedError("its parts do not all go into the same activation alone")
        return found

    def rewrite(self, draft: Draft, match: Match, plan: "list[ir.Node]") -> str:
        """Write the activation and a Split behind it."""
        node, first = match.root, plan[0]
        active = draft.op(first.op_type, node.inputs[0], *first.inputs[1:], like=first)
        active.shape = None if node.inputs[0] is None else node.inputs[0].shape
        draft.op("Split", active, *node.inputs[1:], like=node, outputs=len(node.outputs))
        for part, one in zip(draft.made[-1].outputs, plan, strict=True):
            draft.instead(part, one.outputs[0])
        return f"{len(plan)} {first.op_type} before the Split"


def _settings(node: "ir.Node") -> tuple[object, ...]:
    attributes = tuple(sorted(f"{key}={one.value}" for key, one in node.attributes.items()))
    return (node.op_type, node.domain, attributes, tuple(_number(one) for one in node.inputs[1:]))


def _number(value: "ir.Value | None") -> object:
    array = stored(value)
    return id(value) if array is None else (array.shape, array.tobytes())
