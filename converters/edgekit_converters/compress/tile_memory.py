"""The activation memory that a graph will take as TFLite, with or without tiles, before it is converted.

What TFLite computes along with the operator before it has no memory of its own: activation functions it knows, scales
and biases a channel, and changes of layout. A convolution whose padding is neither none nor TFLite's SAME gets a padded
copy of its input.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from edgekit_converters.compress.places import same_pads
from edgekit_converters.compress.tile_reach import CHANNELS
from edgekit_converters.compress.tile_segment import Copy, Cut, Part, Segment, Step
from edgekit_converters.graph.weights import only_user
from edgekit_converters.layers.memory import plan
from edgekit_converters.layers.view import Node, Value, View

if TYPE_CHECKING:
    import onnx_ir as ir

_RELU6 = 6.0
_VIEWS = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_FUSES = frozenset({"Add", "AveragePool", "Conv", "Div", "Gemm", "MatMul", "MaxPool", "Mul", "Sub"})
_MULTIPLIES = frozenset({"Conv", "Gemm", "MatMul"})
_PADS = frozenset({"AveragePool", "Conv", "MaxPool"})


@dataclass(slots=True)
class _Picture:
    """A `View` in the making: values have bytes and nothing else."""

    values: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    places: dict[Hashable, int] = field(default_factory=dict)
    makers: dict[int, str] = field(default_factory=dict)
    origins: "list[ir.Node | None]" = field(default_factory=list)

    def value(self, size: int, name: str = "") -> int:
        self.values.append(Value(name=name, shape=(size,), dtype="uint8"))
        return len(self.values) - 1

    def step(self, op: str, taken: Sequence[int], made: Sequence[int], origin: "ir.Node | None" = None) -> None:
        self.origins.append(origin)
        self.nodes.append(Node(name=op, op=op, inputs=tuple(taken), outputs=tuple(made)))
        self.makers |= dict.fromkeys(made, op)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """The bytes of one block for all activations, and the node at which most of them are alive.

    `cost` counts what the runtime keeps of every operator too.
    """

    bytes: int
    cost: int
    peak: "ir.Node | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModel:
    """How activations are stored: bits of one, and whether the model's inputs are kept until the run ends."""

    bits: int = 32
    keeps_inputs: bool = False
    operator_bytes: int = 0
    """What the runtime keeps of an operator beside its activations and its weights."""

    def plan(self, graph: "ir.Graph", segment: Segment | None = None, steps: Sequence[Step] = ()) -> Arena:
        """Return the plan of a graph with inferred shapes, a segment of it computed in the steps given."""
        picture = _Picture()
        inputs = [one for one in graph.inputs if one.const_value is None]
        for one in inputs:
            picture.places[one] = picture.value(self.bytes_of(one), str(one.name))
        inside = set() if segment is None else set(segment.nodes)
        for node in graph:
            if node not in inside:
                self._node(picture, node)
            elif segment is not None and node is segment.nodes[0]:
                for step in steps:
                    self._step(picture, step)
        view = View(
            values=tuple(picture.values),
            nodes=tuple(picture.nodes),
            inputs=tuple(picture.places[one] for one in inputs),
            outputs=tuple(picture.places[one] for one in graph.outputs if one in picture.places),
        )
        found = plan(view, keeps_inputs=self.keeps_inputs)
        return Arena(
            bytes=found.arena_bytes,
            cost=found.arena_bytes + self.operator_bytes * len(picture.nodes),
            peak=None if found.peak is None else picture.origins[found.peak],
        )

    def bytes_of(self, value: "ir.Value", part: Part | None = None) -> int:
        """Return the bytes of a value, or of a part of it; free dimensions count as 1."""
        shape = [size if isinstance(size, int) else 1 for size in (value.shape or ())]
        count = prod(shape) if part is None else prod(shape[: CHANNELS + 1]) * part.places
        bits = self.bits if value.dtype is None or value.dtype.is_floating_point() else value.dtype.bitwidth
        return -(-count * int(bits) // 8)

    def _node(self, picture: _Picture, node: "ir.Node") -> None:
        taken = [one for one in node.inputs if one is not None]
        places = [picture.places[one] for one in taken if one in picture.places]
        if not places:
            return  # computed beforehand
        if len(places) == 1 and vanishes(node, picture.makers.get(places[0])):
            picture.places[node.outputs[0]] = places[0]
            return
        padded = self._padded(node)
        if padded is not None:
            copy = picture.value(padded)
            picture.step("Pad", places, [copy], node)
            places = [copy]
        made = [picture.value(self.bytes_of(one)) for one in node.outputs]
        picture.places |= dict(zip(node.outputs, made, strict=True))
        picture.step(node.op_type, places, made, node)

    def _step(self, picture: _Picture, step: Step) -> None:
        if isinstance(step, Cut):
            picture.places[step.made] = picture.value(self.bytes_of(step.made.value, step.made))
            picture.step("Slice", [_place(picture, step.source)], [picture.places[step.made]])
            return
        taken = [_place(picture, one) for one in step.taken if one is not None]
        whole = step.made.tile is None
        key: Hashable = step.made.value if whole else step.made
        if isinstance(step, Copy):
            if len(taken) == 1 and vanishes(step.node, picture.makers.get(taken[0])):
                picture.places[key] = taken[0]
                return
            padded = self._padded_copy(step)
            if padded is not None:
                copy = picture.value(padded)
                picture.step("Pad", taken, [copy])
                taken = [copy]
        picture.places[key] = picture.value(self.bytes_of(step.made.value, step.made))
        picture.step(step.node.op_type if isinstance(step, Copy) else "Concat", taken, [picture.places[key]])

    def _padded(self, node: "ir.Node") -> int | None:
        """Return the bytes of the padded copy a node takes, None where it takes its input as it is."""
        value = node.inputs[0]
        if node.op_type not in _PADS or value is None or value.shape is None:
            return None
        sizes = [size if isinstance(size, int) else 1 for size in tuple(value.shape)[CHANNELS + 1 :]]
        flat = list(node.attributes.get_ints("pads", [0] * 2 * len(sizes)))
        pads = list(zip(flat[: len(sizes)], flat[len(sizes) :], strict=True))
        return self._grown(node, value, sizes, pads)

    def _padded_copy(self, copy: Copy) -> int | None:
        part = copy.taken[0]
        if copy.node.op_type not in _PADS or part is None:
            return None
        sizes = [behind - first for first, behind in part.spans]
        return self._grown(copy.node, part.value, sizes, copy.pads)

    def _grown(
        self, node: "ir.Node", value: "ir.Value", sizes: Sequence[int], pads: Sequence[tuple[int, int]]
    ) -> int | None:
        if not any(map(any, pads)) or [*zip(*pads, strict=True)] == _same(node, sizes):
            return None
        spans = tuple((0, size + sum(pad)) for size, pad in zip(sizes, pads, strict=True))
        return self.bytes_of(value, Part(value=value, spans=spans, tile=None))


def _place(picture: _Picture, part: Part) -> int:
    return picture.places[part.value if part.tile is None else part]


def _same(node: "ir.Node", sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return TFLite's SAME padding as ONNX has it: all before, all behind."""
    count = len(sizes)
    shape = () if len(node.inputs) == 1 or node.inputs[1] is None else tuple(node.inputs[1].shape or ())[2:]
    kernel = node.attributes.get_ints("kernel_shape", None) or [one for one in shape if isinstance(one, int)]
    strides = node.attributes.get_ints("strides", [1] * count)
    dilations = node.attributes.get_ints("dilations", [1] * count)
    flat = same_pads(sizes, kernel, strides, dilations, lower=False)
    return [tuple(flat[:count]), tuple(flat[count:])]


def vanishes(node: "ir.Node", before: str | None) -> bool:
    """Whether TFLite computes a node along with the operator `before` that makes its input, or not at all."""
    if node.op_type in _VIEWS:
        return True
    value = next(one for one in node.inputs if one is not None and one.const_value is None)
    if before is None or only_user(value) is None:
        return False
    if node.op_type in {"Add", "Mul", "Sub"}:
        return before in _MULTIPLIES
    return before in _FUSES and _is_fused(node)


def _is_fused(node: "ir.Node") -> bool:
    if node.op_type != "Clip":
        return node.op_type == "Relu"
    bounds = [node.attributes.get_float("min", None), node.attributes.get_float("max", None)]
    for at, one in enumerate(node.inputs[1:3]):
        if one is not None and one.const_value is not None:
            bounds[at] = float(one.const_value.numpy().ravel()[0])
    return bounds in ([0.0, _RELU6], [0.0, None])
