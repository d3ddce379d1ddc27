"""Which places of its input an operator looks at for some places of its output: what a tile needs of the image.

Along one axis an output at place p sees the input from `p * stride - before` on, `extent` places wide (A. Araujo et
al., "Computing Receptive Fields of Convolutional Neural Networks", 2019). Places outside of the image are padding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.places import same_pads
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

Span = tuple[int, int]
"""Places [first, behind) along one axis."""
CHANNELS = 1  # the axis


class NotLocalError(Exception):
    """An operator does not look at places near to its own, or not in a way that is known; the text says why."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How an operator looks at an axis."""

    stride: int = 1
    extent: int = 1
    before: int = 0

    def seen(self, made: Span) -> Span:
        """Return the places seen for the places made; some of them may be outside of the image."""
        first, behind = made
        return first * self.stride - self.before, (behind - 1) * self.stride - self.before + self.extent


def reach_of(node: "ir.Node", inside: Callable[["ir.Value"], bool]) -> tuple[Reach, ...]:
    """Return how a node looks at each spatial axis of what it takes [N, C, ...].

    Args:
        node: with inferred shapes.
        inside: whether a value is one that is cut into tiles.

    Raises:
        NotLocalError: if it cannot be computed tile by tile.
    """
    if node.domain not in ONNX or node.op_type not in _KINDS:
        raise NotLocalError(_KNOWN.get(node.op_type, "it is not known to work place by place"))
    if any(one.uses() or one.is_graph_output() for one in node.outputs[1:]):
        raise NotLocalError("it has more than one output")
    sizes = [spatial(one) for one in (*node.outputs[:1], *(one for one in node.inputs if one and inside(one)))]
    reaches = _KINDS[node.op_type](node, sizes[1])
    for value in node.inputs[1:] if node.op_type in _WINDOWS else ():
        if value is not None and inside(value):
            raise NotLocalError("its kernel is computed")
    return reaches


def spatial(value: "ir.Value") -> tuple[int, ...]:
    """Return the sizes behind batch and channels.

    Raises:
        NotLocalError: if there are none, or they are not known.
    """
    sizes = () if value.shape is None else tuple(value.shape)[CHANNELS + 1 :]
    if not sizes:
        raise NotLocalError(f"'{value.name}' has no image")
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise NotLocalError(f"the size of the image '{value.name}' is free: it must be fixed")
    return tuple(int(size) for size in sizes)  # type: ignore[arg-type]  # all are


def with_pads(node: "ir.Node", pads: Sequence[Span]) -> dict[str, "ir.Attr"]:
    """Return a node's attributes for a tile that has (before, behind) places of padding along each axis."""
    import onnx_ir as ir

    kept = {name: one for name, one in node.attributes.items() if name not in {"auto_pad", "ceil_mode", "pads"}}
    if node.op_type in _WINDOWS:
        flat = [one[0] for one in pads] + [one[1] for one in pads]
        kept["pads"] = ir.AttrInt64s("pads", flat)
    return kept


def _point(node: "ir.Node", sizes: Sequence[int]) -> tuple[Reach, ...]:
    """Every place by itself; what else it takes is the same everywhere."""
    (made,) = (spatial(one) for one in node.outputs[:1])
    for value in filter(None, node.inputs):
        shape = () if value.shape is None else tuple(value.shape)
        if value.const_value is not None and any(size != 1 for size in shape[-len(made) :]):
            if len(shape) <= CHANNELS and node.op_type in _BY_CHANNEL:
                continue
            raise NotLocalError(f"its constant '{value.name}' is not the same at every place")
        if value.const_value is None and spatial(value) != made:
            raise NotLocalError(f"'{value.name}' is spread over the image")
    return (Reach(),) * len(sizes)


def _across(node: "ir.Node", sizes: Sequence[int]) -> tuple[Reach, ...]:
    rank = len(sizes) + CHANNELS + 1
    # before opset 13 Softmax is over all axes from there on
    last = node.op_type == "Softmax" and (node.version or node.graph.opset_imports[""]) < 13  # type: ignore[union-attr]  # noqa: PLR2004
    axis = node.attributes.get_int("axis", 1 if last else -1)
    if axis % rank != CHANNELS or last:
        raise NotLocalError("it looks at all places of the image at once")
    return _point(node, sizes)


