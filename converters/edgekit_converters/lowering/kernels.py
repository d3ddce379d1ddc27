"""Weights of convolutions, known beforehand or at run time, and the windows they slide through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.builder import Builder, Perm, Tensor, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.model import Array


@dataclass(frozen=True, slots=True)
class Window:
    """A window over spatial axes; `pads` are (before, after) an axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    def flat(self) -> "Window":
        """Return a window over one axis as one over two, of which the first has size 1."""
        return Window((1, *self.kernel), (1, *self.strides), (1, *self.dilations), ((0, 0), *self.pads))

    def behind_first(self) -> "Window":
        """Return the window over all axes but the first."""
        return Window(self.kernel[1:], self.strides[1:], self.dilations[1:], self.pads[1:])


def window_of(b: Builder, node: Node, kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """Read strides, dilations and pads; `auto_pad` becomes explicit pads."""
    rank = len(kernel)
    strides = tuple(node.attributes.get("strides", [1] * rank))
    dilations = tuple(node.attributes.get("dilations", [1] * rank))
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in {"SAME_UPPER", "SAME_LOWER"}:
        pads = []
        for size, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
            total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if auto == "SAME_UPPER" else (more, less))
    elif auto in {"NOTSET", "VALID", ""}:
        flat = [0] * (2 * rank) if auto == "VALID" else list(node.attributes.get("pads", [0] * (2 * rank)))
        pads = list(zip(flat[:rank], flat[rank:], strict=True))
    else:
        raise b.refuse(node, f"auto_pad is '{auto}'")
    return Window(tuple(kernel), strides, dilations, tuple(pads))


class Kernel:
    """Weights in any order of axes: turned around beforehand in NumPy where they are known, else by TFLite."""

    def __init__(self, b: Builder, given: Array | Ref) -> None:
        """Hold an array, or a value of the module that is stored in ONNX's order."""
        self._b = b
        self._given = given
        self.shape: tuple[int, ...] = given.shape

    @classmethod
    def of(cls, b: Builder, node: Node, place: int = 1) -> "Kernel":
        """Return a node's weights."""
        name = node.inputs[place]
        return cls(b, b.graph.constants[name] if b.is_constant(name) else b.plain(b.tensor(name)))

    def stored(self, perm: Perm) -> Ref:
        """Write the weights with their axes in this order."""
        if isinstance(self._given, Ref):
            return self._b.order(Tensor(self._given, identity(len(perm))), perm).ref
        return self._b.module.constant(np.ascontiguousarray(self._given.transpose(perm)))

    def reshaped(self, shape: Sequence[int]) -> "Kernel":
        """Return the same weights in another shape."""
        if isinstance(self._given, Ref):
            return Kernel(self._b, self._b.reshaped(self._given, shape))
        return Kernel(self._b, self._given.reshape(tuple(shape)))

    def part(self, axis: int, start: int, count: int) -> "Kernel":
        """Return some of the weights along an axis."""
        if isinstance(self._given, Ref):
            return Kernel(self._b, part(self._b, self._given, axis, start, count))
        return Kernel(self._b, self._given.take(range(start, start + count), axis))

    def spread(self, dilations: Sequence[int]) -> "Kernel":
        """Return the weights with the zeros of their dilations written out."""
        made = self
        for axis, dilation in enumerate(dilations, start=2):
            made = made if dilation == 1 else made._spread(axis, dilation)
        return made

    def _spread(self, axis: int, dilation: int) -> "Kernel":
        before, size, after = self.shape[:axis], self.shape[axis], self.shape[axis + 1 :]
        shape, kept = (*before, size * dilation, *after), (size - 1) * dilation + 1
        if isinstance(self._given, Ref):
            # a zero-filled axis behind this one, and both read as one
            rows = self._b.reshaped(self._given, (*before, size, 1, *after))
            pads = self._b.module.ints(
                [[0, dilation - 1 if place == axis + 1 else 0] for place in range(len(rows.shape))]
            )
            grown = (*before, size, dilation, *after)
            rows = self._b.module.op("pad", [rows, pads], "", grown, rows.dtype)
            return Kernel(self._b, self._b.reshaped(rows, shape)).part(axis, 0, kept)
        spread = np.zeros((*before, kept, *after), self._given.dtype)
        spread[(slice(None),) * axis + (slice(None, None, dilation),)] = self._given
        return Kernel(self._b, spread)


def part(b: Builder, ref: Ref, axis: int, start: int, count: int) -> Ref:
    """Take `count` places of a stored axis."""
    return stepped(b, ref, axis, (start, count, 1))


def stepped(b: Builder, ref: Ref, axis: int, places: tuple[int, int, int]) -> Ref:
    """Take places of a stored axis: the first, how many, and how far apart."""
    start, count, step = places
    shape = (*ref.shape[:axis], count, *ref.shape[axis + 1 :])
    if shape == ref.shape:
        return ref
    begin = [start if place == axis else 0 for place in range(len(shape))]
    if step == 1:
        return b.module.op("slice", [ref, b.module.ints(begin), b.module.ints(list(shape))], "", shape, ref.dtype)
    end = [start + (count - 1) * step + 1 if place == axis else size for place, size in enumerate(ref.shape)]
    strides = [step if place == axis else 1 for place in range(len(shape))]
    masks = ", ".join(f"{name}_mask = 0 : i32" for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis"))
    operands = [ref, *(b.module.ints(values) for values in (begin, end, strides))]
    return b.module.op("strided_slice", operands, f"{masks}, offset = false", shape, ref.dtype)


def padded(b: Builder, ref: Ref, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Ref:
    """Put a value around stored axes: `pads` are (before, after) each of them."""
    if not any(map(any, pads)):
        return ref
    shape = [size + before + after for size, (before, after) in zip(ref.shape, pads, strict=True)]
    operands = [ref, b.module.ints([list(pair) for pair in pads])]
    if value == 0:
        return b.module.op("pad", operands, "", shape, ref.dtype)
    return b.module.op("padv2", [*operands, b.scalar(value, ref.dtype)], "", shape, ref.dtype)


def joined(b: Builder, parts: Sequence[Ref], axis: int) -> Ref:
    """Put values behind each other along a stored axis."""
    if len(parts) == 1:
        return parts[0]
    size = sum(one.shape[axis] for one in parts)
    shape = (*parts[0].shape[:axis], size, *parts[0].shape[axis + 1 :])
    attributes = f'axis = {axis} : i32, fused_activation_function = "NONE"'
    return b.module.op("concatenation", parts, attributes, shape, parts[0].dtype)
