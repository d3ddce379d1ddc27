"""A graph cut into stages that run one behind the other: where least has to be handed over, with work spread evenly.

A cut lies between two nodes of the graph's order. What is handed over there is every value made before it and taken
behind it, skip connections and the model's own inputs among them. Among all cuts whose largest stage has at most
`SLACK` more work than the best possible, those are taken that hand over the fewest bytes; both by dynamic programming
over the order (the chain partitioning of S. Bokhari, "Partitioning Problems in Parallel, Pipelined, and Distributed
Computing", 1988).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import model as graph_model

if TYPE_CHECKING:
    import onnx_ir as ir

SLACK = 0.1
"""How much more work than the best possible the largest stage may have."""
# onnx-ir's inference calls what these make a tensor too.
_NO_TENSORS = frozenset(
    {
        "Optional",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
    }
)
_ACTIVATIONS = frozenset({"Clip", "HardSwish", "LeakyRelu", "Relu", "Sigmoid"})

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a graph: `takes` and `gives` are the names of values, the model's own inputs and outputs among them."""

    first: int
    """Its nodes' places in the graph's order, [first, behind)."""
    behind: int
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    work: int
    """Multiply-accumulates, and a unit for every value that is computed."""
    hands_over_bytes: int
    """What all stages up to here hand over to those behind, free dimensions at 1."""


def stages(model: "ir.Model", count: int, work: Sequence[int]) -> tuple[Stage, ...]:
    """Return where to cut a model with inferred shapes.

    Args:
        model: it is not changed.
        count: at least 2.
        work: of every node of the main graph.

    Raises:
        UnsupportedError: if it cannot be cut into as many; says why.
    """
    nodes = list(model.graph)
    lives = _lives(model, nodes)
    costs = _costs(nodes, lives, _batches(model))
    stored = [one for one in model.graph.outputs if one.producer() is None and not one.is_graph_input()]
    if stored:
        raise UnsupportedError(f"the model's output '{stored[0].name}' is a constant, which no stage computes")
    if len(nodes) < count:
        raise UnsupportedError(f"the model has {len(nodes)} operators, which make no {count} stages")
    ends = [0, *_ends(np.asarray(work, float), costs, count), len(nodes)]
    return tuple(_stage(lives, first, behind, work) for first, behind in pairwise(ends))


def write(model: "ir.Model", stage: Stage, path: Path) -> None:
    """Write a stage as a model of its own."""
    import onnx_ir as ir

    graph = ir.convenience.extract(model.graph, stage.takes, stage.gives)
    graph.name = f"{model.graph.name or 'model'}, nodes {stage.first} to {stage.behind - 1}"
    graph_model.save(ir.Model(graph, ir_version=model.ir_version), path)


@dataclass(frozen=True, slots=True)
class _Life:
    """A value, the places of the node that makes it (-1: an input) and of the last one that takes it."""

    value: "ir.Value"
    made: int
    last: int
    """The number of nodes where it is an output of the model: it is handed on to the end."""
    taken: frozenset[int]


def _lives(model: "ir.Model", nodes: "Sequence[ir.Node]") -> list[_Life]:
    owners = {id(inner): at for at, node in enumerate(nodes) for inner in _with_inner(node)}
    made = [(-1, one) for one in graph_model.inputs_of(model)]
    made += [(at, one) for at, node in enumerate(nodes) for one in node.outputs]
    found = []
    for at, value in made:
        taken = frozenset(owners[id(use.node)] for use in value.uses() if id(use.node) in owners)
        last = len(nodes) if value.is_graph_output() else max(taken, default=at)
        found.append(_Life(value, at, last, taken))
    return found


def _with_inner(node: "ir.Node") -> "Iterator[ir.Node]":
    """Yield a node and those of the graphs inside it, which take values from outside too."""
    import onnx_ir as ir

    yield node
    for one in node.attributes.values():
        graphs = [one.as_graph()] if one.type == ir.AttributeType.GRAPH else []
        graphs += one.as_graphs() if one.type == ir.AttributeType.GRAPHS else []
        for graph in graphs:
            for inner in graph:
                yield from _with_inner(inner)


