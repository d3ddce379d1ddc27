"""The forms a layer's factors can have, from kernels [groups, outputs, inputs, *window]: one table."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, TypeVar

import numpy as np

from edgekit_converters.compress.lowrank.cp import cp
from edgekit_converters.compress.lowrank.factors import Factor, product
from edgekit_converters.compress.lowrank.splitting import Split, lost, refitted, split
from edgekit_converters.graph.weights import Reals

Ranks = tuple[int, ...]
T = TypeVar("T")
_STEPS = 16
"""Ranks that are tried of forms whose errors have to be computed one by one."""


class Form(ABC):
    """A layer's weights in a form; all groups get the same ranks."""

    name: ClassVar[str]

    def __init__(self, kernel: Reals, grams: Sequence[Reals | None]) -> None:
        """Take a kernel [groups, outputs, inputs, *window] and XᵀX [inputs x window] of each group, None for 1."""
        self.kernel, self.grams = kernel, grams
        self.window = kernel.shape[3:]
        self.ones = (1,) * len(self.window)
        self.axes = tuple(range(len(self.window)))

    @staticmethod
    def why_not(kernel: Reals) -> str | None:
        """Return why a kernel cannot have this form."""
        return None if any(size > 1 for size in kernel.shape[3:]) else "its window is a single place"

    @abstractmethod
    def grid(self, multiple: int) -> list[Ranks]:
        """Return the ranks to choose from, multiples of a number where they are not full."""

    @abstractmethod
    def at(self, rank: int) -> Ranks:
        """Return the ranks that are meant by a number."""

    @abstractmethod
    def factors(self, ranks: Ranks) -> tuple[Factor, ...]:
        """Return the factors of these ranks that keep the outputs best."""

    def error(self, ranks: Ranks) -> float:
        """Return the power of what is lost as a share of that of the outputs, which vary by `grams`."""
        change = self.kernel - product(self.factors(ranks))
        return self._share(sum(lost(_matrix(one), gram) for one, gram in zip(change, self.grams, strict=True)))

    @cached_property
    def power(self) -> float:
        """That of the outputs."""
        return sum(lost(_matrix(one), gram) for one, gram in zip(self.kernel, self.grams, strict=True))

    def _share(self, power: float) -> float:
        return power / self.power if self.power > 0 else 0.0


class Svd(Form):
    """Inputs to `r` channels through the whole window, then to the outputs at one place."""

    name = "svd"

    def __init__(self, kernel: Reals, grams: Sequence[Reals | None]) -> None:
        """Split every group's matrix."""
        super().__init__(kernel, grams)
        self.splits = [split(_matrix(one), gram) for one, gram in zip(kernel, grams, strict=True)]

    @staticmethod
    def why_not(kernel: Reals) -> str | None:  # noqa: ARG004  # the form's
        """Any kernel has it."""
        return None

    def grid(self, multiple: int) -> list[Ranks]:
        """All ranks: their errors are known together."""
        full = len(self.splits[0].squares)
        return [(one,) for one in (*range(multiple, full, multiple), full)]

    def at(self, rank: int) -> Ranks:
        """The number of channels between."""
        return (min(rank, len(self.splits[0].squares)),)

    def factors(self, ranks: Ranks) -> tuple[Factor, ...]:
        """The first ranks of the split."""
        (rank,) = ranks
        _, outputs, inputs = self.kernel.shape[:3]
        first = np.stack([one.first[:, :rank].T.reshape(rank, inputs, *self.window) for one in self.splits])
        last = np.stack([one.last[:rank].T.reshape(outputs, rank, *self.ones) for one in self.splits])
        return Factor(kernel=first, axes=self.axes), Factor(kernel=last)

    def error(self, ranks: Ranks) -> float:
        """The squares that are left out."""
        return self._share(sum(float(one.squares[ranks[0] :].sum()) for one in self.splits))


