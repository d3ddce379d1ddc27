"""Where the layers of a graph keep their weights, and how they are replaced."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

Reals = NDArray[np.float64]

# Operator -> places of its weights among its inputs.
_PLACES = MappingProxyType(
    {
        "Conv": (1,),
        "ConvTranspose": (1,),
        "Gemm": (0, 1),
        "MatMul": (0, 1),
        "Gather": (0,),
        "LSTM": (1, 2),
        "GRU": (1, 2),
        "RNN": (1, 2),
    }
)
_MATRIX = 2  # dimensions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Constant weights of a node: `axis` is that of the output channels, None where the weights are a vector."""

    node: "ir.Node"
    place: int
    value: "ir.Value"
    axis: int | None

    @property
    def array(self) -> Reals:
        """The weights in double precision, whatever they are stored in."""
        tensor = self.value.const_value
        if tensor is None:
            raise AssertionError("weights are constant")
        return np.asarray(tensor.numpy(), dtype=np.float64)

    @property
    def result_axis(self) -> int:
        """The axis of the node's result that its output channels lie on."""
        if self.node.op_type in {"Conv", "ConvTranspose"}:
            return 1
        return -1 if self.place == 1 else -2


def weights_of(model: "ir.Model", ops: frozenset[str] = frozenset(_PLACES)) -> Iterator[Weights]:
    """Yield the constant floating-point weights of layers, in the order of the nodes, those inside branches too.

    A gathered table counts where it is a matrix (an embedding): others are lists of numbers.
    """
    for node in model.graph.all_nodes():
        if node.domain not in ONNX or node.op_type not in ops:
            continue
        for place in _PLACES.get(node.op_type, ()):
            value = node.inputs[place] if place < len(node.inputs) else None
            if value is None or not is_constant(value):
                continue
            axis = _axis(node, place, len(value.const_value.shape))  # type: ignore[union-attr]  # it is constant
            if node.op_type != "Gather" or axis is not None:
                yield Weights(node=node, place=place, value=value, axis=axis)


def is_constant(value: "ir.Value") -> bool:
    """Whether a value is a stored tensor of floats that no caller can replace."""
    tensor = value.const_value
    return tensor is not None and not value.is_graph_input() and tensor.dtype.is_floating_point() and tensor.size > 0


def only_user(value: "ir.Value") -> "ir.Node | None":
    """Return the node that alone takes a value; None where there are none or several, or it is an output."""
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _axis(node: "ir.Node", place: int, rank: int) -> int | None:
    if rank < _MATRIX:
        return None
    if node.op_type == "ConvTranspose":
        # The channels of the groups share the axis of outputs; the inputs' tells the groups apart.
        return 0 if node.attributes.get_int("group", 1) > 1 else 1
    if node.op_type == "Gemm":
        turned = bool(node.attributes.get_int("transB" if place else "transA", 0))
        return 1 - place if turned else place
    if node.op_type == "MatMul":
        return rank - 1 if place else rank - 2
    if node.op_type == "Gather":
        return 0 if rank == _MATRIX else None
    return 0 if node.op_type == "Conv" else 1


def replaced(value: "ir.Value", array: Reals) -> None:
    """Give a constant other values of the same shape, for all its users; its dtype stays."""
    import onnx_ir as ir

    old = value.const_value
    if old is None:
        raise AssertionError("only constants are replaced")
    value.const_value = ir.Tensor(array.astype(old.numpy().dtype), dtype=old.dtype, name=value.name)
