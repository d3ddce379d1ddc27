"""What the lowering functions work with: tensors that know in which order they are stored.

A tensor of rank 4 is stored NHWC from the first spatial op on, one of rank 3 NWC. `perm` says which
axis of the ONNX shape each stored axis is. A Transpose only changes `perm`; a real one is written when
an op needs another order, once for each order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.lowering.broadcasting import low_rank
from edgekit_converters.lowering.dims import Dim, broadcast, is_free
from edgekit_converters.lowering.graph import Graph, Node, Value
from edgekit_converters.lowering.module import DTYPES, Module, Ref
from edgekit_converters.lowering.runtime_sizes import RuntimeSizes
from edgekit_converters.model import Array

Perm = tuple[int, ...]
NO_ACTIVATION = 'fused_activation_function = "NONE"'


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value: stored axis i is axis `perm[i]` of the ONNX shape."""

    ref: Ref
    perm: Perm

    @property
    def shape(self) -> tuple[int, ...]:
        """The ONNX shape."""
        return tuple(self.ref.shape[self.perm.index(axis)] for axis in range(len(self.perm)))

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.perm)

    @property
    def dtype(self) -> str:
        """NumPy's name of the dtype."""
        return self.ref.dtype

    def stored_axis(self, axis: int) -> int:
        """Return where an ONNX axis (may be negative) is stored."""
        return self.perm.index(axis % self.rank)


def identity(rank: int) -> Perm:
    """Return the order of ONNX itself."""
    return tuple(range(rank))


def channels_last(rank: int) -> Perm:
    """Return NHWC for rank 4, NWC for rank 3: channels behind the spatial axes."""
    return (0, *range(2, rank), 1)


