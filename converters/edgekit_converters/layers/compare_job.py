"""The job of `edgekit compare`: two models run side by side on the same samples, layer by layer where asked for.

Samples go through in batches and of the layers only sums are kept, so memory does not grow with their number.
"""

from pathlib import Path

import numpy as np

from edgekit_converters._exchange import read_arrays, write_arrays
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.frontends.running import joined
from edgekit_converters.jobs import Json
from edgekit_converters.layers.base import LayeredModel, open_model
from edgekit_converters.layers.feeding import Feed, feeds
from edgekit_converters.layers.layer_errors import LayerErrors, partners
from edgekit_converters.model import Array, Arrays

SINGLE = {"OPENBLAS_NUM_THREADS": "1"}
"""The job's environment: sums over small arrays on several threads wait more than they add."""

_BATCH = 16  # of models whose batch is free


def run(request: Json) -> Json:
    """Run `request["source"]` and `request["artifact"]` on `request["data"]`.

    Returns their outputs [N, ...] and, with `request["layers"]`, a row a layer in the source's order and the names of
    the source's layers that have no counterpart. `request["seconds"]` limits how long layers are followed to outputs.

    Raises:
        ModelFileError: if a model is damaged, or the models' inputs do not fit each other.
        UnsupportedError: if a model cannot be run.
        CalibrationError: if the data does not fit the source's inputs.
        ConverterMissingError: if a runtime is not installed.
    """
    models = open_model(Path(request["source"])), open_model(Path(request["artifact"]))
    arrays = read_arrays(request["data"])
    try:
        made = _compare(*models, arrays, layers=request["layers"], free=_BATCH)
    except _NoRowsError:  # boxes of one image: only one sample at a time says which are whose
        made = _compare(*models, arrays, layers=request["layers"], free=1)
    outputs, errors = made
    named = zip(("source", "artifact"), outputs, strict=True)
    return {
        "samples": len(next(iter(arrays.values()))),
        "outputs": {side: write_arrays(Path(request["work"], f"{side}.npz"), found) for side, found in named},
        "partners": _names(*models),
        "layers": errors.rows(request.get("seconds")) if errors else None,
        "unmatched": errors.unmatched() if errors else [],
    }


def _names(first: LayeredModel, second: LayeredModel) -> list[tuple[str, str]]:
    """Return the names of outputs that belong together."""
    ours, theirs = ({place: name for name, place in model.outputs.items()} for model in (first, second))
    return [(ours[a], theirs[b]) for a, b in partners(first, second)]


Made = tuple[tuple[Arrays, Arrays], LayerErrors | None]


def _compare(first: LayeredModel, second: LayeredModel, arrays: Arrays, *, layers: bool, free: int) -> Made:
    """Run the models as they are for their outputs, and once more with their layers shown where asked for."""
    sides, errors = (_Outputs(first), _Outputs(second)), None
    for feed in feeds(first, second, arrays, free):
        for side, given in zip(sides, (feed.first, feed.second), strict=True):
            side.add(feed, given)
        if layers:
            errors = errors or LayerErrors(first, second, feed)
            errors.add(feed)
    return (sides[0].joined(), sides[1].joined()), errors


class _NoRowsError(UnsupportedError):
    """A batch of several samples gives outputs that have no row a sample."""


class _Outputs:
    """A model's outputs, run by run."""

    def __init__(self, model: LayeredModel) -> None:
        self._places = model.outputs
        inputs = set(model.inputs.values())
        self._computed = [at for at in dict.fromkeys(model.outputs.values()) if at not in inputs]
        self._run = model.runner(self._computed)
        self._kept: dict[str, list[Array]] = {name: [] for name in model.outputs}

    def add(self, feed: Feed, given: dict[int, Array]) -> None:
        values = {**given, **dict(zip(self._computed, self._run(given), strict=True))}
        for name, place in self._places.items():
            one, size = values[place], feed.size
            has_rows = size is not None and one.ndim > 0 and len(one) == size
            if size is not None and size > 1 and not has_rows:
                raise _NoRowsError(f"output '{name}' has no row a sample, so a batch of {size} cannot be taken apart")
            self._kept[name].append(feed.samples(one) if has_rows else one[np.newaxis])

    def joined(self) -> Arrays:
        return {name: joined(kept) for name, kept in self._kept.items()}
