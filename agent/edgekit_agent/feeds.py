"""Arrays for a model's inputs: fitted to their names, shapes and dtypes, or made from a seed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_agent.errors import InputDataError
from edgekit_agent.quantize import to_stored
from edgekit_agent.runtimes.base import Array, TensorSpec

ONLY = "x"
"""The name that stands for the input of a model with a single one."""
LABELS = "y"
FREE = 32
"""The size of a made-up input's free dimension: a sentence, a small image."""
_INDEX_BYTES = 4


def by_input(arrays: Mapping[str, Array], inputs: Sequence[TensorSpec], what: str) -> list[Array]:
    """Return the arrays [N, ...] in the order of the inputs.

    A sample has the input's shape without its batch, or (with one axis more) it is the whole input of a run.

    Raises:
        InputDataError: on a missing or unknown name, or differing numbers of samples.
    """
    names = [spec.name for spec in inputs]
    if len(names) == 1 and set(arrays) == {ONLY}:
        arrays = {names[0]: arrays[ONLY]}
    for name in [*names, *arrays]:
        if (name in arrays) != (name in names):
            error = InputDataError(
                f"{what}: array '{name}' is {'missing' if name in names else 'no input of the model'}"
            )
            error.add_note(f"the model's inputs are: {', '.join(names)}; a model with one input also takes '{ONLY}'")
            raise error
    ordered = [np.asarray(arrays[name]) for name in names]
    if any(array.ndim == 0 for array in ordered) or len({len(array) for array in ordered}) != 1 or not len(ordered[0]):
        raise InputDataError(f"{what}: the arrays do not have the same number of samples, at least one")
    return ordered


def fit(sample: Array, spec: TensorSpec, what: str) -> Array:
    """Return one run's input [batch, ...] as the model stores it, from samples of that batch.

    One sample with an axis more than the input is the whole input.

    Raises:
        InputDataError: if the shape does not fit or the values cannot be stored.
    """
    shape = spec.shape
    if len(sample.shape) == len(shape) + 1 and len(sample) == 1:
        sample = np.asarray(sample[0])
    if not spec.takes(sample.shape):
        got, wanted = "x".join(map(str, sample.shape)), "x".join("?" if n == -1 else str(n) for n in shape)
        raise InputDataError(f"{what}: input '{spec.name}' takes {wanted} and {got} was given")
    if sample.dtype.kind not in "fiub":
        raise InputDataError(f"{what}: input '{spec.name}' takes numbers and {sample.dtype} was given")
    return to_stored(sample, spec)


def batch_of(ordered: Sequence[Array], inputs: Sequence[TensorSpec], wanted: int = 1) -> int:
    """Return how many samples a run takes: as many as wanted, or as the inputs that take several are fixed to."""
    sizes = [spec.shape[0] for array, spec in zip(ordered, inputs, strict=True) if array.ndim == len(spec.shape) > 0]
    return sizes[0] if len(sizes) == len(inputs) and len(set(sizes)) == 1 and sizes[0] > 1 else wanted


def runs(ordered: Sequence[Array], inputs: Sequence[TensorSpec], what: str, batch: int = 1) -> Iterator[list[Array]]:
    """Yield the inputs of one run after the other, `batch` samples each; the last run repeats its last sample."""
    for start in range(0, len(ordered[0]), batch):
        taken = [array[start : start + batch] for array in ordered]
        missing = batch - len(taken[0])
        if missing:
            taken = [np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for array in taken]
        yield [fit(array, spec, what) for array, spec in zip(taken, inputs, strict=True)]


def synthetic(inputs: Sequence[TensorSpec], seed: int, count: int = 8) -> list[list[Array]]:
    """Return seeded inputs of `count` runs: floats uniform in 0..1, integers over what they can store (at most 0..255).

    Integers of 32 bits and more are usually indices (token ids, token types): 0 or 1, which every table has.

    A free dimension besides the batch becomes `FREE`; it may be a batch where the inputs do not share one, and is 1.

    Raises:
        InputDataError: if an input does not take numbers.
    """
    rng = np.random.default_rng(seed)
    free = FREE if len({spec.shape[:1] for spec in inputs}) == 1 else 1
    return [[_random(spec, rng, free) for spec in inputs] for _ in range(count)]


def _random(spec: TensorSpec, rng: np.random.Generator, free: int) -> Array:
    shape, dtype = [free if size == -1 else size for size in spec.shape], _numeric(spec)
    if dtype.kind == "f":
        return rng.random(shape, dtype=np.float32).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5  # noqa: PLR2004
    limits = np.iinfo(dtype)
    if spec.scale:
        low, high = limits.min, limits.max
    else:
        low, high = 0, 1 if dtype.itemsize >= _INDEX_BYTES else min(255, int(limits.max))
    return rng.integers(low, high, shape, dtype=dtype, endpoint=True)


def _numeric(spec: TensorSpec) -> "np.dtype[Any]":
    try:
        dtype: np.dtype[Any] = np.dtype(spec.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise InputDataError(f"input '{spec.name}' takes {spec.dtype} and only numbers can be made up")
    return dtype


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of an `.npz`, never unpickling anything.

    Raises:
        InputDataError: if it cannot be read.
    """
    try:
        # opened here: the library leaves a broken one open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError) as exc:
        raise InputDataError(f"data '{path}' cannot be read: {exc}") from exc
    except Exception as exc:  # zipfile has errors of its own
        raise InputDataError(f"data '{path}' is not an .npz: {exc}") from exc
