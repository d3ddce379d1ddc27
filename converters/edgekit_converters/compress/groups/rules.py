"""What every operator ties: one table. What no rule names works across channels, so those around it stay."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.groups import layer_rules, moving_rules
from edgekit_converters.compress.groups.ties import Ties
from edgekit_converters.graph.reading import computed, numbers

if TYPE_CHECKING:
    import onnx_ir as ir

Rule = Callable[["ir.Node", Ties], None]
_SOFTMAX_OF_ONE_AXIS = 13  # opset

_ELEMENTWISE = (
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot",
    "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div", "Dropout", "Elu",
    "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity",
    "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh",
    "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "InstanceNormalization", "LpPool")
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip


def elementwise(node: "ir.Node", ties: Ties) -> None:
    """Tie the axes of all inputs to those of the result, from the last one on; what is broadcast is not tied."""
    made = node.outputs[0]
    for one in (*node.inputs, *node.outputs[1:]):
        _align(ties, one, made)


def _align(ties: Ties, one: "ir.Value | None", made: "ir.Value") -> None:
    for back in range(1, (ties.rank(one) or 0) + 1):
        ties.tie(one, -back, made, -back)


def _but(node: "ir.Node", ties: Ties, *axes: int) -> None:
    """Tie the axes of the first input to those of the result, but some."""
    rank = ties.rank(node.inputs[0]) or 0
    gone = {axis % rank for axis in axes} if rank else set()
    for axis in range(rank):
        if axis not in gone:
            ties.tie(node.inputs[0], axis, node.outputs[0], axis)


def _pool(node: "ir.Node", ties: Ties) -> None:
    """Tie batch and channels; what a scale or bias a channel is (InstanceNormalization) is tied with them."""
    if not any(one.uses() for one in node.outputs[1:]):  # MaxPool's indices count over all channels
        for axis in (0, 1):
            ties.tie(node.inputs[0], axis, node.outputs[0], axis)
        for one in node.inputs[1:]:
            ties.tie(one, 0, node.outputs[0], 1)


def _batch_norm(node: "ir.Node", ties: Ties) -> None:
    if not any(one.uses() for one in node.outputs[1:]):
        _but(node, ties)
        for one in node.inputs[1:]:
            ties.tie(one, 0, node.outputs[0], 1)


def _layer_norm(node: "ir.Node", ties: Ties) -> None:
    _behind(node, ties, node.attributes.get_int("axis", -1) or 0)


def _softmax(node: "ir.Node", ties: Ties) -> None:
    one_axis = (node.graph.opset_imports.get("", 0) if node.graph else 0) >= _SOFTMAX_OF_ONE_AXIS
    axis = node.attributes.get_int("axis", -1 if one_axis else 1)
    if one_axis:
        _but(node, ties, axis or 0)
    else:
        _behind(node, ties, axis or 0)


def _behind(node: "ir.Node", ties: Ties, axis: int) -> None:
    """Tie the axes before one: from that on they are worked across."""
    rank = ties.rank(node.inputs[0])
    if rank:
        _but(node, ties, *range(axis % rank, rank))


def _along(node: "ir.Node", ties: Ties) -> None:
    """Tie all axes but that of the attribute (LpNormalization, CumSum)."""
    axes = numbers(node, 1, "axis")
    given = node.attributes.get_int("axis", -1)
    if not computed(node, 1):
        _but(node, ties, *(axes if axes is not None else (given or 0,)))


def _reduce(node: "ir.Node", ties: Ties) -> None:
    axes = numbers(node, 1, "axes")
    if computed(node, 1):
        return
    if not axes:
        if node.attributes.get_int("noop_with_empty_axes", 0):
            _but(node, ties)
        return
    _reduced(node, ties, *axes)


def _arg(node: "ir.Node", ties: Ties) -> None:
    _reduced(node, ties, node.attributes.get_int("axis", 0) or 0)


def _reduced(node: "ir.Node", ties: Ties, *axes: int) -> None:
    rank = ties.rank(node.inputs[0])
    if rank is None:
        return
    gone = {axis % rank for axis in axes}
    kept = node.attributes.get_int("keepdims", 1) != 0
    places = iter(range(rank))
    for axis in range(rank):
        place = next(places) if kept or axis not in gone else None
        if axis not in gone and place is not None:
            ties.tie(node.inputs[0], axis, node.outputs[0], place)


def _concat(node: "ir.Node", ties: Ties) -> None:
    _joined(node, ties, node.outputs[0], node.inputs)


def _split(node: "ir.Node", ties: Ties) -> None:
    _joined(node, ties, node.inputs[0], node.outputs, unknown=computed(node, 1))


def _joined(
    node: "ir.Node",
    ties: Ties,
    whole: "ir.Value | None",
    parts: "Sequence[ir.Value | None]",
    *,
    unknown: bool = False,
) -> None:
    """Tie parts to the value they make, or are made of, one behind the other; `unknown` is where they lie in it."""
    rank, begin = ties.rank(whole), 0
    if rank is None:
        return
    along = (node.attributes.get_int("axis", 0) or 0) % rank
    for one in parts:
        for axis in range(rank):
            if axis != along:
                ties.tie(one, axis, whole, axis)
    for one in parts:
        size = ties.size(one, along)
        if size is None or unknown:
            return
        ties.tie(one, along, whole, along, begin + np.arange(size))
        begin += size


# Operator -> what it ties.
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_ELEMENTWISE, elementwise),
        **dict.fromkeys((*_POOLS, "MaxPool"), _pool),
        **dict.fromkeys(_REDUCTIONS, _reduce),
        **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
        **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
        **dict.fromkeys(("LpNormalization", "CumSum"), _along),
        **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), moving_rules.reshape),
        **dict.fromkeys(("Resize", "Upsample"), moving_rules.resize),
        "BatchNormalization": _batch_norm,
        "LayerNormalization": _layer_norm,
        "Concat": _concat,
        "Split": _split,
        "Transpose": moving_rules.transpose,
        "Slice": moving_rules.part,
        "Gather": moving_rules.gather,
        "Pad": moving_rules.pad,
        "Expand": moving_rules.expand,
        "Tile": moving_rules.tile,
        "Conv": layer_rules.conv,
        "ConvTranspose": layer_rules.conv_transpose,
        "Gemm": layer_rules.gemm,
        "MatMul": layer_rules.matmul,
    }
)
