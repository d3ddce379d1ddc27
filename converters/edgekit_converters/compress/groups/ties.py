"""Elements along the axes of values, and which of them can only be taken out together.

An element is one index along one axis of one value: a channel of an image, a column of a weight matrix, a bias. Every
operator's rule ties the elements of its inputs to those of its outputs; what is connected goes or stays as one (after
Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", element by element instead of layer by layer, so that
concatenated, split, padded and flattened channels need no special case).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Slot = tuple[int, int]
"""Where the elements of an axis are: the first one's number, and how many there are."""


@dataclass(frozen=True, slots=True)
class Join:
    """An axis that a reshape splits into several, or puts together of them: one of them carries its elements."""

    one: Slot
    many: tuple[Slot, ...]
    what: str
    """What joins them, for reasons."""

    def index(self, place: int) -> Numbers:
        """Return for every element of the one axis that of the axis in that place."""
        behind = math.prod(size for _, size in self.many[place + 1 :])
        return np.arange(self.one[1]) // behind % self.many[place][1]


class Ties:
    """The elements of a model's main graph; rules tie and stop them, `solved` says what came of it."""

    def __init__(self, model: "ir.Model") -> None:
        """Number the elements of all axes whose size is known."""
        self._slots: dict[int, tuple[Slot | None, ...]] = {}
        self._edges: list[tuple[Numbers, Numbers]] = []
        self._stops: list[tuple[Slot, str]] = []
        self._joins: list[Join] = []
        self._touched: set[Slot] = set()
        self.count = 0
        values = [*model.graph.inputs, *model.graph.initializers.values()]
        for value in (*values, *(one for node in model.graph for one in node.outputs)):
            self._number(value)

    def _number(self, value: "ir.Value") -> None:
        shape = value.const_value.shape if value.const_value is not None else value.shape
        if shape is None:
            return
        slots = list[Slot | None]()
        for size in shape:
            length = size if isinstance(size, int) and size > 0 else 0
            slots.append((self.count, length) if length else None)
            self.count += length
        self._slots[id(value)] = tuple(slots)

    def rank(self, value: "ir.Value | None") -> int | None:
        """Return a value's number of axes, None where it is not known."""
        slots = self._slots.get(id(value))
        return None if slots is None else len(slots)

    def size(self, value: "ir.Value | None", axis: int) -> int | None:
        """Return how long an axis is, None where it is not known."""
        slot = self.slot(value, axis)
        return None if slot is None else slot[1]

    def slot(self, value: "ir.Value | None", axis: int) -> Slot | None:
        """Return an axis' elements."""
        slots = self._slots.get(id(value), ())
        return slots[axis] if -len(slots) <= axis < len(slots) else None

    def tie(
        self,
        one: "ir.Value | None",
        axis: int,
        other: "ir.Value | None",
        other_axis: int,
        index: Numbers | None = None,
    ) -> None:
        """Tie every element of one axis to that of the other at `index`; without one, in order."""
        first, second = self.slot(one, axis), self.slot(other, other_axis)
        if first is None or second is None or (index is None and first[1] != second[1]):
            return
        places = np.arange(first[1]) if index is None else index
        self._edges.append((first[0] + np.arange(first[1]), second[0] + places))
        self._touched |= {first, second}

    def join(self, join: Join) -> None:
        """Leave it to `solved` which of the many axes carries the one's elements."""
        self._joins.append(join)
        self._touched |= {join.one, *join.many}

    def stop(self, value: "ir.Value | None", why: str, but: Sequence[Slot] = ()) -> None:
        """Keep all elements of a value, but those of the axes named."""
        for slot in self._slots.get(id(value), ()):
            if slot is not None and slot not in but:
                self._stops.append((slot, why))

    def follow(self, node: "ir.Node", why: str) -> None:
        """Keep what no rule has tied at a node since this was called last."""
        for value in (*node.inputs, *node.outputs):
            self.stop(value, why, tuple(self._touched))
        self._touched = set()

    def solved(self) -> "Labels":
        """Return which elements belong together, and why some have to stay."""
        labels = self._labels()
        while self._joins:
            waiting = [one for one in self._joins if not self._settled(one, labels)]
            if len(waiting) == len(self._joins):  # several axes could be it: the longest
                first = waiting.pop(0)
                self._settle(first, max(range(len(first.many)), key=lambda at: first.many[at][1]))
            self._joins = waiting
            labels = self._labels()
        return labels

    def _settled(self, join: Join, labels: "Labels") -> bool:
        """Settle a join where only one axis is free to carry the elements, or none."""
        free = [slot for slot in join.many if not labels.stopped(slot).all()]
        whole = labels.stopped(join.one).all()
        if whole or not free:
            why = labels.why(join.one if whole else join.many[0])
            self._stops += [(slot, why) for slot in (join.one, *join.many)]
            return True
        if len(free) > 1:
            return False
        self._settle(join, join.many.index(free[0]))
        return True

    def _settle(self, join: Join, place: int) -> None:
        chosen = join.many[place]
        self._edges.append((join.one[0] + np.arange(join.one[1]), chosen[0] + join.index(place)))
        why = f"{join.what} joins it with the channels"
        self._stops += [(slot, why) for slot in join.many if slot != chosen]

    def _labels(self) -> "Labels":
        ends = [np.concatenate(one) for one in zip(*self._edges, strict=True)]
        units = _connected(self.count, *ends) if ends else np.arange(self.count)
        whys: dict[int, str] = {}
        for (first, size), why in self._stops:
            for unit in units[first : first + size].tolist():
                whys.setdefault(unit, why)
        return Labels(self, units, whys)


def _connected(count: int, first: Numbers, second: Numbers) -> Numbers:
    """Return the lowest element that each is connected to, over pairs of elements."""
    lowest = np.arange(count)
    while True:
        ends = lowest[first], lowest[second]
        found, low = lowest.copy(), np.minimum(*ends)
        for one in ends:
            np.minimum.at(found, one, low)
        while not np.array_equal(further := found[found], found):
            found = further
        if np.array_equal(found, lowest):
            return lowest
        lowest = found


class Labels:
    """The unit of every element, and why units stay that have to."""

    def __init__(self, ties: Ties, units: Numbers, whys: dict[int, str]) -> None:
        """Take what `Ties` found."""
        self._ties, self._units, self._whys = ties, units, whys
        self._kept = np.zeros(int(units.max(initial=-1)) + 1, bool)
        self._kept[list(whys)] = True

    def units(self, value: "ir.Value | None", axis: int) -> Numbers | None:
        """Return the units of an axis' elements, None where its size is not known."""
        slot = self._ties.slot(value, axis)
        return None if slot is None else self.at(slot)

    def of(self, value: "ir.Value | None", axis: int) -> Numbers:
        """Return the units of the elements of an axis whose size is known."""
        found = self.units(value, axis)
        if found is None:
            raise AssertionError("a stored tensor's axes are known")
        return found

    def at(self, slot: Slot) -> Numbers:
        """Return the units of elements."""
        return self._units[slot[0] : slot[0] + slot[1]]

    def stopped(self, slot: Slot) -> Mask:
        """Return which of the elements have to stay."""
        return np.asarray(self._kept[self.at(slot)])

    def reason(self, unit: int) -> str | None:
        """Return why a unit has to stay, None where it may go."""
        return self._whys.get(unit)

    def why(self, slot: Slot) -> str:
        """Return why the first of the elements that stay do."""
        return next(self._whys[one] for one in self.at(slot).tolist() if one in self._whys)
