"""Weights of convolutions, known beforehand or at run time, and the windows they slide through."""

from collections.abc import Sequence

import numpy as np

from edgekit_converters.graph.windows import Window
from edgekit_converters.lowering.builder import Builder, Perm, Tensor, identity
from edgekit_converters.lowering.dims import in_every_run
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.stored import padded, part, positive
from edgekit_converters.model import Array


def window_of(b: Builder, node: Node, kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """Read strides, dilations and pads; `auto_pad` becomes explicit pads."""
    rank = len(kernel)
    strides = tuple(node.attributes.get("strides", [1] * rank))
    dilations = tuple(node.attributes.get("dilations", [1] * rank))
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in {"SAME_UPPER", "SAME_LOWER"}:
        pads = []
        for size, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
            total = in_every_run(positive, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
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
            pads = [(0, dilation - 1 if place == axis + 1 else 0) for place in range(len(rows.shape))]
            rows = padded(self._b, rows, pads)
            return Kernel(self._b, self._b.reshaped(rows, shape)).part(axis, 0, kept)
        spread = np.zeros((*before, kept, *after), self._given.dtype)
        spread[(slice(None),) * axis + (slice(None, None, dilation),)] = self._given
        return Kernel(self._b, spread)
