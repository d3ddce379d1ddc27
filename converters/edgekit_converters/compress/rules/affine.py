"""Scales and shifts a channel: brought into the layer before or behind them, and two of them made one.

layer -> Mul, Div, Add, Sub, Neg, BatchNormalization     y = f (W x + b) + o       other weights and bias
Mul, ... -> layer                                        y = W (f x + o) + b       where no padding is between
Mul -> Mul, Add -> Add (and Div, Sub)                    one of them
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.layer import LAYERS, Layer, Numbers, check_place_for_bias, layer_of, write_layer
from edgekit_converters.compress.rules.pattern import Any, Form, Op, Stored, op
from edgekit_converters.compress.rules.values import same_shape, stored
from edgekit_converters.graph.scaling import inputs_of, outputs_of, over_inputs, over_outputs, per_output
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir

_ONE = np.ones(())
_ZERO = np.zeros(())
_NORM_INPUTS = 5
_BINARY = 2


@dataclass(frozen=True, slots=True)
class Affine:
    """A node that computes factor * x + offset; both broadcast against x."""

    node: "ir.Node"
    source: "ir.Value"
    factor: Reals
    offset: Reals


def scaled(form: Form, name: str) -> tuple[Op, ...]:
    """Return the forms of a scale and shift by stored numbers, under a name."""
    return (_by_constant("Mul Div Add Sub", form, name), op("Neg BatchNormalization", form, name=name))


def _by_constant(kinds: str, form: Form, name: str) -> Op:
    return op(kinds, form, Stored(f"{name} constant"), name=name, anywhere=True)


def affine_of(node: "ir.Node", source: "ir.Value") -> Affine:
    """Return what a node does to one of its inputs.

    Raises:
        RefusedError: if that is no scale and shift by stored numbers.
    """
    if node.op_type == "Neg":
        return Affine(node, source, -_ONE, _ZERO)
    if node.op_type == "BatchNormalization":
        return _norm(node, source)
    at = 0 if node.inputs[0] is source else 1
    other = stored(node.inputs[1 - at])
    if other is None:
        raise RefusedError(f"{node.op_type} takes what is computed", node)
    if node.op_type == "Div" and at == 1:
        raise RefusedError("it divides by what is computed", node)
    if node.op_type in {"Mul", "Div"}:
        with np.errstate(divide="ignore"):
            factor = other if node.op_type == "Mul" else 1 / other
        if not np.all(np.isfinite(factor)):
            raise RefusedError("it divides by 0", node)
        return Affine(node, source, factor, _ZERO)
    sign = -1.0 if node.op_type == "Sub" else 1.0
    return Affine(node, source, -_ONE, other) if at == 1 and sign < 0 else Affine(node, source, _ONE, sign * other)


def _norm(node: "ir.Node", source: "ir.Value") -> Affine:
    parameters = [stored(one) for one in node.inputs[1:]]
    if len(node.inputs) != _NORM_INPUTS or any(one is None for one in parameters) or node.inputs[0] is not source:
        raise RefusedError("its statistics are computed", node)
    if node.attributes.get_int("training_mode", 0) or any(one.uses() for one in node.outputs[1:]):
        raise RefusedError("it is in training", node)
    if source.shape is None:
        raise RefusedError("the number of its dimensions is not known", node)
    scale, offset, mean, variance = (one for one in parameters if one is not None)
    factor = scale / np.sqrt(variance + (node.attributes.get_float("epsilon", 1e-5) or 0.0))
    shape = [-1, *(1 for _ in range(len(source.shape) - 2))]
    return Affine(node, source, factor.reshape(shape), (offset - mean * factor).reshape(shape))


def over_channels(array: Reals, behind: int, count: int, value: "ir.Value", node: "ir.Node") -> Reals:
    """Return an array that is broadcast against a value as one number a channel [count].

    Args:
        array: what is broadcast.
        behind: how many axes of the value lie behind that of its channels.
        count: how many channels there are.
        value: against which it is broadcast.
        node: to blame.

    Raises:
        RefusedError: if it differs between places, or makes the value larger.
    """
    rank = None if value.shape is None else len(value.shape)
    if array.ndim > (behind + 1 if rank is None else rank):
        raise RefusedError("its constant adds dimensions", node)
    padded = array.reshape([*(1 for _ in range(behind + 1 - array.ndim)), *array.shape])
    axis = padded.ndim - 1 - behind
    moved = np.moveaxis(padded, axis, 0).reshape(padded.shape[axis], -1)
    if np.any(moved != moved[:, :1]):
        raise RefusedError("its constant differs between places of a channel", node)
    _check_extents(padded, value, axis, node)
    if len(moved) not in {1, count}:
        raise RefusedError(f"its constant has {len(moved)} channels against {count}", node)
    return np.broadcast_to(moved[:, 0], count)


def _check_extents(padded: Reals, value: "ir.Value", axis: int, node: "ir.Node") -> None:
    """Refuse a constant that is larger than the value along another axis than the channels'."""
    shape = (None,) * padded.ndim if value.shape is None else tuple(value.shape)[-padded.ndim :]
    for at, size in enumerate(padded.shape):
        if at != axis and size != 1 and shape[at] != size:
            raise RefusedError("its constant makes the value larger", node)


