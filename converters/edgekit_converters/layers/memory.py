"""The memory a model's activations take, step by step, from when each is first and last needed.

The rules are LiteRT's: operators run in the file's order, sizes are rounded up to 64 bytes, the model's inputs are kept
for the whole run and its outputs until its end. What kernels take beside that as scratch is not in the file and not
counted. An arena is laid out as LiteRT does it: the largest first, each at the lowest place that is free while it lives
(Y. Pisarchyk, J. Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, greedy by size).
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgekit_converters.layers.view import View

ALIGNMENT_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is alive while a node runs: values by place, and their aligned bytes."""

    node: int
    bytes: int
    alive: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """A model's activations over its run, free dimensions at 1.

    `peak_bytes` is the most that is alive at once in this order of operators, at step `peak`. `lower_bound_bytes` is
    the most a single operator needs, its inputs and outputs: no order can do with less. `arena_bytes` is what one block
    of memory for all of them must have. `unknown` counts values whose size cannot be said.
    """

    peak_bytes: int
    peak: int | None
    lower_bound_bytes: int
    arena_bytes: int
    steps: tuple[Step, ...]
    unknown: int


def plan(view: View, *, keeps_inputs: bool = True) -> MemoryPlan:
    """Return when each activation lives and what that sums up to.

    LiteRT keeps the model's inputs until the run ends; tflite-micro gives their memory back after their last use.
    """
    lives = _lives(view, keeps_inputs)
    sizes = {value: _aligned(view.values[value].size_bytes or 0) for value in lives}
    steps = tuple(_steps(len(view.nodes), lives, sizes))
    peak = max(range(len(steps)), key=lambda at: steps[at].bytes, default=None)
    needs = (sum(sizes.get(value, 0) for value in {*node.inputs, *node.outputs}) for node in view.nodes)
    return MemoryPlan(
        peak_bytes=0 if peak is None else steps[peak].bytes,
        peak=peak,
        lower_bound_bytes=max(needs, default=0),
        arena_bytes=_arena([(sizes[value], *life) for value, life in lives.items()]),
        steps=steps,
        unknown=sum(view.values[value].size_bytes is None for value in lives),
    )


def _lives(view: View, keeps_inputs: bool) -> dict[int, tuple[int, int]]:
    """Return the first and the last step at which each activation is needed."""
    end = max(len(view.nodes) - 1, 0)
    fixed = view.fixed
    lives = dict.fromkeys(view.inputs, (0, end if keeps_inputs else 0))
    for at, node in enumerate(view.nodes):
        for value in node.inputs:
            if value in lives:
                lives[value] = (lives[value][0], max(lives[value][1], at))
        for value in node.outputs:
            if value not in fixed:
                lives.setdefault(value, (at, at))
    for value in view.outputs:
        if value in lives:
            lives[value] = (lives[value][0], end)
    return lives


def _steps(count: int, lives: Mapping[int, tuple[int, int]], sizes: Mapping[int, int]) -> Iterator[Step]:
    begins, ends = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    for value, (first, last) in lives.items():
        begins[first].append(value)
        ends[last].append(value)
    alive: dict[int, None] = {}
    for at in range(count):
        alive |= dict.fromkeys(begins[at])
        yield Step(node=at, bytes=sum(sizes[one] for one in alive), alive=tuple(alive))
        for value in ends[at]:
            del alive[value]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _arena(blocks: Sequence[tuple[int, int, int]]) -> int:
    """Place (bytes, first step, last step) and return the end of the highest."""
    placed: list[tuple[int, int, int, int]] = []
    for size, first, last in sorted(blocks, key=lambda one: (-one[0], one[1])):
        start = 0
        for low, high, begins, ends in placed:
            if begins > last or ends < first:
                continue
            if low - start >= size:
                break
            start = max(start, high)
        insort(placed, (start, start + size, first, last))
    return max((high for _, high, _, _ in placed), default=0)
