"""Two linear layers with nothing between them are one, where that costs no more."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.layer import Layer, Numbers, check_place_for_bias, layer_of, write_layer
from edgekit_converters.compress.rules.pattern import op
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import groups_of
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class _Merged:
    """The layer whose attributes the merged one has, its weights and bias, and what else differs."""

    like: Layer
    source: "ir.Value"
    numbers: Numbers
    strides: tuple[int, ...] | None


class DensePair(Rule[_Merged]):
    """x A B is x (A B)."""

    name = "dense-pair"
    help = "two dense layers in a row into one, where that has no more weights"
    patterns = (op("Gemm MatMul", op("Gemm MatMul", name="first")),)

    def check(self, match: Match) -> _Merged:
        """Take layers whose product is no larger than both."""
        first, second = layer_of(match.node("first")), layer_of(match.root)
        made = first.matrix @ second.matrix
        bias = first.bias @ second.matrix + second.bias
        _check_pays(made, first, second)
        check_place_for_bias(second, bias)
        return _Merged(second, first.input, Numbers(second.as_stored(made), bias), None)

    def rewrite(self, draft: Draft, match: Match, plan: _Merged) -> str:
        """Write one layer."""
        draft.instead(write_layer(draft, plan.like, plan.numbers, plan.source))
        return f"{match.node('first').op_type} and {match.root.op_type} into one"


class ConvPair(Rule[_Merged]):
    """A convolution and a 1x1 one behind it, or before it where nothing is padded, are one."""

    name = "conv-pair"
    help = "a convolution and a 1x1 convolution in a row into one, where that has no more weights"
    patterns = (op("Conv", op("Conv", name="first")),)

    def check(self, match: Match) -> _Merged:
        """Take layers without groups, one of them 1x1, whose product is no larger than both."""
        first, second = layer_of(match.node("first")), layer_of(match.root)
        for one in (first, second):
            if groups_of(one.node) != 1:
                raise RefusedError("it has groups", one.node)
        if _is_point(second):
            made = _behind(first, second)
        elif _is_point(first):
            made = _before(first, second)
        else:
            raise RefusedError("neither of the two is a 1x1 convolution without padding")
        _check_pays(made.numbers.array, first, second)
        return made

    def rewrite(self, draft: Draft, match: Match, plan: _Merged) -> str:
        """Write one layer."""
        more = None if plan.strides is None else {"strides": plan.strides}
        draft.instead(write_layer(draft, plan.like, plan.numbers, plan.source, more))
        return f"'{name_of(match.node('first'))}' into it"


def _behind(first: Layer, second: Layer) -> _Merged:
    """Every place of the first's output is mixed by itself: where the second skips some, so may the first."""
    mix = second.array.reshape(second.array.shape[:2])
    steps = strides_of(second.node, first.behind)
    if any(step != 1 for step in steps) and first.node.attributes.get_string("auto_pad", "NOTSET").startswith("SAME"):
        raise RefusedError("its padding follows from its stride", first.node)
    strides = tuple(a * b for a, b in zip(strides_of(first.node, first.behind), steps, strict=True))
    array = np.einsum("om,mi...->oi...", mix, first.array)
    return _Merged(first, first.input, Numbers(array, mix @ first.bias + second.bias), strides)


def _before(first: Layer, second: Layer) -> _Merged:
    """The second sees the first's bias everywhere but where it pads."""
    if any(step != 1 for step in strides_of(first.node, first.behind)):
        raise RefusedError("it has a stride", first.node)
    if np.any(first.bias) and pads_of(second.node, second.behind) != (0,) * 2 * second.behind:
        raise RefusedError("the first's bias would be missing where the second pads", second.node)
    mix = first.array.reshape(first.array.shape[:2])
    array = np.einsum("om...,mi->oi...", second.array, mix)
    places = tuple(range(2, second.array.ndim))
    bias = second.bias + second.array.sum(axis=places) @ first.bias
    return _Merged(second, first.input, Numbers(array, bias), None)


def _check_pays(made: Reals, first: Layer, second: Layer) -> None:
    if made.size > first.array.size + second.array.size:
        raise RefusedError(
            f"one layer would have {made.size} weights, the two have {first.array.size} and {second.array.size}"
        )


def _is_point(layer: Layer) -> bool:
    kernel = layer.array.shape[2:]
    return all(size == 1 for size in kernel) and pads_of(layer.node, layer.behind) == (0,) * 2 * layer.behind


def strides_of(node: "ir.Node", spatial: int) -> tuple[int, ...]:
    """Return a convolution's or pooling's strides."""
    return tuple(node.attributes.get_ints("strides", ()) or (1,) * spatial)


def dilations_of(node: "ir.Node", spatial: int) -> tuple[int, ...]:
    """Return a convolution's or pooling's dilations."""
    return tuple(node.attributes.get_ints("dilations", ()) or (1,) * spatial)


def pads_of(node: "ir.Node", spatial: int) -> tuple[int, ...] | None:
    """Return a convolution's or pooling's padding, before every axis and then behind; None where it follows."""
    how = node.attributes.get_string("auto_pad", "NOTSET")
    if how == "VALID":
        return (0,) * 2 * spatial
    if how != "NOTSET":
        return None
    return tuple(node.attributes.get_ints("pads", ()) or (0,) * 2 * spatial)
