"""Random samples, for when there are none: good for trying out, not for accuracy."""

from collections.abc import Sequence

import numpy as np

from edgekit_converters.data import share_a_batch
from edgekit_converters.errors import CalibrationError
from edgekit_converters.frontends.shapes import said
from edgekit_converters.model import Array, TensorSpec

SAMPLES = 64


def random_calibration(inputs: Sequence[TensorSpec], seed: int, samples: int = SAMPLES) -> dict[str, Array]:
    """Return `samples` seeded samples an input: floats uniform in [0, 1), integers in 0..255 (int8 in -128..127).

    Of inputs that share no batch a sample is the whole input, as `data.bind` takes it.

    Raises:
        CalibrationError: if a dimension besides the batch is free, or a dtype has no numbers.
    """
    rng = np.random.default_rng(seed)
    shared = share_a_batch(inputs)
    return {spec.name: _random(spec, samples, rng, shared=shared) for spec in inputs}


def _random(spec: TensorSpec, samples: int, rng: np.random.Generator, *, shared: bool) -> Array:
    wanted = spec.shape[1:] if shared else spec.shape
    sizes = [size for size in wanted if size is not None]
    if len(sizes) != len(wanted):
        error = CalibrationError(f"input '{spec.name}' has free dimensions ({said(spec.shape)}): no random samples")
        error.add_note(f"fix them, e.g. --shape {spec.name}={said([1, *(size or 1 for size in spec.shape[1:])])}")
        raise error
    shape, kind = (samples, *sizes), np.dtype(spec.dtype).kind if spec.dtype != "string" else "U"
    if kind == "f":
        return rng.random(shape).astype(spec.dtype)
    if kind == "b":
        return rng.integers(0, 2, shape).astype(spec.dtype)
    if kind in "iu":
        low, high = (-128, 128) if spec.dtype == "int8" else (0, 256)
        return rng.integers(low, high, shape).astype(spec.dtype)
    raise CalibrationError(f"input '{spec.name}' takes {spec.dtype}: no random samples")
