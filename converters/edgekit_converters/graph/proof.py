"""Proof that a changed graph computes what it did: both are run on the same samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.observing import observe
from edgekit_converters.lowering.proof import difference
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

TOLERANCE = 1e-4
"""Of an output's largest value: float32 rounding of sums in another order over a deep net stays well below."""


def outputs(model: "ir.Model", arrays: Arrays, file: Path) -> list[dict[str, Array]]:
    """Return a model's outputs by name, batch after batch; `file` is a scratch file."""
    return list(observe(model, [str(one.name) for one in model.graph.outputs], arrays, file))


def prove(what: str, got: Sequence[dict[str, Array]], wanted: Sequence[dict[str, Array]]) -> None:
    """Compare the outputs of a changed model with those it had.

    Raises:
        UnsupportedError: if one differs by more than `TOLERANCE` of its largest value.
    """
    for after, before in zip(got, wanted, strict=True):
        for name, array in before.items():
            if array.dtype.kind != "f":
                continue
            largest = float(np.max(np.abs(array), initial=1e-6))
            worst = difference(after[name], array)
            if not worst <= TOLERANCE * largest:
                error = UnsupportedError(f"{what}: its output '{name}' differs by {worst:.2g}")
                error.add_note("this is a fault of the pass; please report the model's operators")
                raise error
