"""Where the boxes of a drawn graph stand: layer by layer from top to bottom, few crossings, straight chains.

The way of K. Sugiyama et al. (1981): a box stands one row below the lowest of those it takes from; an edge over
several rows gets a bend in each; rows are sorted by where their neighbours stand, up and down a few times; then boxes
move towards their neighbours as far as the others leave room. Time grows with the edges times the sweeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 6
_BEND_WIDTH = 0.25  # of a box


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Boxes in units of one box: `x` of the middle, `row` from the top; an edge's bends as (x, row), ends included."""

    x: tuple[float, ...]
    row: tuple[int, ...]
    edges: tuple[tuple[tuple[float, int], ...], ...]
    width: float
    rows: int


def layout(count: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Place `count` boxes given in an order in which every edge (from, to) goes forward."""
    row = [0] * count
    for start, end in sorted(edges, key=lambda edge: edge[1]):
        row[end] = max(row[end], row[start] + 1)
    grid = _Grid(row, edges)
    grid.sort()
    xs = grid.spread()
    paths = tuple(tuple((xs[one], grid.row[one]) for one in chain) for chain in grid.chains)
    return Layout(
        x=tuple(xs[:count]),
        row=tuple(row),
        edges=paths,
        width=max(xs, default=0.0) + 1,
        rows=max(row, default=-1) + 1,
    )


class _Grid:
    """Boxes and bends in rows; bends come after the boxes in numbers."""

    def __init__(self, row: Sequence[int], edges: Sequence[tuple[int, int]]) -> None:
        self.row = list(row)
        self.boxes = len(row)
        self.chains: list[list[int]] = []
        for start, end in edges:
            bends = list(range(len(self.row), len(self.row) + row[end] - row[start] - 1))
            self.row += range(row[start] + 1, row[end])
            self.chains.append([start, *bends, end])
        self.above: list[list[int]] = [[] for _ in self.row]
        self.below: list[list[int]] = [[] for _ in self.row]
        for chain in self.chains:
            for upper, lower in pairwise(chain):
                self.below[upper].append(lower)
                self.above[lower].append(upper)
        self.rows: list[list[int]] = [[] for _ in range(max(self.row, default=-1) + 1)]
        for one, at in enumerate(self.row):
            self.rows[at].append(one)

    def sort(self) -> None:
        place = [0.0] * len(self.row)
        for members in self.rows:
            _number(members, place)
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            near = self.above if down else self.below
            for members in self.rows if down else reversed(self.rows):
                members.sort(key=lambda one: _mean([place[other] for other in near[one]], place[one]))
                _number(members, place)

    def spread(self) -> list[float]:
        """Return an x for each: in order within a row, near its neighbours, never closer than their widths."""
        x = [0.0] * len(self.row)
        for members in self.rows:
            for left, one in pairwise(members):
                x[one] = x[left] + self._gap(left, one)
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            near = self.above if down else self.below
            for members in self.rows if down else reversed(self.rows):
                wanted = [_mean([x[other] for other in near[one]], x[one]) for one in members]
                self._settle(members, wanted, x)
        leftmost = min(x, default=0.0)
        return [one - leftmost for one in x]

    def _settle(self, members: Sequence[int], wanted: Sequence[float], x: list[float]) -> None:
        """Give each the mean of the leftmost and the rightmost place it can have when the others get theirs."""
        count = len(members)
        forward, backward = list(wanted), list(wanted)
        for at in range(1, count):
            forward[at] = max(forward[at], forward[at - 1] + self._gap(members[at - 1], members[at]))
        for at in range(count - 2, -1, -1):
            backward[at] = min(backward[at], backward[at + 1] - self._gap(members[at], members[at + 1]))
        for at, one in enumerate(members):
            x[one] = (forward[at] + backward[at]) / 2

    def _gap(self, left: int, right: int) -> float:
        return sum((1.0 if one < self.boxes else _BEND_WIDTH) for one in (left, right)) / 2


def _number(members: Sequence[int], place: list[float]) -> None:
    for at, one in enumerate(members):
        place[one] = at - (len(members) - 1) / 2


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
