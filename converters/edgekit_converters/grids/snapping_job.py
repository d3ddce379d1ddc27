"""The job of `snapping`: every layer's weights moved to the grid in an ONNX file."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Reals, Weights, replaced, weights_of
from edgekit_converters.grids import grid_of, parse_grid, sharing_of
from edgekit_converters.grids.fitting import fit, snr_db
from edgekit_converters.jobs import Json

if TYPE_CHECKING:
    import onnx_ir as ir


def run(request: Json) -> Json:
    """Write `request["model"]` with its weights on `request["grid"]` to `request["output"]`; return the figures.

    Raises:
        ModelFileError: if the model is damaged.
        UnsupportedError: if it has no weights to snap, or some that are no numbers.
    """
    asked, label = parse_grid(request["grid"]), request["label"]
    model = graph_model.load(Path(request["model"]))
    make_plain(model)
    found = list({id(one.value): one for one in weights_of(model)}.values())  # weights that are shared count once
    if not found:
        raise UnsupportedError(f"model '{label}' has no weights a grid is for")
    stored = _sizes(model)
    grid, sharing = grid_of(asked), sharing_of(asked)
    signal = noise = 0.0
    stored_bits = source_bytes = 0
    each: dict[str, float] = {}
    for one in found:
        before = _numbers(one, label)
        fitted = fit(grid, before, one.axis, sharing)
        after = fitted.snap(before)
        signal += float(np.sum(np.square(before)))
        noise += float(np.sum(np.square(before - after)))
        stored_bits += fitted.stored_bits
        source_bytes += stored[id(one.value)]
        each[name_of(one.node)] = snr_db(before, after)
        replaced(one.value, after)
    graph_model.save(model, Path(request["output"]))
    worst = min(each, key=lambda name: each[name])
    return {
        "layers": len(found),
        "stored_bytes": math.ceil(stored_bits / 8),
        "source_bytes": source_bytes,
        "rest_bytes": sum(stored.values()) - source_bytes,
        "snr_db": 10 * math.log10(signal / noise) if noise and signal else None,
        "worst": worst,
        "worst_snr_db": each[worst] if math.isfinite(each[worst]) else None,
    }


def _sizes(model: "ir.Model") -> dict[int, int]:
    """Return the bytes of every stored tensor that a node takes, by the identity of its value."""
    taken = (value for node in model.graph.all_nodes() for value in node.inputs if value is not None)
    return {id(one): one.const_value.nbytes for one in taken if one.is_initializer() and one.const_value is not None}


def _numbers(weights: Weights, label: str) -> Reals:
    array = weights.array
    if not np.isfinite(array).all():
        name = weights.value.name
        raise UnsupportedError(
            f"model '{label}': its weight '{name}' holds values that are no numbers (NaN or infinite)"
        )
    return array
