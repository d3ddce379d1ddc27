"""What layers take on calibration data, as rows that multiply their weights, and the second moments of those rows.

A layer's output is X W for a matrix X of rows: a row is what a place of a convolution's output looks at (im2col), or
what a dense layer takes. Errors of a changed W are measured by H = XᵀX, without gradients (Hassibi and Stork, "Second
order derivatives for network pruning", 1992); so are least-squares fits.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compress.base import name_of
from edgekit_converters.graph.observing import observe
from edgekit_converters.graph.weights import Reals, Weights
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

MOST_ROWS = 1 << 16
"""Rows of a layer that are looked at at most, of each batch as many as of the others."""
_A_COLUMN, _LEAST_ROWS = 32, 1 << 12


@dataclass(slots=True)
class Moments:
    """Of the rows [n, columns] a group of a layer takes: their number, sum [columns] and XᵀX [columns, columns]."""

    count: int
    total: Reals
    gram: Reals

    def add(self, rows: Reals) -> None:
        """Count further rows."""
        self.count += len(rows)
        self.total = self.total + rows.sum(axis=0)
        narrow = rows.astype(np.float32)  # twice as fast; what a batch sums up is small
        self.gram = self.gram + (narrow.T @ narrow).astype(np.float64)


def moments_of(
    model: "ir.Model", layers: Sequence[Weights], arrays: Arrays, file: Path, seed: int = 0
) -> dict[str, list[Moments]]:
    """Return the moments of what layers take, a list entry a group, by the layers' names.

    Args:
        model: with inferred shapes; it is not changed.
        layers: of `Conv`, `ConvTranspose`, `Gemm` or `MatMul`.
        arrays: samples [N, ...] by input name.
        file: a scratch file.
        seed: of the choice of rows where there are more than `most_rows`.

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    found: dict[str, list[Moments]] = {}
    for name, rows in rows_of(model, layers, arrays, file, seed):
        for group, one in enumerate(rows):
            if name not in found:
                found[name] = [Moments(0, np.zeros(one.shape[1]), np.zeros((one.shape[1],) * 2)) for _ in rows]
            found[name][group].add(one)
    return found


def most_rows(columns: int) -> int:
    """Return how many rows of so many columns are looked at: enough to tell them apart."""
    return min(MOST_ROWS, max(_LEAST_ROWS, _A_COLUMN * columns))


def rows_of(
    model: "ir.Model", layers: Sequence[Weights], arrays: Arrays, file: Path, seed: int = 0
) -> Iterator[tuple[str, list[Reals]]]:
    """Yield for every batch and layer its name and the rows it takes, [n, columns] a group; see `moments_of`."""
    rng = np.random.default_rng(seed)
    samples = max((len(array) for array in arrays.values()), default=1)
    taken = {name_of(one.node): str(one.node.inputs[_taken(one)].name) for one in layers}  # type: ignore[union-attr]
    by_name = {name_of(one.node): one.node for one in layers}
    for batch in observe(model, list(dict.fromkeys(taken.values())), arrays, file):
        for name, value in taken.items():
            places = places_in(by_name[name], batch[value])
            most = max(1, most_rows(places.columns) * len(batch[value]) // max(samples, 1))
            some = rng.choice(places.count, most, replace=False) if places.count > most else None
            yield name, [one.astype(np.float64) for one in places.rows(some)]


def _taken(layer: Weights) -> int:
    """Return the place of what a layer takes: the other side of a product."""
    return 0 if layer.place else 1


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
        stored = node.inputs[0]
        left = stored is not None and stored.const_value is not None
        turned = node.op_type == "Gemm" and node.attributes.get_int("transB" if left else "transA", 0) == 1
        whole = array.swapaxes(-1, -2) if turned != left else array
        return Places(whole, whole.ndim - 1)
    kernel = tuple(node.inputs[1].const_value.shape.numpy())  # type: ignore[union-attr]  # its weights are constant
    spatial = len(kernel) - 2
    strides, dilations, pads = (
        tuple(node.attributes.get_ints(name, default))
        for name, default in (("strides", [1] * spatial), ("dilations", [1] * spatial), ("pads", [0] * 2 * spatial))
    )
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        pads = same_pads(array.shape[2:], kernel[2:], strides, dilations, lower=auto == "SAME_LOWER")
    padded = np.pad(array, [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:], strict=True)])
    spans = tuple((size - 1) * step + 1 for size, step in zip(kernel[2:], dilations, strict=True))
    axes = tuple(range(2, 2 + spatial))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
    steps = (1, 1, *strides, *dilations)
    windows = windows[tuple(slice(None, None, step) for step in steps)]
    return Places(np.moveaxis(windows, 1, 1 + spatial), 1 + spatial, groups)  # [N, places..., channels, kernel...]


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
