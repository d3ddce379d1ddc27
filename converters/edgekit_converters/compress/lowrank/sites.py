"""Layers that a chain of smaller ones can stand for, as kernels, and why others cannot be."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Left, Setting
from edgekit_converters.compress.lowrank.factors import Factor
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import groups_of
from edgekit_converters.graph.weights import Reals, Weights, weights_of

if TYPE_CHECKING:
    import onnx_ir as ir

_MATRIX = 2  # dimensions
_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """A layer whose weights are [groups, outputs, inputs, *window], a dense one's in one group without a window.

    `rows` is how often they are used on a sample besides; `taken` and `given` are the places along the window's axes
    of what goes in and comes out. Free dimensions count as 1.
    """

    weights: Weights
    kernel: Reals
    rows: int
    taken: tuple[int, ...]
    given: tuple[int, ...]

    @property
    def name(self) -> str:
        """The layer's."""
        return name_of(self.weights.node)

    @property
    def windowed(self) -> bool:
        """Whether it looks at more than one place."""
        return any(size > 1 for size in self.kernel.shape[3:])

    @property
    def depthwise(self) -> bool:
        """Whether each of its groups takes a single channel."""
        groups, _, inputs = self.kernel.shape[:3]
        return int(groups) > 1 and int(inputs) == 1

    def size(self, of: str) -> int:
        """Return the `parameters` of its weights, or their `macs` of a sample."""
        return self._count(self.kernel.size, of)

    def least(self, of: str) -> int:
        """Return less than which no form of it has: a weight for every input, place of the window and output."""
        groups, outputs, inputs = self.kernel.shape[:3]
        places = math.prod(self.kernel.shape[3:]) if self.windowed else 0
        return min(self.size(of), self._count(groups * (outputs + inputs + places), of))

    def _count(self, weights: int, of: str) -> int:
        return weights if of == "parameters" else weights * self.rows * math.prod(self.given)

    def macs_of(self, factors: Sequence[Factor]) -> int:
        """Return what the factors one after the other take of a sample."""
        places, count = list(self.taken), 0
        for one in factors:
            for axis in one.axes:
                places[axis] = self.given[axis]
            count += one.kernel.size * self.rows * math.prod(places)
        return count


def sites_of(model: "ir.Model", setting: Setting) -> Iterator[Site | Left]:
    """Yield the layers that may be changed, in the order of the nodes."""
    for one in weights_of(model, _OPS):
        if setting.may_change(one.node):
            why = _why_not(model, one)
            yield Left(layer=name_of(one.node), why=why) if why else _site(one)


def _why_not(model: "ir.Model", weights: Weights) -> str | None:  # noqa: PLR0911  # a reason each
    node, shape = weights.node, tuple(weights.value.const_value.shape.numpy())  # type: ignore[union-attr]  # constant
    other = node.inputs[1 - weights.place]
    if node.op_type == "ConvTranspose":
        return "it is a ConvTranspose, for which there is no form"
    if node.graph is not model.graph:
        return "it is inside a branch or loop"
    if other is None or other.const_value is not None:
        return "both of its operands are constant"
    if len(tuple(weights.value.uses())) > 1 or weights.value.is_graph_output():
        return "its weights are used elsewhere too"
    if node.op_type == "Gemm" and weights.place == 0:
        return "its weights are on the left of a Gemm"
    if len(shape) < _MATRIX:
        return "its weights are a vector"
    if node.op_type == "MatMul" and len(shape) > _MATRIX:
        return f"its weights are a stack of matrices {list(shape)}"
    return None


def _site(weights: Weights) -> Site:
    node, array = weights.node, weights.array
    if node.op_type == "Conv":
        taken, given = (_sizes(one)[2:] for one in (node.inputs[0], node.outputs[0]))
        spatial, strides = array.ndim - _MATRIX, node.attributes.get_ints("strides", None)
        if len(taken) != spatial or len(given) != spatial:
            taken, given = tuple(strides or (1,) * spatial), (1,) * spatial
        groups = groups_of(node)
        kernel = array.reshape(groups, array.shape[0] // groups, *array.shape[1:])
        return Site(weights=weights, kernel=kernel, rows=1, taken=taken, given=given)
    # A Gemm's factor alpha goes into its factors.
    alpha = node.attributes.get_float("alpha", 1.0) if node.op_type == "Gemm" else 1.0
    matrix = array.T if weights.axis == 1 else array
    rows = math.prod(_sizes(node.outputs[0])) // matrix.shape[0] or 1
    return Site(weights=weights, kernel=float(alpha or 0.0) * matrix[None], rows=rows, taken=(), given=())


def _sizes(value: "ir.Value | None") -> tuple[int, ...]:
    return () if value is None else tuple(size or 1 for size in graph_model.dimensions(value))
