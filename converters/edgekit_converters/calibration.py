"""Random samples, for when there are none: good for trying out, not for accuracy."""

from collections.abc import Sequence

import numpy as np

from edgekit_converters.data import takes_whole_runs
from edgekit_converters.errors import CalibrationError
from edgekit_converters.model import Array, TensorSpec

SAMPLES = 64
FREE = 32
"""The size a free dimension besides the batch is given."""


def random_calibration(
    inputs: Sequence[TensorSpec], seed: int, samples: int = SAMPLES, free: int = FREE
) -> dict[str, Array]:
    """Return `samples` seeded samples an input: floats uniform in [0, 1), 8-bit integers of their range.

    Wider integers are mostly 1, sometimes 0: right for masks, and safe for indices. A free dimension besides the
    batch becomes `free`; where the inputs share no batch the samples are whole runs and free dimensions become 1.

    Raises:
        CalibrationError: if a dtype has no numbers.
    """
    rng = np.random.default_rng(seed)
    whole = takes_whole_runs(inputs)
    return {spec.name: _random(spec, samples, rng, None if whole else free) for spec in inputs}


def _random(spec: TensorSpec, samples: int, rng: np.random.Generator, free: int | None) -> Array:
    sizes = [size or 1 for size in spec.shape] if free is None else [size or free for size in spec.shape[1:]]
    shape, kind = (samples, *sizes), np.dtype(spec.dtype) if spec.dtype != "string" else np.dtype("U")
    if kind.kind == "f":
        return np.asarray(rng.random(shape)).astype(kind)
    if kind.name in {"int8", "uint8"}:
        limits = np.iinfo(kind)
        return np.asarray(rng.integers(limits.min, limits.max + 1, shape)).astype(kind)
    if kind.kind in "iub":
        return np.asarray(rng.random(shape) < 0.8).astype(kind)  # noqa: PLR2004
    raise CalibrationError(f"input '{spec.name}' takes {spec.dtype}: no random samples")
