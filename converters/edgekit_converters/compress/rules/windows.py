"""What a convolution looks at, and kernels put into larger ones with zeros around."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import RefusedError
from edgekit_converters.compress.rules.draft import Given
from edgekit_converters.compress.rules.layer import Layer
from edgekit_converters.compress.rules.linear import dilations_of, pads_of, strides_of
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Window:
    """Of every axis: the first place looked at against the output's, how many there are, how far apart, the stride."""

    begin: tuple[int, ...]
    taps: tuple[int, ...]
    apart: tuple[int, ...]
    strides: tuple[int, ...]
    room: tuple[int, ...]
    """By how much the padding makes up for the kernel: decides the size of the output."""

    @property
    def attributes(self) -> dict[str, Given]:
        """Return it as a convolution's attributes.

        Raises:
            RefusedError: if a convolution would have to cut something off.
        """
        before = [-one for one in self.begin]
        spans = [(taps - 1) * step for taps, step in zip(self.taps, self.apart, strict=True)]
        behind = [a + b - c for a, b, c in zip(self.room, spans, before, strict=True)]
        if min((*before, *behind), default=0) < 0:
            raise RefusedError("one kernel for all would have to cut off at an edge")
        return {
            "auto_pad": "NOTSET",
            "kernel_shape": self.taps,
            "dilations": self.apart,
            "strides": self.strides,
            "pads": [*before, *behind],
        }


def window_of(node: "ir.Node", taps: Sequence[int]) -> Window:
    """Return what a convolution or pooling looks at.

    Raises:
        RefusedError: if its padding follows from the size.
    """
    pads, apart = pads_of(node, len(taps)), dilations_of(node, len(taps))
    if pads is None:
        raise RefusedError("its padding follows from the size", node)
    room = [
        pads[at] + pads[at + len(taps)] - (size - 1) * step
        for at, (size, step) in enumerate(zip(taps, apart, strict=True))
    ]
    begin = tuple(-one for one in pads[: len(taps)])
    return Window(begin, tuple(taps), apart, strides_of(node, len(taps)), tuple(room))


def window_of_layer(layer: Layer) -> Window:
    """Return what a layer looks at; a dense one has no axes to look along."""
    return window_of(layer.node, layer.array.shape[2:]) if layer.is_conv else Window((), (), (), (), ())


def union(windows: Sequence[Window]) -> Window:
    """Return a window that looks at all that others look at.

    Raises:
        RefusedError: if their strides differ, or the distances between the places.
    """
    if len({one.strides for one in windows}) > 1:
        raise RefusedError("their strides differ")
    begin, taps, apart = [], [], []
    for at in range(len(windows[0].taps)):
        steps = {one.apart[at] for one in windows if one.taps[at] > 1} or {1}
        if len(steps) > 1:
            raise RefusedError("their dilations differ")
        (step,) = steps
        first = min(one.begin[at] for one in windows)
        last = max(one.begin[at] + (one.taps[at] - 1) * step for one in windows)
        if any((one.begin[at] - first) % step for one in windows):
            raise RefusedError("their dilated kernels look at different places")
        begin.append(first)
        taps.append((last - first) // step + 1)
        apart.append(step)
    room = tuple(max(sizes) for sizes in zip(*(one.room for one in windows), strict=True))
    return Window(tuple(begin), tuple(taps), tuple(apart), windows[0].strides, room)


def embedded(array: Reals, own: Window, whole: Window) -> Reals:
    """Return a kernel [outputs, inputs, taps...] with zeros around, as a larger window looks."""
    around = [(0, 0), (0, 0)]
    for at, step in enumerate(whole.apart):
        before = (own.begin[at] - whole.begin[at]) // step
        around.append((before, whole.taps[at] - own.taps[at] - before))
    return np.pad(array, around)
