"""Which segment to compute in which tiles: the one that takes least memory, or the cheapest that fits a budget."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise, product
from math import prod
from typing import TYPE_CHECKING

from edgekit_converters.compress.tile_memory import MemoryModel, vanishes
from edgekit_converters.compress.tile_reach import NotLocalError, spatial
from edgekit_converters.compress.tile_segment import Segment, Step, Stopped, needed, segments, split, steps
from edgekit_converters.graph.weights import only_user

if TYPE_CHECKING:
    import onnx_ir as ir

_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
_MOST_TILES = 32  # that are tried; more can be asked for
_MOST_STARTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for; `rows` and `columns` are numbers of tiles, 0 where they are to be chosen."""

    memory: MemoryModel
    budget: int
    """Bytes of the arena, 0: as few as can be."""
    rows: int
    columns: int
    extra: float
    """The most that may be multiplied more than once, as a share of the model's multiplications."""
    may_change: "Callable[[ir.Node], bool]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """A segment and its tiles along each axis; `extra_macs` are computed more than once, because tiles overlap."""

    segment: Segment
    grid: tuple[int, ...]
    extra_macs: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """How it is computed."""
        return tuple(steps(self.segment, self.grid))

    def least(self, memory: MemoryModel) -> int:
        """Return a cost it cannot stay below: the start beside the tiles, or all tiles beside the whole."""
        tiles, end = prod(self.grid), memory.bytes_of(self.segment.end)
        activations = max(2 * end, memory.bytes_of(self.segment.start) + end * (tiles - 1) // tiles)
        return activations + memory.operator_bytes * tiles * len(self.segment.weighted)


def best(graph: "ir.Graph", wanted: Wanted) -> Tiling | None:
    """Return the tiling to make, None where none takes less memory than the graph does as it is.

    Within a budget it is the one that computes least twice, otherwise the one that costs least.
    """
    memory = wanted.memory
    before = memory.plan(graph)
    if before.peak is None or before.bytes <= wanted.budget:
        return None
    limit = wanted.extra * sum(macs_of(node) for node in graph)
    tried = [one for one in _tilings(around(graph, before.peak, wanted), wanted) if one.extra_macs <= limit]
    tried.sort(key=lambda one: (one.extra_macs if wanted.budget else one.least(memory), prod(one.grid)))
    chosen, least = None, before
    for one in tried:
        if one.least(memory) >= least.cost:
            continue
        found = memory.plan(graph, one.segment, one.steps)
        if found.bytes < before.bytes and found.cost < least.cost:
            chosen, least = one, found
            if wanted.budget and found.bytes <= wanted.budget:
                break
    return chosen


def around(graph: "ir.Graph", peak: "ir.Node", wanted: Wanted) -> list[Segment]:
    """Return the segments that hold a node and are worth trying: they end where little is stored."""
    found: list[Segment] = []
    begun = 0
    for some, _ in _from_before(graph, peak):
        holding = [one for one in some if peak in one.nodes and all(map(wanted.may_change, one.weighted))]
        found += _worth(holding, wanted.memory)
        begun += bool(holding)
        if begun == _MOST_STARTS:
            break
    return found


def stops(graph: "ir.Graph", peak: "ir.Node") -> list[Stopped]:
    """Return what keeps segments from going on behind a node, or from reaching it."""
    found = {one.node: one for _, one in _from_before(graph, peak) if one is not None}
    order = {node: at for at, node in enumerate(graph)}
    return sorted(found.values(), key=lambda one: (order[one.node] < order[peak], order[one.node]))


def _from_before(graph: "ir.Graph", peak: "ir.Node") -> Iterator[tuple[list[Segment], Stopped | None]]:
    """Yield the segments of each value that is computed before a node, the nearest first."""
    nodes = list(graph)
    made = [(node.op_type, node.outputs[0]) for node in nodes[: nodes.index(peak)]]
    for op, value in reversed([*(("", one) for one in graph.inputs if one.const_value is None), *made]):
        user = only_user(value)
        if user is None or not vanishes(user, op):
            yield segments(nodes, value)


def macs_of(node: "ir.Node", places: int | None = None) -> int:
    """Return the multiplications of a convolution for as many places of its output, or all; 0 for others."""
    if node.op_type != "Conv" or node.inputs[1] is None or node.inputs[1].shape is None:
        return 0
    weights = prod(size for size in tuple(node.inputs[1].shape) if isinstance(size, int))
    try:
        return weights * (prod(spatial(node.outputs[0])) if places is None else places)
    except NotLocalError:
        return 0


def _worth(found: Sequence[Segment], memory: MemoryModel) -> list[Segment]:
    """Leave out segments that store no less at their ends than shorter ones, and those that part what TFLite fuses."""
    fused = [
        len(behind.nodes) == len(one.nodes) + 1 and vanishes(behind.nodes[-1], one.nodes[-1].op_type)
        for one, behind in pairwise(found)
    ]
    whole = [one for one, parted in zip(found, [*fused, False], strict=False) if not parted]
    sizes = [memory.bytes_of(one.end) for one in whole]
    least = accumulate(sizes, min, initial=1 << 62)
    return [one for one, size, before in zip(whole, sizes, least, strict=False) if size < before]


def _tilings(found: Sequence[Segment], wanted: Wanted) -> Iterator[Tiling]:
    for segment in found:
        sizes = spatial(segment.end)
        whole = {node: macs_of(node) for node in segment.nodes}

        @cache
        def computed(axis: int, count: int, segment: Segment = segment) -> tuple[float, ...]:
            return _computed(segment, axis, count)

        for grid in _grids(sizes, wanted):
            try:
                shares = [computed(axis, count) for axis, count in enumerate(grid)]
            except NotLocalError:
                continue
            times = map(prod, zip(*shares, strict=True))
            extra = sum((one - 1) * macs for one, macs in zip(times, whole.values(), strict=True))
            yield Tiling(segment=segment, grid=grid, extra_macs=round(extra))


def _computed(segment: Segment, axis: int, count: int) -> tuple[float, ...]:
    """Return how many times all tiles together compute what each operator makes, where only one axis is cut."""
    totals = dict.fromkeys((node.outputs[0] for node in segment.nodes), 0)
    sizes = spatial(segment.end)
    for span in split(sizes[axis], count):
        spans = needed(segment, tuple(span if at == axis else (0, size) for at, size in enumerate(sizes)))
        for value in totals:
            first, behind = spans[value][axis]
            totals[value] += behind - first
    return tuple(total / spatial(value)[axis] for value, total in totals.items())


def _grids(sizes: Sequence[int], wanted: Wanted) -> Iterator[tuple[int, ...]]:
    asked = [wanted.rows, wanted.columns, *[1] * len(sizes)][: len(sizes)]
    for grid in product(*([one] if one else _COUNTS for one in asked)):
        few = prod(grid) <= max(_MOST_TILES, prod(asked))
        if prod(grid) > 1 and few and all(count <= size for count, size in zip(grid, sizes, strict=True)):
            yield grid