class Spatial(Form):
    """Along the first long axis of the window to `r` channels, then along the others (Jaderberg et al. 2014)."""

    name = "spatial"

    def __init__(self, kernel: Reals, grams: Sequence[Reals | None]) -> None:
        """Bring the first long axis to the front."""
        super().__init__(kernel, grams)
        self.axis = next(at for at, size in enumerate(self.window) if size > 1)
        self.high = self.window[self.axis]
        self.wide = int(np.prod(self.window)) // self.high
        self.groups = [self._group(one, gram) for one, gram in zip(kernel, grams, strict=True)]

    @staticmethod
    def why_not(kernel: Reals) -> str | None:
        """It takes two axes."""
        return None if sum(size > 1 for size in kernel.shape[3:]) > 1 else "its window is long along one axis at most"

    def _group(self, kernel: Reals, gram: Reals | None) -> tuple[Reals, Reals | None, list[Split]]:
        """Return W [inputs x high x wide, outputs], its gram, and ways to split it between the axes."""
        outputs, inputs = kernel.shape[:2]
        turned = np.moveaxis(kernel, 2 + self.axis, 2).reshape(outputs, inputs, self.high, self.wide)
        thin = turned.transpose(1, 2, 0, 3).reshape(inputs * self.high, outputs * self.wide)
        splits = [split(thin, None)]
        if gram is not None:
            size, sides = len(gram), (inputs, *self.window)
            cube = gram.reshape(*sides, *sides)
            cube = np.moveaxis(cube, (1 + self.axis, 2 + len(self.window) + self.axis), (1, 2 + len(self.window)))
            gram = cube.reshape(size, size)
            rows = gram.reshape(inputs * self.high, self.wide, inputs * self.high, self.wide)
            splits.append(split(thin, np.trace(rows, axis1=1, axis2=3)))
        return _matrix(turned), gram, splits

    def grid(self, multiple: int) -> list[Ranks]:
        """Some ranks."""
        return _some(len(self.groups[0][2][0].squares), multiple)

    def at(self, rank: int) -> Ranks:
        """The number of channels between."""
        return (min(rank, len(self.groups[0][2][0].squares)),)

    def factors(self, ranks: Ranks) -> tuple[Factor, ...]:
        """The first ranks of the better split, the second factor fitted anew."""
        (rank,) = ranks
        _, outputs, inputs = self.kernel.shape[:3]
        tall = tuple(size if at == self.axis else 1 for at, size in enumerate(self.window))
        flat = tuple(1 if at == self.axis else size for at, size in enumerate(self.window))
        pairs = [_best([self._pair(one, rank, *group[:2]) for one in group[2]]) for group in self.groups]
        first = np.stack([one.T.reshape(rank, inputs, *tall) for one, _ in pairs])
        last = np.stack([one.reshape(rank, *flat, outputs) for _, one in pairs])
        others = tuple(at for at in self.axes if at != self.axis)
        return Factor(kernel=first, axes=(self.axis,)), Factor(kernel=np.moveaxis(last, -1, 1), axes=others)

    def _pair(self, found: Split, rank: int, matrix: Reals, gram: Reals | None) -> tuple[float, tuple[Reals, Reals]]:
        first = found.first[:, :rank]
        last = found.last[:rank].reshape(rank, -1, self.wide).transpose(0, 2, 1).reshape(rank * self.wide, -1)
        basis = np.asarray(np.kron(first, np.eye(self.wide)), np.float64)
        if gram is not None:
            last = refitted(basis, matrix, gram)
        return lost(matrix - basis @ last, gram), (first, last)


