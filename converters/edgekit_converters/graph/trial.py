"""Inputs to run a model with, to learn what it does: seeded, and with several sizes of its free dimensions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.calibration import random_array
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

    Raises:
        UnsupportedError: as `random_array` does.
    """
    rng = np.random.default_rng(seed)
    return {given.spec.name: _random(given, sizes, rng) for given in inputs}


def _random(given: FreeInput, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    shape = [
        sizes[symbol] if symbol else (size or 1) for size, symbol in zip(given.spec.shape, given.symbols, strict=True)
    ]
    return random_array(given.spec, shape, rng)