def _costs(nodes: "Sequence[ir.Node]", lives: Sequence[_Life], batches: frozenset[str]) -> Numbers:
    """Return the bytes handed over before each node, endless where that is no tensor a runtime could be given."""
    costs = np.zeros(len(nodes) + 1)
    for life in lives:
        fits = life.made < 0 or _starts_with_batch(life.value, batches)
        costs[life.made + 1 : life.last + 1] += _bytes(life.value) if fits else np.inf
    for at, node in enumerate(nodes):  # of two cuts that cost the same, the one that leaves what is fused together
        costs[at] += 0.5 * (node.op_type in _ACTIVATIONS)
    return costs


def _batches(model: "ir.Model") -> frozenset[str]:
    """Return what the free first dimensions of the inputs are called."""
    first = [value.shape[0] for value in graph_model.inputs_of(model) if value.shape]
    return frozenset(str(one.value) for one in first if not isinstance(one, int) and one.value is not None)


def _starts_with_batch(value: "ir.Value", batches: frozenset[str]) -> bool:
    """Whether a first dimension is fixed or the batch: runtimes take a free one for that."""
    if value.shape is None or not len(value.shape):
        return value.shape is not None
    first = value.shape[0]
    return isinstance(first, int) or (first.value is not None and str(first.value) in batches)


def _bytes(value: "ir.Value") -> float:
    import onnx_ir as ir

    maker = value.producer()
    if maker is not None and maker.op_type in _NO_TENSORS:
        return np.inf
    if not isinstance(value.type, ir.TensorType) or value.type.dtype in {ir.DataType.UNDEFINED, ir.DataType.STRING}:
        return np.inf
    sizes = [size if isinstance(size, int) else 1 for size in (value.shape or ())]
    return float(prod(sizes) * value.type.dtype.bitwidth / 8)


def _ends(work: Numbers, costs: Numbers, count: int) -> list[int]:
    """Return the places of the cuts: `count` - 1 of them."""
    total = np.concatenate([[0.0], np.cumsum(work)])
    most = _least_possible(total, costs, count) * (1 + SLACK)
    paid = np.where(total <= most, 0.0, np.inf)  # of a first stage that ends there
    paid[0] = np.inf
    before: list[NDArray[np.int64]] = []
    for _ in range(count - 1):
        begin = paid + costs  # of a stage that begins there
        last = np.full(len(total), -1, np.int64)
        then = np.full(len(total), np.inf)
        for end in range(1, len(total)):
            fits = np.where(total[end] - total[:end] <= most, begin[:end], np.inf)
            last[end] = int(np.argmin(fits))
            then[end] = fits[last[end]]
        before.append(last)
        paid = then
    if not np.isfinite(paid[-1]):
        raise _uncuttable(count)
    ends = [len(total) - 1]
    for last in reversed(before):
        ends.append(int(last[ends[-1]]))
    return ends[:0:-1]


def _least_possible(total: Numbers, costs: Numbers, count: int) -> float:
    """Return the work of the largest stage where stages are as even as can be."""
    largest = total.copy()
    largest[0] = np.inf
    for _ in range(count - 1):
        begin = np.where(np.isfinite(costs), largest, np.inf)
        largest = np.array(
            [
                np.inf if end == 0 else np.min(np.maximum(begin[:end], total[end] - total[:end]))
                for end in range(len(total))
            ]
        )
    if not np.isfinite(largest[-1]):
        raise _uncuttable(count)
    return float(largest[-1])


def _uncuttable(count: int) -> UnsupportedError:
    return UnsupportedError(
        f"the model cannot be cut into {count} stages: between its operators there are too few places where only"
        " tensors whose first dimension is fixed or the batch are handed over"
    )


def _stage(lives: Sequence[_Life], first: int, behind: int, work: Sequence[int]) -> Stage:
    takes = [life for life in lives if life.made < first and any(first <= at < behind for at in life.taken)]
    gives = [life for life in lives if first <= life.made < behind <= life.last]
    over = [life for life in lives if life.made < behind <= life.last]
    return Stage(
        first=first,
        behind=behind,
        takes=tuple(str(one.value.name) for one in takes),
        gives=tuple(str(one.value.name) for one in gives),
        work=sum(work[first:behind]),
        hands_over_bytes=int(sum(_bytes(one.value) for one in over)),
    )