class Tucker(Form):
    """Inputs to `r` channels, through the window to `s`, then to the outputs (Kim et al. 2016, Tucker-2)."""

    name = "tucker"

    def __init__(self, kernel: Reals, grams: Sequence[Reals | None]) -> None:
        """Split every group's inputs from the rest, and its outputs."""
        super().__init__(kernel, grams)
        self.places = int(np.prod(self.window))
        self.inner = [self._inputs(one, gram) for one, gram in zip(kernel, grams, strict=True)]
        self.outer = [split(_matrix(one), gram).squares for one, gram in zip(kernel, grams, strict=True)]

    def _inputs(self, kernel: Reals, gram: Reals | None) -> list[Split]:
        inputs = kernel.shape[1]
        matrix = np.moveaxis(kernel, 1, 0).reshape(inputs, -1)
        splits = [split(matrix, None)]
        if gram is not None:
            cube = gram.reshape(inputs, self.places, inputs, self.places)
            splits.append(split(matrix, np.trace(cube, axis1=1, axis2=3)))
        return splits

    def grid(self, multiple: int) -> list[Ranks]:
        """Ranks that keep as much of the inputs as of the outputs, for falling shares of loss."""
        inner, outer = np.sum([one[-1].squares for one in self.inner], axis=0), np.sum(self.outer, axis=0)
        shares = (*np.geomspace(0.5, 1e-5, _STEPS), 0.0)
        found = {tuple(_rank(squares, share, multiple) for squares in (inner, outer)) for share in shares}
        return sorted(found)

    def at(self, rank: int) -> Ranks:
        """The number of both."""
        return min(rank, self.kernel.shape[2], len(self.inner[0][0].squares)), min(rank, len(self.outer[0]))

    def factors(self, ranks: Ranks) -> tuple[Factor, ...]:
        """The inputs' first ranks of the better split, then the kernel that is best behind them split by outputs."""
        few, some = ranks
        _, outputs, inputs = self.kernel.shape[:3]
        made = []
        for kernel, gram, ways in zip(self.kernel, self.grams, self.inner, strict=True):
            made.append(_best([self._three(one.first[:, :few], some, _matrix(kernel), gram) for one in ways]))
        first = np.stack([one.T.reshape(few, inputs, *self.ones) for one, _, _ in made])
        core = np.stack([one.T.reshape(-1, few, *self.window) for _, one, _ in made])
        last = np.stack([one.T.reshape(outputs, -1, *self.ones) for _, _, one in made])
        return Factor(kernel=first), Factor(kernel=core, axes=self.axes), Factor(kernel=last)

    def _three(
        self, inner: Reals, some: int, matrix: Reals, gram: Reals | None
    ) -> tuple[float, tuple[Reals, Reals, Reals]]:
        gram = np.eye(len(matrix)) if gram is None else gram
        basis = np.asarray(np.kron(inner, np.eye(self.places)), np.float64)
        found = split(refitted(basis, matrix, gram), basis.T @ gram @ basis)
        core, last = found.first[:, :some], found.last[:some]
        return lost(matrix - basis @ core @ last, gram), (inner, core, last)


class Cp(Form):
    """Inputs to `r` channels, each through a window of its own, then to the outputs (Lebedev et al. 2015)."""

    name = "cp"

    @staticmethod
    def why_not(kernel: Reals) -> str | None:
        """It takes a window, and channels to mix."""
        return "it is depthwise already" if kernel.shape[2] == 1 else Form.why_not(kernel)

    def grid(self, multiple: int) -> list[Ranks]:
        """Some ranks, those the form is smaller at."""
        return _some(self._full, multiple, _STEPS // 2)

    def at(self, rank: int) -> Ranks:
        """The number of channels between."""
        return (min(rank, self._full),)

    @property
    def _full(self) -> int:
        outputs, inputs, places = (int(one) for one in (*self.kernel.shape[1:3], np.prod(self.window)))
        return min(outputs * inputs, outputs * places, inputs * places)

    def factors(self, ranks: Ranks) -> tuple[Factor, ...]:
        """A decomposition of each group, the outputs fitted anew."""
        (rank,) = ranks
        _, outputs, inputs = self.kernel.shape[:3]
        parts = []
        for kernel, gram in zip(self.kernel, self.grams, strict=True):
            _, inner, windows = cp(kernel.reshape(outputs, inputs, -1), rank)
            basis = np.einsum("ir,kr->ikr", inner, windows).reshape(-1, rank)
            last = refitted(basis, _matrix(kernel), np.eye(len(basis)) if gram is None else gram)
            parts.append((inner, windows, last))
        first = np.stack([one.T.reshape(rank, inputs, *self.ones) for one, _, _ in parts])
        middle = np.stack([one.T.reshape(rank, 1, *self.window) for _, one, _ in parts])
        last = np.stack([one.T.reshape(outputs, rank, *self.ones) for _, _, one in parts])
        return Factor(kernel=first), Factor(kernel=middle, axes=self.axes, depthwise=True), Factor(kernel=last)


FORMS: Mapping[str, type[Form]] = MappingProxyType({one.name: one for one in (Svd, Spatial, Tucker, Cp)})


def _matrix(kernel: Reals) -> Reals:
    """Return a group's kernel as W [inputs x window, outputs]."""
    return kernel.reshape(len(kernel), -1).T


def _best(found: Sequence[tuple[float, T]]) -> T:
    return min(found, key=lambda one: one[0])[1]


def _rank(squares: Reals, share: float, multiple: int) -> int:
    """Return the smallest rank that loses no more than a share of the squares."""
    behind = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    least = max(1, int(np.argmax(behind <= share * behind[0] * (1 + 1e-12))))
    return min(-(-least // multiple) * multiple, len(squares))


def _some(full: int, multiple: int, steps: int = _STEPS) -> list[Ranks]:
    found = {min(-(-int(one) // multiple) * multiple, full) for one in np.geomspace(1, full, steps)}
    return [(one,) for one in sorted(found)]
