"""Segments of a graph that can be computed tile by tile, and the exact steps of doing so.

A segment lies between two values: everything in it is computed from the first one, and nothing but the last one is
taken from it. Each tile is a copy of its operators on the places that the tile's output needs: those at the border of
the image get the image's own padding, those inside get neighbours, so that every number stays what it is (J. Lin et
al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning", 2021).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING

from edgekit_converters.compress.tile_reach import CHANNELS, NotLocalError, Reach, Span, pads_of, reach_of, spatial
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import is_constant

if TYPE_CHECKING:
    import onnx_ir as ir

Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """Operators between two values, in order, with how each looks at each axis."""

    start: "ir.Value"
    end: "ir.Value"
    nodes: "tuple[ir.Node, ...]"
    reaches: tuple[tuple[Reach, ...], ...]

    @property
    def inner(self) -> "set[ir.Value]":
        """The values that are cut into tiles."""
        return {self.start, *(node.outputs[0] for node in self.nodes)}

    @property
    def weighted(self) -> "tuple[ir.Node, ...]":
        """The operators with stored tensors: those a person means by layers."""
        return tuple(node for node in self.nodes if any(one is not None and is_constant(one) for one in node.inputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some places of a value; `tile` tells its copies apart, None where it is the value itself."""

    value: "ir.Value"
    spans: Spans
    tile: int | None

    @property
    def places(self) -> int:
        """How many places of the image it has."""
        return prod(behind - first for first, behind in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A part taken out of a larger one; its spans are places of the whole image."""

    source: Part
    made: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An operator on parts; None stands for what is no image, `pads` are the tile's own."""

    node: "ir.Node"
    taken: tuple[Part | None, ...]
    made: Part
    pads: Spans


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Parts put together along an axis of the image."""

    taken: tuple[Part, ...]
    made: Part
    axis: int


Step = Cut | Copy | Join


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The operator at which segments end, and why."""

    node: "ir.Node"
    why: str

    def __str__(self) -> str:
        """Return it in a sentence."""
        return f"'{name_of(self.node)}' ({self.node.op_type}): {self.why}"


def segments(nodes: "Sequence[ir.Node]", start: "ir.Value") -> tuple[list[Segment], Stopped | None]:
    """Return every segment that begins at a value, and what keeps them from being longer.

    Args:
        nodes: of the main graph, in order.
        start: an input of the graph, or what one of its nodes computes.
    """
    try:
        spatial(start)
    except NotLocalError as exc:
        users = [use.node for use in start.uses()]
        return [], Stopped(node=users[0], why=str(exc)) if users else None
    found: list[Segment] = []
    inside: dict[ir.Value, None] = {start: None}
    taken: list[ir.Node] = []
    reaches: list[tuple[Reach, ...]] = []
    still_open: set[ir.Value] = set()
    left: dict[ir.Value, int] = {}
    for node in nodes:
        given = [one for one in node.inputs if one is not None]
        if not any(one in inside for one in given):
            continue
        try:
            reaches.append(_reach(node, inside))
        except NotLocalError as exc:
            return found, Stopped(node=node, why=str(exc))
        taken.append(node)
        made = node.outputs[0]
        inside[made] = None
        left[made] = len(tuple(made.uses())) + made.is_graph_output()
        still_open.add(made)
        for one in given:
            if one in left:
                left[one] -= 1
                if not left[one]:
                    still_open.discard(one)
        if still_open == {made}:
            found.append(Segment(start=start, end=made, nodes=tuple(taken), reaches=tuple(reaches)))
    return found, None


def _reach(node: "ir.Node", inside: "Mapping[ir.Value, None]") -> tuple[Reach, ...]:
    outer = [one for one in node.inputs if one is not None and one not in inside and one.const_value is None]
    if outer:
        raise NotLocalError(f"it takes '{outer[0].name}', which is computed elsewhere")
    return reach_of(node, inside.__contains__)


def split(size: int, count: int) -> list[Span]:
    """Return an axis in as many spans as asked for, as equal as can be."""
    ends = [size * at // count for at in range(count + 1)]
    return list(pairwise(ends))


def steps(segment: Segment, grid: Sequence[int]) -> list[Step]:
    """Return how a segment is computed in so many tiles along each axis, one tile after the other.

    Raises:
        NotLocalError: if a tile would be made of padding alone, or there are more tiles than places.
    """
    sizes = spatial(segment.end)
    if any(count > size for count, size in zip(grid, sizes, strict=True)):
        raise NotLocalError(f"'{segment.end.name}' has fewer places than tiles were asked for")
    whole = Part(value=segment.end, spans=tuple((0, size) for size in sizes), tile=None)
    done: list[Step] = []
    ready: list[Part] = []
    for tile, spans in enumerate(product(*map(split, sizes, grid))):
        done += _tile(segment, tile, spans)
        last = done[-1]
        assert not isinstance(last, Join)  # noqa: S101  # a tile ends with an operator
        ready.append(last.made)
    done += _joins(ready, grid, whole)
    return done


def _tile(segment: Segment, tile: int, spans: Spans) -> Iterator[Step]:
    wanted = needed(segment, spans)
    wholes = spatial(segment.start)
    source = Part(value=segment.start, spans=tuple((0, size) for size in wholes), tile=None)
    have = {segment.start: source}
    if wanted[segment.start] != source.spans:
        have[segment.start] = Part(value=segment.start, spans=wanted[segment.start], tile=tile)
        yield Cut(source=source, made=have[segment.start])
    for node, reaches in zip(segment.nodes, segment.reaches, strict=True):
        made = Part(value=node.outputs[0], spans=wanted[node.outputs[0]], tile=tile)
        taken: list[Part | None] = []
        pads: Spans = ()
        for value in node.inputs:
            if value is None or value not in have:
                taken.append(None)
                continue
            seen, pads = _seen(reaches, made.spans, value)
            part = have[value]
            if part.spans != seen:
                part = Part(value=value, spans=seen, tile=tile)
                yield Cut(source=have[value], made=part)
            taken.append(part)
        yield Copy(node=node, taken=tuple(taken), made=made, pads=pads)
        have[node.outputs[0]] = made


def needed(segment: Segment, spans: Spans) -> "dict[ir.Value, Spans]":
    """Return the places of every value that a tile's output needs.

    Raises:
        NotLocalError: if it sees nothing of one but padding.
    """
    inner = segment.inner
    found: dict[ir.Value, Spans] = {segment.end: spans}
    for node, reaches in zip(reversed(segment.nodes), reversed(segment.reaches), strict=True):
        for value in filter(None, node.inputs):
            if value in inner:
                seen, _ = _seen(reaches, found[node.outputs[0]], value)
                old = found.get(value, seen)
                found[value] = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(old, seen, strict=True))
    return found


def _seen(reaches: Sequence[Reach], made: Spans, value: "ir.Value") -> tuple[Spans, Spans]:
    """Return the places of a value that some places of an output see, and the padding (before, behind) around them."""
    spans, pads = [], []
    for reach, span, size in zip(reaches, made, spatial(value), strict=True):
        first, behind = reach.seen(span)
        inside = max(first, 0), min(behind, size)
        if inside[0] >= inside[1]:
            raise NotLocalError(f"a tile sees nothing of '{value.name}' but padding")
        spans.append(inside)
        pads.append((inside[0] - first, behind - inside[1]))
    return tuple(spans), tuple(pads)


def _joins(ready: Sequence[Part], grid: Sequence[int], whole: Part) -> Iterator[Join]:
    """Put tiles together along the last axis first."""
    for axis in reversed(range(len(grid))):
        count = grid[axis]
        if count == 1:
            continue
        rows = [tuple(ready[at : at + count]) for at in range(0, len(ready), count)]
        ready = []
        for number, row in enumerate(rows):
            spans = tuple((row[0].spans[at][0], row[-1].spans[at][1]) for at in range(len(grid)))
            made = whole if len(rows) == 1 else Part(value=whole.value, spans=spans, tile=-1 - number - 1000 * axis)
            yield Join(taken=row, made=made, axis=CHANNELS + 1 + axis)
            ready.append(made)


def tile_pads(copy: Copy) -> list[int]:
    """Return the pads of a copied `Pad`: those of batch and channels as they were, the tile's own of the image."""
    rank = len(copy.pads) + CHANNELS + 1
    pads = pads_of(copy.node, rank)
    for at, (before, behind) in enumerate(copy.pads):
        pads[CHANNELS + 1 + at], pads[CHANNELS + 1 + at + rank] = before, behind
    return pads
