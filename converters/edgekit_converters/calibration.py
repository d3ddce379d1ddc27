"""Random samples, for when there are none: good for trying out, not for accuracy."""

from collections.abc import Sequence
from math import prod

import numpy as np

from edgekit_converters.data import MOST_VALUES, takes_whole_runs
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Array, TensorSpec

SAMPLES = 64
FREE = 32
"""The size a free dimension besides the batch is given."""


def random_calibration(
    inputs: Sequence[TensorSpec], seed: int, samples: int = SAMPLES, free: int = FREE
) -> dict[str, Array]:
    """Return `samples` seeded samples an input.

    A free dimension besides the batch becomes `free`; where the inputs share no batch the samples are whole runs and
    free dimensions become 1.

    Raises:
        UnsupportedError: as `random_array` does.
    """
    rng = np.random.default_rng(seed)
    whole = takes_whole_runs(inputs)
    return {spec.name: _random(spec, samples, rng, None if whole else free) for spec in inputs}


def _random(spec: TensorSpec, samples: int, rng: np.random.Generator, free: int | None) -> Array:
    sizes = [size or 1 for size in spec.shape] if free is None else [size or free for size in spec.shape[1:]]
    return random_array(spec, (samples, *sizes), rng)


def random_array(spec: TensorSpec, shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Return random values for an input: floats uniform in [0, 1), 8-bit integers of their range.

    Wider integers are mostly 1, sometimes 0: right for masks, and safe for indices.

    Raises:
        UnsupportedError: if the input takes no numbers, or more than `MOST_VALUES` of them.
    """
    kind = np.dtype(spec.dtype) if spec.dtype != "string" else np.dtype("U")
    if prod(shape) > MOST_VALUES:
        shown = "x".join(map(str, shape))
        raise UnsupportedError(f"input '{spec.name}': {shown} values are more than random samples are made of")
    if kind.kind == "f" or kind.name == "bfloat16":
        return np.asarray(rng.random(shape)).astype(kind)
    if kind.name in {"int8", "uint8"}:
        limits = np.iinfo(kind)
        return np.asarray(rng.integers(limits.min, limits.max + 1, shape)).astype(kind)
    if kind.kind in "iub":
        return np.asarray(rng.random(shape) < 0.8).astype(kind)  # noqa: PLR2004
    raise UnsupportedError(f"input '{spec.name}' takes {spec.dtype}: no random samples")
