"""Branches on one value that are added: one kernel with the sum of theirs.

x may be taken by convolutions of different kernels, by norms and scales, and by nothing at all (a skip connection): a
scale is a 1x1 kernel with it on the diagonal. After Ding et al. 2021, "RepVGG: Making VGG-style ConvNets Great Again".
A dense layer is a convolution without axes to look along.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.affine import affine_of, over_channels
from edgekit_converters.compress.rules.base import Match, RefusedError, Rule, check_alone
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.compress.rules.layer import Layer, Numbers, check_place_for_bias, layer_of, write_layer
from edgekit_converters.compress.rules.pattern import Found
from edgekit_converters.compress.rules.values import same_shape, stored
from edgekit_converters.compress.rules.windows import Window, embedded, union, window_of_layer
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import groups_of
from edgekit_converters.graph.weights import Reals, only_user

if TYPE_CHECKING:
    import onnx_ir as ir

_SUMS = frozenset({"Add", "Sum"})
_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_SCALES = frozenset({"Mul", "Div", "Neg", "BatchNormalization"})


@dataclass(frozen=True, slots=True)
class _Branch:
    """A kernel [outputs, inputs of a group, taps...] that a branch is, with its bias."""

    kernel: Reals
    bias: Reals
    window: Window


@dataclass(frozen=True, slots=True)
class _Sum:
    """One layer for some of the branches, and what is added to it still."""

    like: Layer
    numbers: Numbers
    attributes: dict[str, Given]
    count: int
    rest: "tuple[ir.Value, ...]"


class AddedBranches(Rule[_Sum]):
    """Branches of one value, added."""

    name = "added-branches"
    help = "convolutions, dense layers, norms and skips of one value that are added into one layer"
    keeps_inner = True

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield a sum that is no part of another one, once for every value that a layer and others in it take."""
        if node.op_type not in _SUMS or node.domain not in ONNX:
            return
        user = only_user(node.outputs[0])
        if user is not None and user.op_type in _SUMS and user.graph is node.graph:
            return
        inner, terms = _terms(node)
        for source in {id(value): value for value in map(_taken, terms) if value is not None}.values():
            if sum(_is_of(one, source) for one in terms) > 1:
                yield Match(model, node, Found(tuple(inner), {"x": source}))

    def check(self, match: Match) -> _Sum:
        """Take those branches that fit one kernel, a layer among them, where that has no more weights."""
        source, (_, terms) = match.value("x"), _terms(match.root)
        if any(not same_shape(one, match.root.outputs[0]) for one in terms):
            raise RefusedError("its terms have different shapes, or shapes that are not known")
        inside = {id(one) for one in match.found.nodes}
        layers, refused = _layers(terms, source, inside)
        like = max(layers.values(), key=lambda one: one.array.size)
        branches, rest = [], []
        for one in terms:
            try:
                branches.append(_branch(one, source, like, layers.get(id(one)), inside))
            except RefusedError as exc:
                refused.append(exc)
                rest.append(one)
        if len(branches) < 2:  # noqa: PLR2004  # branches
            raise refused[0]
        return _merged(like, branches, rest, sum(one.array.size for one in layers.values()))

    def rewrite(self, draft: Draft, match: Match, plan: _Sum) -> str:
        """Write the layer, and add what is left."""
        made = write_layer(draft, plan.like, plan.numbers, attributes=plan.attributes)
        for one in plan.rest:
            made = draft.op("Add", made, one)
        draft.instead(made)
        return f"{plan.count} branches of '{match.value('x').name}' into '{name_of(plan.like.node)}'"


def _terms(node: "ir.Node") -> "tuple[list[ir.Node], list[ir.Value]]":
    """Return the nodes of a sum, and what they add; sums that only go into it are part of it."""
    nodes, terms = [node], []
    for value in node.inputs:
        if value is None:
            continue
        made = value.producer()
        inner = made is not None and made.op_type in _SUMS and made.graph is node.graph and only_user(value) is node
        if made is not None and inner and all(stored(one) is None for one in made.inputs):
            more, deeper = _terms(made)
            nodes += more
            terms += deeper
        else:
            terms.append(value)
    return nodes, terms


def _taken(value: "ir.Value") -> "ir.Value | None":
    """Return what a term takes if it is a layer."""
    node = value.producer()
    return node.inputs[0] if node is not None and node.op_type in _LAYERS and node.domain in ONNX else None


def _is_of(value: "ir.Value", source: "ir.Value") -> bool:
    """Whether a term may be a branch of a value."""
    node = value.producer()
    scaled = node is not None and node.op_type in _SCALES and any(one is source for one in node.inputs)
    return value is source or _taken(value) is source or scaled


def _layers(
    terms: "Sequence[ir.Value]", source: "ir.Value", inside: set[int]
) -> tuple[dict[int, Layer], list[RefusedError]]:
    """Return the layers on a value by their outputs' ids, and why others are none that can go."""
    layers, refused = dict[int, Layer](), list[RefusedError]()
    for value in terms:
        node = value.producer()
        if node is not None and _taken(value) is source:
            try:
                check_alone(node, inside)
                layers[id(value)] = layer_of(node)
            except RefusedError as exc:
                refused.append(exc)
    if not layers:
        raise refused[0]
    return layers, refused


def _branch(value: "ir.Value", source: "ir.Value", like: Layer, layer: Layer | None, inside: set[int]) -> _Branch:
    """Return a term as a kernel.

    Raises:
        RefusedError: if it is none of the value, or none that fits the layer.
    """
    node = value.producer()
    if layer is not None:
        if groups_of(layer.node) != groups_of(like.node) or layer.is_conv != like.is_conv:
            raise RefusedError("its branches have different groups, or are of different kinds", layer.node)
        return _Branch(layer.array if layer.is_conv else layer.matrix.T, layer.bias, window_of_layer(layer))
    count = len(like.bias)
    if value is source:
        return _diagonal(like, np.ones(count), np.zeros(count))
    if node is None or node.op_type not in _SCALES or all(one is not source for one in node.inputs):
        raise RefusedError("the other terms are no branches of the same value", node)
    check_alone(node, inside)
    made = affine_of(node, source)
    return _diagonal(like, *(over_channels(one, like.behind, count, value, node) for one in (made.factor, made.offset)))


def _diagonal(like: Layer, factor: Reals, offset: Reals) -> _Branch:
    """Return a scale and shift a channel as a kernel that looks at one place."""
    count, groups, axes = len(factor), groups_of(like.node), like.behind
    kernel = np.zeros((count, count // groups))
    kernel[np.arange(count), np.arange(count) % (count // groups)] = factor
    window = Window((0,) * axes, (1,) * axes, (1,) * axes, (1,) * axes, (0,) * axes)
    return _Branch(kernel.reshape(*kernel.shape, *window.taps), offset, window)


def _merged(like: Layer, branches: Sequence[_Branch], rest: "list[ir.Value]", before: int) -> _Sum:
    whole = union([one.window for one in branches])
    kernel = sum(embedded(one.kernel, one.window, whole) for one in branches)
    bias = np.sum([one.bias for one in branches], axis=0)
    kernel = np.asarray(kernel)
    if kernel.size > before:
        raise RefusedError(f"one layer would have {kernel.size} weights, the branches have {before}")
    check_place_for_bias(like, bias)
    numbers = Numbers(kernel if like.is_conv else like.as_stored(kernel.T), bias)
    return _Sum(like, numbers, whole.attributes if like.is_conv else {}, len(branches), tuple(rest))
