"""What layers take on calibration data, as rows that multiply their weights, and the second moments of those rows.

A layer's output is X W for a matrix X of rows: a row is what a place of a convolution's output looks at (im2col), or
what a dense layer takes. Errors of a changed W are measured by H = XᵀX, without gradients (Hassibi and Stork, "Second
order derivatives for network pruning", 1992); so are least-squares fits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.places import places_in
from edgekit_converters.graph.observing import observe
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Reals, Weights
from edgekit_converters.model import Arrays

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