class Builder:
    """The module so far, and the tensors by their ONNX names."""

    def __init__(self, graph: Graph, *, channels_last: bool = False) -> None:
        """Start with a graph's inputs; with `channels_last` images lie so at the rim too."""
        self._images_last = channels_last
        self.graph = graph
        self.module = Module(self._vector)
        self._tensors: dict[str, Tensor] = {}
        self._ordered: dict[tuple[str, Perm, Perm], Tensor] = {}
        self._runtime = RuntimeSizes(self.module)
        self.stand_ins: list[str] = []
        self.notes: list[str] = []
        for name in graph.inputs:
            value = graph.values[name]
            self._keep(name, self._argument(value, self._rim(len(value.shape))))

    # --- what a node is given

    def refuse(self, node: Node, why: str) -> UnsupportedError:  # noqa: ARG002  # who catches it names the node
        """Return the error that says why a node is not lowered."""
        return UnsupportedError(why)

    def note(self, node: Node, why: str) -> None:
        """Remember why a node did not get the form it could have had; `--explain` tells it."""
        self.notes.append(f"{node}: {why}")

    def is_constant(self, name: str) -> bool:
        """Whether a value is known beforehand."""
        return name in self.graph.constants

    def is_known(self, name: str) -> bool:
        """Whether `constant_of` gives a value: it is constant, or follows from free sizes."""
        return name in self.graph.constants or name in self.graph.sizes

    def constant_of(self, node: Node, place: int) -> Array | None:
        """Return a constant input, or None when it is not given; free sizes in it are `Dim` (an object array).

        Raises:
            UnsupportedError: if it is given and only known at run time.
        """
        if place >= len(node.inputs) or not node.inputs[place]:
            return None
        name = node.inputs[place]
        if name in self.graph.sizes:
            return self.graph.sizes[name]
        if name not in self.graph.constants:
            raise self.refuse(node, f"its input '{name}' is not a constant")
        return self.graph.constants[name]

    def tensor(self, name: str) -> Tensor:
        """Return a value by its ONNX name; a constant is written into the module in ONNX's order."""
        if name not in self._tensors:
            if name in self.graph.sizes:
                value = self.graph.values[name]
                ref = self._runtime.array(self.graph.sizes[name], value.dtype)
                self._tensors[name] = Tensor(ref, identity(len(value.shape)))
            else:
                array = self.graph.constants[name]
                self._tensors[name] = Tensor(self.module.constant(array), identity(array.ndim))
        return self._tensors[name]

    def input(self, node: Node, place: int = 0) -> Tensor:
        """Return a node's input."""
        return self.tensor(node.inputs[place])

    def set(self, name: str, tensor: Tensor) -> None:
        """Name a result.

        Raises:
            UnsupportedError: if its shape is not what ONNX Runtime gave (a fault of a lowering).
        """
        wanted = self.graph.values[name].shape
        if tensor.shape != wanted:
            raise UnsupportedError(f"value '{name}' came out as {tensor.shape}, not {wanted}")
        for axis, (got, size) in enumerate(zip(tensor.shape, wanted, strict=True)):
            # of one that depends on data (it has a tag) the lowering may know more than the trial run
            if isinstance(size, Dim) and not size.tag and not is_free(got):
                raise UnsupportedError(f"axis {axis} of value '{name}' does not follow a free dimension")
        self._keep(name, tensor)

    def stand_in(self, name: str) -> None:
        """Make a value an input: what makes it is refused, and what comes behind is to be looked at all the same."""
        self.stand_ins.append(f"stand-in {len(self.stand_ins)}")
        value = self.graph.values[name]
        self._keep(name, self._argument(value, identity(len(value.shape))))

    def result(self, name: str) -> Ref:
        """Return a graph's output as it lies at the rim."""
        tensor = self.tensor(name)
        return self.order(tensor, self._rim(tensor.rank)).ref

    def _rim(self, rank: int) -> Perm:
        return channels_last(rank) if self._images_last and rank in {4, 5} else identity(rank)

    def _argument(self, value: Value, perm: Perm) -> Tensor:
        # a dtype that cannot be had is refused by who lowers the graph
        dtype = value.dtype if value.dtype in DTYPES else "float32"
        return Tensor(self.module.argument([value.shape[axis] for axis in perm], dtype), perm)

    def _keep(self, name: str, tensor: Tensor) -> None:
        self._tensors[name] = tensor
        self._runtime.learn(tensor.ref)

    def _vector(self, values: Any) -> Ref:  # noqa: ANN401  # nested sequences of ints
        """Write sizes, some of them free, as an int32 operand."""
        array = np.array([[*row] if isinstance(row, Sequence) else row for row in values], dtype=object)
        return self._runtime.array(array, "int32")

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the ONNX shape of any value."""
        return self._tensors[name].shape if name in self._tensors else self.graph.values[name].shape

    # --- order

    def order(self, tensor: Tensor, perm: Perm) -> Tensor:
        """Return the tensor stored in this order; free where only axes of size 1 move."""
        if tensor.perm == perm:
            return tensor
        key = (tensor.ref.name, tensor.perm, perm)
        if key in self._ordered:
            return self._ordered[key]
        moves = [tensor.perm.index(axis) for axis in perm]
        shape = [tensor.ref.shape[axis] for axis in moves]
        real = [axis for axis in moves if tensor.ref.shape[axis] != 1]
        if real == sorted(real):
            ref = self.reshaped(tensor.ref, shape)
        else:
            ref = self.module.op("transpose", [tensor.ref, self.module.ints(moves)], "", shape, tensor.dtype)
            said = " to ".join("".join(map(str, one)) for one in (tensor.perm, perm))
            self.notes.append(f"a transpose stays at '{self.module.location}': its axes are turned from {said}")
        self._ordered[key] = Tensor(ref, perm)
        return self._ordered[key]

    def plain(self, tensor: Tensor) -> Ref:
        """Return the tensor stored in ONNX's order."""
        return self.order(tensor, identity(tensor.rank)).ref

    def spatial(self, tensor: Tensor) -> Ref:
        """Return the tensor stored with channels last."""
        return self.order(tensor, channels_last(tensor.rank)).ref

    def reshaped(self, ref: Ref, shape: Sequence[int]) -> Ref:
        """Return the stored values in another shape."""
        shape = tuple(shape)
        if shape == ref.shape:
            return ref
        free = [size for size in shape if is_free(size)]
        if len(free) > 1 and [one for one in shape if one != 1] == [one for one in ref.shape if one != 1]:
            return self._moved_ones(ref, shape)
        # one free size is what is left over; more of them are computed at run time
        sizes = [-1 if is_free(size) else size for size in shape] if len(free) == 1 else list(shape)
        return self.module.op("reshape", [ref, self.module.ints(sizes)], "", shape, ref.dtype)

    def _moved_ones(self, ref: Ref, shape: tuple[int, ...]) -> Ref:
        """Take out and put in axes of size 1, which needs no shape at run time."""
        ones = [axis for axis, size in enumerate(ref.shape) if size == 1]
        if ones:
            left = [size for size in ref.shape if size != 1]
            axes = ", ".join(map(str, ones))
            ref = self.module.op("squeeze", [ref], f"squeeze_dims = [{axes}]", left, ref.dtype)
        for axis, size in enumerate(shape):
            if size == 1:
                grown = (*ref.shape[:axis], 1, *ref.shape[axis:])
                place = self.module.constant(np.asarray(axis, np.int32))
                ref = self.module.op("expand_dims", [ref, place], "", grown, ref.dtype)
        return ref

    def together(self, tensors: Sequence[Tensor]) -> tuple[list[Ref], Perm]:
        """Return tensors that broadcast against each other in one order, that of the largest of full rank."""
        rank = max(one.rank for one in tensors)
        full = [one for one in tensors if one.rank == rank]
        perm = max(full, key=lambda one: (one.perm != identity(rank), math.prod(one.shape))).perm
        return [self._aligned(one, rank, perm) for one in tensors], perm

    def _aligned(self, tensor: Tensor, rank: int, perm: Perm) -> Ref:
        """Bring a tensor of up to this rank into the order, with axes of size 1 in front."""
        if math.prod(tensor.shape) == 1:
            return tensor.ref  # broadcasts in every order
        missing = rank - tensor.rank
        if missing == 0:
            return self.order(tensor, perm).ref
        if perm == identity(rank) and any(map(is_free, tensor.shape)):
            return self.plain(tensor)  # TFLite puts the axes in front itself
        grown = Tensor(self.reshaped(self.plain(tensor), (*([1] * missing), *tensor.shape)), identity(rank))
        return self.order(grown, perm).ref

    def aligned_constant(self, array: Array, rank: int, perm: Perm) -> Ref:
        """Write a constant of up to this rank in the order, so that it broadcasts."""
        if array.size == 1:
            return self.module.constant(array.reshape(()))
        grown = array.reshape((1,) * (rank - array.ndim) + array.shape)
        return self.module.constant(grown.transpose(perm))

    def operands(self, node: Node) -> tuple[list[Ref], Perm]:
        """Return all inputs of an elementwise node ready to broadcast, constants turned around beforehand."""
        variable = [self.tensor(name) for name in node.inputs if not self.is_constant(name)]
        rank = len(self.shape_of(node.outputs[0]))
        if any(one.rank == rank for one in variable):
            refs, perm = self.together(variable)
        else:
            perm = identity(rank)
            refs = [self._aligned(one, rank, perm) for one in variable]
        found = iter(refs)
        every = [
            self.aligned_constant(self.graph.constants[name], rank, perm) if self.is_constant(name) else next(found)
            for name in node.inputs
        ]
        return every, perm

    # --- small pieces many lowerings need

    def scalar(self, value: float, dtype: str = "float32") -> Ref:
        """Write a single number."""
        return self.module.constant(np.asarray(value, dtype=dtype))

    def binary(self, op: str, left: Ref, right: Ref) -> Ref:
        """Write add, sub, mul, div, maximum, minimum, pow, squared_difference with broadcasting."""
        attributes = NO_ACTIVATION if op in _FUSABLE else ""

        def write(refs: Sequence[Ref]) -> Ref:
            return self.module.op(op, refs, attributes, broadcast(*(one.shape for one in refs)), left.dtype)

        return low_rank(self, [left, right], write)

    def unary(self, op: str, ref: Ref, attributes: str = "") -> Ref:
        """Write an op that keeps shape and dtype."""
        return self.module.op(op, [ref], attributes, ref.shape, ref.dtype)


_FUSABLE = frozenset({"add", "sub", "mul", "div"})
