"""Ops that work on every element by itself: what may be moved past a stride or a Transpose."""

from typing import TYPE_CHECKING

from edgekit_converters.compress.rules.base import RefusedError
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.values import same_shape, stored
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

UNARY = frozenset(
    {
        "Abs", "Cast", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin",
        "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip
BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"})


def takes_channels(node: "ir.Node", behind: int) -> "ir.Value":
    """Return what an op takes that works on every place of an image the same way.

    Args:
        node: the op.
        behind: how many axes lie behind the channels'.

    Raises:
        RefusedError: if it is none, or takes several computed values, or a constant that differs between places.
    """
    source = element_input(node)
    for other in node.inputs:
        array = None if other is source or node.op_type in UNARY else stored(other)
        if array is not None and any(size != 1 for size in array.shape[max(0, array.ndim - behind) :]):
            raise RefusedError("its constant differs between places of a channel", node)
    return source


def element_input(node: "ir.Node") -> "ir.Value":
    """Return the only computed value an op takes that works on every element by itself, of the shape it gives.

    Raises:
        RefusedError: if it is no such op.
    """
    value = node.inputs[0] if node.inputs else None
    if node.domain not in ONNX or node.op_type not in UNARY | BINARY or value is None:
        raise RefusedError(f"{node.op_type} is between, which does not work on every element by itself", node)
    if node.op_type in UNARY:
        if any(one is not None and one.const_value is None for one in node.inputs[1:]):
            raise RefusedError("its bounds are computed", node)
        return value
    computed = [one for one in node.inputs if stored(one) is None]
    if len(computed) != 1 or computed[0] is None:
        raise RefusedError(f"{node.op_type} takes several computed values", node)
    if not same_shape(computed[0], node.outputs[0]):
        raise RefusedError("its constant makes the value larger, or shapes are not known", node)
    return computed[0]


def rebuilt(draft: Draft, node: "ir.Node", old: "ir.Value", new: "ir.Value") -> "ir.Value":
    """Write an op anew with another value in one's place."""
    return draft.op(node.op_type, *(new if one is old else one for one in node.inputs), like=node)
