"""Inputs to run a model with, to learn what it does: seeded, and with several sizes of its free dimensions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Array, TensorSpec

BATCH = (2, 5)
"""Sizes of a free batch in the runs."""
# Sizes of the other free dimensions, tried in turn: sentences are short, images have to be large enough.
_SIZES = ((5, 8), (16, 24), (32, 64), (96, 128), (224, 256), (512, 576))


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeInput:
    """An input with the symbols of its free dimensions: None where a size is fixed."""

    spec: TensorSpec
    symbols: tuple[str | None, ...]


def symbols_of(spec: TensorSpec, names: Sequence[str | None]) -> FreeInput:
    """Name the free dimensions: as the model does, and those without a name by their axis, alike in every input."""
    free = (size is None for size in spec.shape)
    chosen = [(name or f"axis {axis}") if open_ else None for axis, (open_, name) in enumerate(zip(free, names))]  # noqa: B905  # an unknown rank has no names
    return FreeInput(spec=spec, symbols=tuple(chosen))


def runs_of(inputs: Sequence[FreeInput], seed: int = 0) -> Iterator[list[dict[str, Array]]]:
    """Yield lists of feeds to try in turn until the model takes one.

    A list holds one run with every symbol at its first size, one for each symbol with that symbol alone at
    its second, and (of several symbols) one with all at their second. Without free dimensions it is one run.
    """
    symbols = list(dict.fromkeys(one for given in inputs for one in given.symbols if one))
    batch = {given.symbols[0] for given in inputs if given.symbols and given.symbols[0]}
    # A symbol that is also no first dimension is no batch.
    batch -= {one for given in inputs for one in given.symbols[1:]}
    for first, second in _SIZES if set(symbols) - batch else _SIZES[:1]:
        sizes = {one: BATCH if one in batch else (first, second) for one in symbols}
        chosen: list[set[str]] = [set(), *({one} for one in symbols)]
        if len(symbols) > 1:
            chosen.append(set(symbols))
        yield [feeds(inputs, {one: sizes[one][one in second_ones] for one in symbols}, seed) for second_ones in chosen]


def feeds(inputs: Sequence[FreeInput], sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Return one run's inputs.

    Floats are uniform in [0, 1), 8-bit integers of their whole range; wider integers are mostly 1 and sometimes
    0, which is right for masks and safe for indices.

    Raises:
        UnsupportedError: if an input takes no numbers.
    """
    rng = np.random.default_rng(seed)
    return {given.spec.name: _random(given, sizes, rng) for given in inputs}


def _random(given: FreeInput, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    spec = given.spec
    shape = [sizes[symbol] if symbol else (size or 1) for size, symbol in zip(spec.shape, given.symbols, strict=True)]
    kind = np.dtype(spec.dtype) if spec.dtype != "string" else np.dtype("U")
    if kind.kind == "f" or kind.name == "bfloat16":
        return np.asarray(rng.random(shape)).astype(kind)
    if kind.name in {"int8", "uint8"}:
        info = np.iinfo(kind)
        return np.asarray(rng.integers(info.min, info.max + 1, shape)).astype(kind)
    if kind.kind in "iub":
        return np.asarray(rng.random(shape) < 0.8).astype(kind)  # noqa: PLR2004
    raise UnsupportedError(f"input '{spec.name}' takes {spec.dtype}: no random samples")
