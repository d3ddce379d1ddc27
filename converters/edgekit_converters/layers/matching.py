"""Which value of one model is which of another, whatever their formats, layouts and names.

Names are asked first, in this order: the same name; the same layer's name; a name among those a converter writes on a
tensor it fused (ONNX's output names come through our lowering so). What is left is told by its numbers: of values of
one size, those that go up and down together over the first samples belong together. Numbers also tell the layout.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.layers import source_names
from edgekit_converters.model import Array

_ALIKE = 0.5  # the likeness below which two values with different names are not taken for the same
_LOOKED_AT = 4096  # numbers of each value that are compared
_MAX_RANK_TURNED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A value of a model: its name and its numbers in the first run."""

    place: int
    name: str
    array: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How an array of the second model becomes one of the first: its axes in another order, then another shape."""

    axes: tuple[int, ...] | None

    def forward(self, array: Array, like: Array) -> Array:
        """Return the second model's array as the first model has it."""
        return (array if self.axes is None else array.transpose(self.axes)).reshape(like.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A value of the first model, the same one of the second, and how to turn it."""

    first: int
    second: int
    turn: Turn


def match(first: Sequence[Named], second: Sequence[Named], known: Sequence[tuple[int, int]] = ()) -> list[Match]:
    """Return the values both models have, in the first one's order; each occurs once.

    `known` are places that belong together for other reasons: inputs and outputs.
    """
    looked = {id(one): _Look(one.array) for one in (*first, *second)}
    found: dict[int, Match] = {}
    taken: set[int] = set()

    def take(a: Named, b: Named, turn: Turn) -> None:
        found[a.place] = Match(first=a.place, second=b.place, turn=turn)
        taken.add(b.place)

    named = (_same(first, second, _whole), _same(first, second, _layer), _fused(first, second))
    for pairs in (_known(first, second, known), *named):
        for a, b in pairs:
            fits = _turn(looked[id(a)], looked[id(b)])
            if fits is not None and a.place not in found and b.place not in taken:
                take(a, b, fits[1])
    left = ([one for one in first if one.place not in found], [one for one in second if one.place not in taken])
    for _, a, b, turn in sorted(_by_numbers(*left, looked), key=lambda one: -one[0]):
        if a.place not in found and b.place not in taken:
            take(a, b, turn)
    return [found[one.place] for one in first if one.place in found]


def _known(
    first: Sequence[Named], second: Sequence[Named], known: Sequence[tuple[int, int]]
) -> Iterator[tuple[Named, Named]]:
    places = {one.place: one for one in first}, {one.place: one for one in second}
    for a, b in known:
        if a in places[0] and b in places[1]:
            yield places[0][a], places[1][b]


def _whole(one: Named) -> str:
    return one.name


def _layer(one: Named) -> str:
    return source_names.layer(one.name)


def _same(
    first: Sequence[Named], second: Sequence[Named], key: Callable[[Named], str]
) -> Iterator[tuple[Named, Named]]:
    """Yield pairs with the same key and size; of several values with one key the last stands for it."""
    known = {(key(one), one.array.size): one for one in second}
    last = {(key(one), one.array.size): one for one in first}
    for what, a in last.items():
        if what in known:
            yield a, known[what]


def _fused(first: Sequence[Named], second: Sequence[Named]) -> Iterator[tuple[Named, Named]]:
    """Yield each value of the second with the last one of the first that its name mentions."""
    places = {(token, one.array.size): at for at, one in enumerate(first) for token in source_names.tokens(one.name)}
    for b in second:
        mentioned = [places.get((token, b.array.size)) for token in source_names.tokens(b.name)]
        known = [at for at in mentioned if at is not None]
        if known:
            yield first[max(known)], b


def _by_numbers(
    first: Sequence[Named], second: Sequence[Named], looked: Mapping[int, "_Look"]
) -> Iterator[tuple[float, Named, Named, Turn]]:
    sizes: dict[int, list[Named]] = {}
    for one in second:
        sizes.setdefault(one.array.size, []).append(one)
    for at, a in enumerate(first):
        for place, b in enumerate(sizes.get(a.array.size, [])):
            fits = _turn(looked[id(a)], looked[id(b)])
            if fits is not None and fits[0] > _ALIKE:
                # of equally good ones: the same rank, then the same place in order
                nearness = 1e-6 * (a.array.ndim == b.array.ndim) - 1e-9 * abs(at - place)
                yield fits[0] + nearness, a, b, fits[1]


class _Look:
    """A few numbers of a value, the same ones of every value of its size."""

    def __init__(self, array: Array) -> None:
        self.array = array
        step = max(1, array.size // _LOOKED_AT)
        self._at = np.arange(0, array.size, step + (step % 2 == 0))  # an odd step visits every channel
        self._known: dict[tuple[int, ...] | None, NDArray[np.float64]] = {}

    def numbers(self, axes: tuple[int, ...] | None) -> NDArray[np.float64]:
        if axes not in self._known:
            turned = self.array if axes is None else self.array.transpose(axes)
            self._known[axes] = turned.reshape(-1)[self._at].astype(np.float64)
        return self._known[axes]


def _likeness(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the concordance correlation (L. I. Lin, 1989): 1 for equal numbers, less for a shift or a scale too."""
    if not first.size:
        return 0.0
    spread = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    if spread == 0:
        return 1.0
    shared = ((first - first.mean()) * (second - second.mean())).mean()
    return float(np.nan_to_num(2 * shared / spread))


def _turn(first: _Look, second: _Look) -> tuple[float, Turn] | None:
    """Return the likeness and the turn under which the second is most like the first; None where no turn fits."""
    if first.array.size != second.array.size:
        return None
    fitting = list(_fitting(first.array.shape, second.array.shape))
    if not fitting:
        return None
    numbers = first.numbers(None)
    return max(
        ((_likeness(numbers, second.numbers(axes)), Turn(axes=axes)) for axes in fitting),
        key=lambda one: one[0] + (1e-6 if one[1].axes is None else 0.0),
    )


def _fitting(wanted: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[int, ...] | None]:
    yield None  # as it is, maybe in another shape: the size is the same
    if len(shape) == len(wanted) and len(shape) <= _MAX_RANK_TURNED:
        for axes in permutations(range(len(shape))):
            if axes != tuple(range(len(shape))) and tuple(shape[axis] for axis in axes) == wanted and axes[0] == 0:
                yield axes