@dataclass(frozen=True, slots=True)
class _Folding:
    """A layer and the weights and bias it gets."""

    layer: Layer
    numbers: Numbers


class AffineAfter(Rule[_Folding]):
    """A layer's scale and shift go into its weights and bias."""

    name = "affine-after"
    help = "scale, shift, bias or norm behind a layer into its weights and bias"
    patterns = scaled(op(LAYERS, name="layer"), "affine")

    def check(self, match: Match) -> _Folding:
        """Take a constant that is one number a channel."""
        layer = layer_of(match.node("layer"))
        made = affine_of(match.root, match.value("layer"))
        count = outputs_of(layer.weights)
        factor, offset = (
            over_channels(one, layer.behind, count, match.value("layer"), match.root)
            for one in (made.factor, made.offset)
        )
        bias = layer.bias * factor + offset
        check_place_for_bias(layer, bias)
        return _Folding(layer, Numbers(layer.array * over_outputs(layer.weights, factor), bias))

    def rewrite(self, draft: Draft, match: Match, plan: _Folding) -> str:
        """Write the layer anew."""
        draft.instead(write_layer(draft, plan.layer, plan.numbers))
        return f"{match.root.op_type} into {plan.layer.node.op_type}"


class AffineBefore(Rule[_Folding]):
    """A scale and shift of what a layer takes goes into its weights and bias."""

    name = "affine-before"
    help = "scale, shift or norm before a layer into its weights and bias"
    patterns = tuple(op(LAYERS, form) for form in scaled(Any("x"), "affine"))

    def check(self, match: Match) -> _Folding:
        """Take a constant that is one number a channel; a shift only where the layer adds no zeros around."""
        layer, value = layer_of(match.root), match.value("x")
        node = match.node("affine")
        made = affine_of(node, value)
        count = inputs_of(layer.weights)
        factor, offset = (
            over_channels(one, layer.behind, count, layer.input, node) for one in (made.factor, made.offset)
        )
        if not same_shape(value, layer.input):
            raise RefusedError("its constant makes the value larger, or shapes are not known", node)
        if np.any(offset):
            _check_no_zeros(layer)
        shift = per_output(layer.weights, layer.array * over_inputs(layer.weights, offset)).sum(axis=1)
        check_place_for_bias(layer, shift)
        return _Folding(layer, Numbers(layer.array * over_inputs(layer.weights, factor), layer.bias + shift))

    def rewrite(self, draft: Draft, match: Match, plan: _Folding) -> str:
        """Write the layer anew, on what was scaled."""
        draft.instead(write_layer(draft, plan.layer, plan.numbers, match.value("x")))
        return f"{match.node('affine').op_type} into {plan.layer.node.op_type}"


def _check_no_zeros(layer: Layer) -> None:
    node = layer.node
    if node.op_type == "ConvTranspose":
        raise RefusedError("it is shifted, and a ConvTranspose sums over fewer places at its edges", node)
    padded = any(node.attributes.get_ints("pads", ()))
    if layer.is_conv and (padded or node.attributes.get_string("auto_pad", "NOTSET").startswith("SAME")):
        raise RefusedError("it is shifted, and the layer pads with zeros that are not", node)


class AffinePair(Rule[Reals]):
    """Two scales, or two shifts, in a row are one."""

    name = "affine-pair"
    help = "two scales or two shifts in a row into one"
    patterns = (
        _by_constant("Mul Div", _by_constant("Mul Div", Any("x"), "first"), "second"),
        _by_constant("Add Sub", _by_constant("Add Sub", Any("x"), "first"), "second"),
    )

    def check(self, match: Match) -> Reals:
        """Take two stored constants that together are no larger than they were."""
        first = affine_of(match.node("first"), match.value("x"))
        second = affine_of(match.root, match.value("first"))
        scale = match.root.op_type in {"Mul", "Div"}
        if not scale and min(first.factor, second.factor) < 0:
            raise RefusedError("one of them turns the sign")
        made = first.factor * second.factor if scale else first.offset + second.offset
        larger = max(first.factor.size, first.offset.size, second.factor.size, second.offset.size)
        if made.size > larger:
            raise RefusedError("the constants together are larger than each")
        return np.asarray(made)

    def rewrite(self, draft: Draft, match: Match, plan: Reals) -> str:
        """Write one Mul or Add."""
        source = match.value("x")
        kind = "Mul" if match.root.op_type in {"Mul", "Div"} else "Add"
        draft.instead(draft.op(kind, source, draft.floats(plan, source), name=str(match.root.name or "")))
        return f"{match.node('first').op_type} and {match.root.op_type} into {kind}"
