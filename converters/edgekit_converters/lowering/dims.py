"""Sizes that are free: integers that remember what they are when the free dimensions have other values.

The model is run with several sizes of its free dimensions. A size that differs from run to run is a `Dim`.
It is an `int` (the first run's size), so shape arithmetic is written as for fixed shapes; + - * // keep
what it is in every run. Two sizes that agree in every run are taken for the same; the proof by running the
file with other sizes shows where that was wrong.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Self

Samples = tuple[int, ...]


class Dim(int):
    """A free size. `tag` names one that depends on the data, which no run tells."""

    samples: Samples
    tag: str

    def __new__(cls, samples: Samples, tag: str = "") -> Self:
        """Make one from its value in each run."""
        made = super().__new__(cls, samples[0])
        made.samples = samples
        made.tag = tag
        return made

    @property
    def key(self) -> tuple[Samples, str]:
        """What makes two free sizes the same."""
        return self.samples, self.tag

    def __getnewargs__(self) -> tuple[Samples, str]:  # type: ignore[override]  # int's are its value
        """Copy with what it remembers."""
        return self.samples, self.tag

    def __add__(self, other: int) -> int:
        """Add in every run."""
        return _joined(operator.add, self, other)

    def __radd__(self, other: int) -> int:
        """Add in every run."""
        return _joined(operator.add, other, self)

    def __sub__(self, other: int) -> int:
        """Subtract in every run."""
        return _joined(operator.sub, self, other)

    def __rsub__(self, other: int) -> int:
        """Subtract in every run."""
        return _joined(operator.sub, other, self)

    def __mul__(self, other: int) -> int:
        """Multiply in every run."""
        return _joined(operator.mul, self, other)

    def __rmul__(self, other: int) -> int:
        """Multiply in every run."""
        return _joined(operator.mul, other, self)

    def __floordiv__(self, other: int) -> int:
        """Divide in every run, rounded down."""
        return _joined(operator.floordiv, self, other)

    def __rfloordiv__(self, other: int) -> int:
        """Divide in every run, rounded down."""
        return _joined(operator.floordiv, other, self)

    def __mod__(self, other: int) -> int:
        """Take the rest in every run."""
        return _joined(operator.mod, self, other)

    def __rmod__(self, other: int) -> int:
        """Take the rest in every run."""
        return _joined(operator.mod, other, self)

    def __neg__(self) -> int:
        """Turn the sign in every run."""
        return _joined(operator.sub, 0, self)


def size_of(samples: Sequence[int], tag: str = "") -> int:
    """Return a plain number where every run agrees, else a `Dim`."""
    same = len(set(samples)) == 1 and not tag
    return int(samples[0]) if same else Dim(tuple(int(one) for one in samples), tag)


def is_free(size: int) -> bool:
    """Whether a size is free."""
    return isinstance(size, Dim)


def samples_of(size: int, runs: int) -> Samples:
    """Return a size in every run."""
    return size.samples if isinstance(size, Dim) else (int(size),) * runs


def _joined(what: Callable[[int, int], int], left: int, right: int) -> int:
    if not isinstance(left, int) or not isinstance(right, int):
        return NotImplemented
    runs = len(next(one.samples for one in (left, right) if isinstance(one, Dim)))
    pairs = zip(samples_of(left, runs), samples_of(right, runs), strict=True)
    tags = [one.tag for one in (left, right) if isinstance(one, Dim) and one.tag]
    tag = f"({what.__name__} {left!r} {right!r} {' '.join(tags)})" if tags else ""
    return size_of([what(one, other) for one, other in pairs], tag)


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that shapes broadcast to, free sizes kept.

    Raises:
        ValueError: if they do not broadcast.
    """
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_widest(column) for column in zip(*full, strict=True))


def _widest(sizes: Sequence[int]) -> int:
    wide = [size for size in sizes if is_free(size) or size != 1]
    if not wide:
        return 1
    if len({int(size) for size in wide}) > 1:
        raise ValueError(f"sizes {', '.join(map(str, wide))} do not broadcast")
    return next((size for size in wide if not is_free(size)), wide[0])


def in_every_run(what: Callable[..., int], *sizes: int) -> int:
    """Return what a function makes of sizes, run by run; one that depends on the data gives one that does."""
    free = [size for size in sizes if isinstance(size, Dim)]
    if not free:
        return what(*sizes)
    columns = zip(*(samples_of(size, len(free[0].samples)) for size in sizes), strict=True)
    tags = [size.tag for size in free if size.tag]
    return size_of([what(*column) for column in columns], f"(of {' '.join(tags)})" if tags else "")


def same(left: int, right: int) -> bool:
    """Whether two sizes agree in every run."""
    if isinstance(left, Dim) and isinstance(right, Dim):
        return left.key == right.key
    return not is_free(left) and not is_free(right) and left == right


def unknown(size: int, tag: str) -> int:
    """Return a free size as it is, and a number as one that only the run itself tells: for types, not arithmetic."""
    return size if is_free(size) else Dim((size,), tag)
