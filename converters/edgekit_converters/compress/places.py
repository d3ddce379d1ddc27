"""Where a layer looks in its input, place by place: the rows that multiply its weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.graph.windows import Window
from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Places:
    """What a layer looks at: `view` [places..., a place's own axes], the first `lead` axes being the places'.

    It is a view of the layer's input, so that only the rows asked for are copied.
    """

    view: Array
    lead: int
    groups: int = 1

    @property
    def count(self) -> int:
        """How many places there are."""
        return math.prod(self.view.shape[: self.lead])

    @property
    def columns(self) -> int:
        """How long a row of a group is."""
        return math.prod(self.view.shape[self.lead :]) // self.groups

    def rows(self, some: NDArray[np.integer[Any]] | None = None) -> list[Array]:
        """Return the rows [n, columns] of each group, of all places or of some by their numbers."""
        if some is None:
            found = self.view.reshape(-1, self.groups, self.columns)
        else:
            at = np.unravel_index(some, self.view.shape[: self.lead])
            found = self.view[at].reshape(len(some), self.groups, self.columns)
        return [found[:, group] for group in range(self.groups)]


def rows_in(node: "ir.Node", array: Array) -> list[Array]:
    """Return the rows [n, columns] that a layer makes of its input, one matrix a group, in the order of its weights."""
    return places_in(node, array).rows()


def places_in(node: "ir.Node", array: Array) -> Places:
    """Return what a layer looks at in its input; the rows of the places multiply its weights in their order."""
    groups = node.attributes.get_int("group", 1) or 1
    if node.op_type == "ConvTranspose":  # what a place of its input adds to places of its output
        return Places(np.moveaxis(array, 1, -1), array.ndim - 1, groups)
    if node.op_type != "Conv":
        whole = array.swapaxes(-1, -2) if _turned(node) else array
        return Places(whole, whole.ndim - 1)
    window = window_of(node, array.shape[2:])
    padded, axes = np.pad(array, [(0, 0), (0, 0), *window.pads]), tuple(range(2, array.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(padded, window.extent, axis=axes)
    steps = (1, 1, *window.strides, *window.dilations)
    windows = windows[tuple(slice(None, None, step) for step in steps)]
    return Places(
        np.moveaxis(windows, 1, array.ndim - 1), array.ndim - 1, groups
    )  # [N, places..., channels, kernel...]


def _turned(node: "ir.Node") -> bool:
    """Whether the rows of a product are the columns of its input."""
    stored = node.inputs[0]
    left = stored is not None and stored.const_value is not None
    return (node.op_type == "Gemm" and node.attributes.get_int("transB" if left else "transA", 0) == 1) != left


def window_of(node: "ir.Node", sizes: Sequence[int]) -> Window:
    """Return that of a convolution over images of those sizes."""
    kernel = tuple(node.inputs[1].const_value.shape.numpy())[2:]  # type: ignore[union-attr]  # its weights are constant
    spatial = len(kernel)
    strides, dilations, pads = (
        tuple(node.attributes.get_ints(name, default))
        for name, default in (("strides", [1] * spatial), ("dilations", [1] * spatial), ("pads", [0] * 2 * spatial))
    )
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        pads = same_pads(sizes, kernel, strides, dilations, lower=auto == "SAME_LOWER")
    both = tuple(zip(pads[:spatial], pads[spatial:], strict=True))
    return Window(kernel=kernel, strides=strides, dilations=dilations, pads=both)


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], *, lower: bool
) -> tuple[int, ...]:
    """Return the padding that `auto_pad` means: before every axis, then behind."""
    before, behind = [], []
    for size, width, step, wide in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // step) - 1) * step + (width - 1) * wide + 1 - size)
        small = total // 2
        before.append(total - small if lower else small)
        behind.append(small if lower else total - small)
    return (*before, *behind)
