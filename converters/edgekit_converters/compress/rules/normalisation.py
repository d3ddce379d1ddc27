"""Normalisations and Softmax written out in small ops.

d = x - ReduceMean(x); d / Sqrt(ReduceMean(d^2) + epsilon)     LayerNormalization, opset 17
LayerNormalization -> Mul, Add by constants                    its own scale and bias
Exp(x) / ReduceSum(Exp(x)), with or without the maximum taken  Softmax
Log(Softmax(x))                                                LogSoftmax
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.pattern import Any, Form, Op, Stored, op
from edgekit_converters.compress.rules.values import number_of, same_shape, sizes_of, stored, whole_numbers
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir

_X = Any("x")
_SOFTMAX_ANY_AXIS = 13
"""From this opset Softmax works along one axis; before along all from one on."""


def axes_of(node: "ir.Node") -> list[int]:
    """Return the axes a reduction goes along, from 0 on.

    Raises:
        RefusedError: if they are computed, or the dimensions are not known.
    """
    value = node.inputs[0]
    sizes = None if value is None else sizes_of(value)
    if sizes is None:
        raise RefusedError("its dimensions are not known", node)
    given: list[int] | None
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        given = whole_numbers(node.inputs[1])
        if given is None:
            raise RefusedError("its axes are computed", node)
    else:
        given = list(node.attributes.get_ints("axes", ()))
    if not given and node.attributes.get_int("noop_with_empty_axes", 0) == 1:
        raise RefusedError("it reduces nothing", node)
    return sorted(axis % len(sizes) for axis in given) if given else list(range(len(sizes)))


def _kept(node: "ir.Node") -> list[int]:
    """Return the axes of a reduction that leaves them in place with one element."""
    if node.attributes.get_int("keepdims", 1) != 1:
        raise RefusedError("it drops the axes it goes along", node)
    return axes_of(node)


@dataclass(frozen=True, slots=True)
class _Norm:
    """The first of the axes, how many elements they have, and what is added to the variance."""

    axis: int
    sizes: tuple[int, ...]
    epsilon: float


def _layer_norm(square: Op) -> Op:
    variance = op("ReduceMean", square, name="variance")
    return op("Div", _CENTRED, op("Sqrt", op("Add", variance, Stored("epsilon"))))


_CENTRED: Form = op("Sub", _X, op("ReduceMean", _X, name="mean"), name="centred")


class LayerNorm(Rule[_Norm]):
    """After Ba et al. 2016, "Layer Normalization"."""

    name = "layer-norm"
    help = "a layer normalization written out into LayerNormalization (opset 17)"
    patterns = tuple(
        _layer_norm(square) for square in (op("Pow", _CENTRED, Stored("power")), op("Mul", _CENTRED, _CENTRED))
    )

    def check(self, match: Match) -> _Norm:
        """Take means over the last axes, whose sizes are known."""
        match.need_opset("LayerNormalization", 17)
        if "power" in match.found.named and number_of(match.value("power")) != 2:  # noqa: PLR2004  # the square
            raise RefusedError("it is no square")
        epsilon, sizes = number_of(match.value("epsilon")), sizes_of(match.value("x"))
        axes = _kept(match.node("mean"))
        if axes != _kept(match.node("variance")):
            raise RefusedError("its mean and its variance go along different axes")
        if sizes is None or axes != list(range(axes[0], len(sizes))):
            raise RefusedError("it does not go along the last axes")
        last = tuple(size for size in sizes[axes[0] :] if isinstance(size, int))
        if len(last) < len(axes) or epsilon is None:
            raise RefusedError("the sizes of its axes, or its epsilon, are not known")
        return _Norm(axes[0] - len(sizes), last, epsilon)

    def rewrite(self, draft: Draft, match: Match, plan: _Norm) -> str:
        """Write the op, with a scale of 1."""
        value = match.value("x")
        scale = draft.floats(np.ones(plan.sizes), value, "scale")
        how = {"axis": plan.axis, "epsilon": plan.epsilon}
        made = draft.op("LayerNormalization", value, scale, name=str(match.root.name or ""), attributes=how)
        draft.instead(made)
        return f"{len({id(one) for one in match.found.nodes})} ops into LayerNormalization"


@dataclass(frozen=True, slots=True)
class _ScaleAndBias:
    scale: Reals
    bias: Reals


class LayerNormScale(Rule[_ScaleAndBias]):
    """What a LayerNormalization is scaled and shifted by are its second and third inputs."""

    name = "layer-norm-scale"
    help = "scale and shift behind a LayerNormalization into it"
    patterns = (op("Mul Add", op("LayerNormalization", name="norm"), Stored("constant")),)

    def check(self, match: Match) -> _ScaleAndBias:
        """Take a constant that is the same for all that is normalized by itself."""
        node = match.node("norm")
        if any(one.uses() or one.is_graph_output() for one in node.outputs[1:]):
            raise RefusedError("its mean or deviation is used", node)
        scale = stored(node.inputs[1])
        bias = stored(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(())  # noqa: PLR2004  # its bias
        constant = stored(match.value("constant"))
        if scale is None or bias is None or constant is None:
            raise RefusedError("its scale or bias is computed", node)
        if not same_shape(match.value("norm"), match.root.outputs[0]):
            raise RefusedError("its constant makes the value larger, or shapes are not known")
        while constant.ndim > scale.ndim and constant.shape[0] == 1:
            constant = constant[0]
        if constant.ndim > scale.ndim:
            raise RefusedError("its constant differs between what is normalized apart")
        constant, bias = np.broadcast_to(constant, scale.shape), np.broadcast_to(bias, scale.shape)
        if match.root.op_type == "Mul":
            return _ScaleAndBias(scale * constant, bias * constant)
        return _ScaleAndBias(scale, bias + constant)

    def rewrite(self, draft: Draft, match: Match, plan: _ScaleAndBias) -> str:
        """Write the op with them."""
        node, value = match.node("norm"), match.node("norm").inputs[1]
        if value is None:
            raise AssertionError("a LayerNormalization has a scale")
        given = [draft.floats(plan.scale, value, "scale")]
        if np.any(plan.bias):
            given.append(draft.floats(plan.bias, value, "bias"))
        draft.instead(draft.op("LayerNormalization", node.inputs[0], *given, like=node))
        return f"{match.root.op_type} into LayerNormalization"


_EXPONENTIALS = (
    op("Exp", op("Sub", _X, op("ReduceMax", _X, name="greatest"))),
    op("Exp", _X),
)


class Softmax(Rule[int]):
    """Written out without the maximum it overflows from 89 on; the op does not."""

    name = "softmax"
    help = "Exp(x) / ReduceSum(Exp(x)) into Softmax"
    patterns = tuple(op("Div", one, op("ReduceSum", one, name="sum")) for one in _EXPONENTIALS)

    def check(self, match: Match) -> int:
        """Take a sum along one axis, the maximum along the same."""
        axes = _kept(match.node("sum"))
        if "greatest" in match.found.named and _kept(match.node("greatest")) != axes:
            raise RefusedError("its maximum and its sum go along different axes")
        if len(axes) != 1:
            raise RefusedError("it goes along several axes")
        sizes = sizes_of(match.value("x"))
        if sizes is None or (match.opset < _SOFTMAX_ANY_AXIS and axes[0] != len(sizes) - 1):
            raise RefusedError(
                f"Softmax along one axis is of opset {_SOFTMAX_ANY_AXIS}, and the model's is {match.opset}"
            )
        return axes[0]

    def rewrite(self, draft: Draft, match: Match, plan: int) -> str:
        """Write the op."""
        made = draft.op("Softmax", match.value("x"), name=str(match.root.name or ""), attributes={"axis": plan})
        draft.instead(made)
        return f"{len({id(one) for one in match.found.nodes})} ops into Softmax"


class LogSoftmax(Rule[None]):
    """The logarithm of a small share loses digits; the op does not."""

    name = "log-softmax"
    help = "Log(Softmax(x)) into LogSoftmax"
    patterns = (op("Log", op("Softmax", _X, name="softmax")),)

    def check(self, match: Match) -> None:
        """Take any."""

    def rewrite(self, draft: Draft, match: Match, plan: None) -> str:  # noqa: ARG002  # the port's
        """Write the op along the same axis."""
        draft.instead(draft.op("LogSoftmax", match.value("x"), like=match.node("softmax")))
        return "Log and Softmax into LogSoftmax"