def _window(node: "ir.Node", sizes: Sequence[int]) -> tuple[Reach, ...]:
    count = len(sizes)
    kernel = node.attributes.get_ints("kernel_shape", None)
    if kernel is None:
        shape = node.inputs[1].shape  # type: ignore[union-attr]  # only convolutions do without the attribute
        kernel = [] if shape is None else [int(one) for one in tuple(shape)[2:] if isinstance(one, int)]
    if len(kernel) != count:
        raise NotLocalError("the size of its kernel is not known")
    strides, dilations, pads = (
        list(node.attributes.get_ints(name, [fill] * length))
        for name, fill, length in (("strides", 1, count), ("dilations", 1, count), ("pads", 0, 2 * count))
    )
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        pads = list(same_pads(sizes, kernel, strides, dilations, lower=auto == "SAME_LOWER"))
    elif auto == "VALID":
        pads = [0] * 2 * count
    counted = node.attributes.get_int("count_include_pad", 0) == 1
    if counted and node.attributes.get_int("ceil_mode", 0) == 1:
        raise NotLocalError("it counts padding, and has places that are neither image nor padding")
    extents = [(size - 1) * apart + 1 for size, apart in zip(kernel, dilations, strict=True)]
    made = zip(spatial(node.outputs[0]), strides, pads, sizes, strict=False)
    if node.op_type != "Conv" and any((places - 1) * step - before >= size for places, step, before, size in made):
        raise NotLocalError("its last places see nothing but padding")
    return tuple(map(Reach, strides, extents, pads[:count]))


def pads_of(node: "ir.Node", rank: int) -> list[int]:
    """Return what a `Pad` adds before every axis, then behind.

    Raises:
        NotLocalError: if it is not known beforehand.
    """
    given = node.attributes.get_ints("pads", None)
    if given is None:
        value = node.inputs[1]
        if value is None or value.const_value is None:
            raise NotLocalError("its pads are computed")
        given = [int(one) for one in value.const_value.numpy().ravel()]
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3] is not None:  # noqa: PLR2004  # axes
        if node.inputs[3].const_value is None:
            raise NotLocalError("its axes are computed")
        axes = [int(one) % rank for one in node.inputs[3].const_value.numpy().ravel()]
    pads = [0] * 2 * rank
    for place, axis in enumerate(axes):
        pads[axis], pads[axis + rank] = given[place], given[place + len(axes)]
    return pads


def _pad(node: "ir.Node", sizes: Sequence[int]) -> tuple[Reach, ...]:
    if node.attributes.get_string("mode", "constant") != "constant":
        raise NotLocalError("it repeats the image at its edges")
    pads = pads_of(node, len(sizes) + CHANNELS + 1)
    return tuple(Reach(before=one) for one in pads[CHANNELS + 1 : len(sizes) + CHANNELS + 1])


_WINDOWS = frozenset({"Conv", "MaxPool", "AveragePool"})
_BY_CHANNEL = frozenset({"BatchNormalization"})
_EVERY_PLACE = "it looks at all places of the image at once"
_BETWEEN = "what it makes lies between the places of the image"
_KNOWN = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "InstanceNormalization", "GroupNormalization",
                "LayerNormalization", "ReduceMean", "ReduceMax", "ReduceSum", "MatMul", "Gemm", "Flatten", "Reshape",
            ),
            _EVERY_PLACE,
        ),
        **dict.fromkeys(("Resize", "Upsample", "ConvTranspose", "GridSample", "RoiAlign"), _BETWEEN),
    }
)  # fmt: skip
_KINDS: MappingProxyType[str, Callable[["ir.Node", Sequence[int]], tuple[Reach, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(_WINDOWS, _window),
        **dict.fromkeys(("Softmax", "LogSoftmax", "Concat"), _across),
        "Pad": _pad,
        **dict.fromkeys(
            (
                "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp",
                "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "LRN", "Log", "Max", "Min",
                "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign",
                "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu",
            ),
            _point,
        ),
    }
)  # fmt: skip
