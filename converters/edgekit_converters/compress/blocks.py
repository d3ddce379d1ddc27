"""Blocks of a net that can be left out: what lies between two values of the same shape that all paths lead through.

A block is entered at one value and left at another: whatever takes the first only reaches the rest of the net by the
second. So the second can be replaced by the first. Residual branches with their additions are such blocks, and whole
layers of encoders; masks and positions may come in from the side.
"""

import contextlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.errors import CalibrationError
from edgekit_converters.graph.flatten import SHAPE_OPS
from edgekit_converters.graph.model import inputs_of
from edgekit_converters.graph.observing import observe
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import weights_of
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

Shapes = Mapping[str, tuple[tuple[int, ...], ...]]
"""The shapes that values had in each of a few runs."""
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})
_MOST_PERIOD = 8  # blocks of a layer: attention, cross attention and a feed-forward net are three


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Nodes between a value and where the block may be left: behind its last layer, or behind what follows that."""

    name: str
    """Of its first layer."""
    entry: str
    exits: tuple[str, ...]
    nodes: tuple["ir.Node", ...]
    """Those that lead from the entry to the last exit."""
    kind: tuple[str, ...]
    """The operators up to the first exit: blocks alike have the same."""


def blocks_of(model: "ir.Model", shapes: Shapes) -> list[Block]:
    """Return the smallest blocks that hold a layer, one behind the other where they are a chain.

    Args:
        model: the canonical graph.
        shapes: as `shapes_seen` gives them.
    """
    walk = _Walk(model, shapes)
    found: list[Block] = []
    inside: set[int] = set()
    for value in walk.values():
        if id(value) not in inside:
            block = walk.block_from(value)
            if block is not None:
                found.append(block)
                inside |= {id(one) for node in block.nodes for one in node.outputs if one.name != block.exits[-1]}
                inside.add(id(value))
    return found


def layers_of(blocks: Sequence[Block]) -> list[Block]:
    """Return blocks that repeat joined to what repeats: an encoder's attention and feed-forward net to its layer."""
    joined: list[Block] = []
    at = 0
    while at < len(blocks):
        chain = [blocks[at]]
        while at + len(chain) < len(blocks) and blocks[at + len(chain)].entry == chain[-1].exits[-1]:
            chain.append(blocks[at + len(chain)])
        period = _period([one.kind for one in chain])
        joined += [_joined(chain[start : start + period]) for start in range(0, len(chain), period)]
        at += len(chain)
    return joined


def shapes_seen(model: "ir.Model", arrays: Arrays, file: Path) -> Shapes:
    """Return the shapes of all values of a run, and of a shorter one where the model has free dimensions.

    Args:
        model: with inferred shapes; it is not changed.
        arrays: samples [N, ...] by input name.
        file: a scratch file.

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    names = [str(one.name) for node in model.graph for one in node.outputs if one.name]
    names += [str(one.name) for one in inputs_of(model)]
    runs = [_one_run(model, names, {name: array[:2] for name, array in arrays.items()}, file)]
    shorter = _shortened(model, arrays)
    if shorter is not None:
        with contextlib.suppress(CalibrationError):  # it takes no other sizes than those of the samples
            runs.append(_one_run(model, names, shorter, file))
    return {name: tuple(run[name] for run in runs) for name in names}


def _one_run(model: "ir.Model", names: Sequence[str], arrays: Arrays, file: Path) -> dict[str, tuple[int, ...]]:
    seen = next(observe(model, names, arrays, file))
    return {name: np.shape(one) for name, one in seen.items()}


def _shortened(model: "ir.Model", arrays: Arrays) -> dict[str, np.ndarray] | None:
    """Return one sample whose free dimensions are one less; None where there are none."""
    cut, shorter = False, {}
    for value in inputs_of(model):
        array = arrays[str(value.name)][:1]
        sizes = () if value.shape is None else tuple(value.shape)[1:]
        for axis, size in enumerate(sizes, 1):
            if not isinstance(size, int) and array.ndim == len(sizes) + 1 and array.shape[axis] > 1:
                array, cut = array.take(range(array.shape[axis] - 1), axis), True
        shorter[str(value.name)] = array
    return shorter if cut else None


class _Walk:
    """Finds where all paths from a value meet again."""

    def __init__(self, model: "ir.Model", shapes: Shapes) -> None:
        self._model, self._shapes = model, shapes
        self._order = list(model.graph)
        self._places = {id(node): at for at, node in enumerate(self._order)}
        self._layers = {id(one.node) for one in weights_of(model, _LAYERS)}

    def values(self) -> Iterator["ir.Value"]:
        """Yield the values of real numbers a block may be entered by."""
        yield from inputs_of(self._model)
        for node in self._order:
            yield from node.outputs

    def block_from(self, entry: "ir.Value") -> Block | None:
        """Return the smallest block entered there, None where there is none or it could be entered later."""
        nodes = list["ir.Node"]()
        exits = list["ir.Value"]()
        value = entry
        while (met := self._meeting(value)) is not None:
            value, between = met
            layered = any(id(node) in self._layers for node in between)
            if layered and exits:
                break
            nodes += between
            same = self._alike(entry, value)
            if same and not any(id(node) in self._layers for node in nodes):
                return None  # it is entered later
            if same:
                exits.append(value)
        if not exits:
            return None
        ends = [next(at for at, node in enumerate(nodes) if one in node.outputs) + 1 for one in (exits[0], exits[-1])]
        kind, nodes = tuple(node.op_type for node in nodes[: ends[0]]), nodes[: ends[1]]
        first = next(node for node in nodes if id(node) in self._layers)
        return Block(
            name=name_of(first),
            entry=str(entry.name),
            exits=tuple(str(one.name) for one in exits),
            nodes=tuple(nodes),
            kind=kind,
        )

    def _meeting(self, value: "ir.Value") -> tuple["ir.Value", list["ir.Node"]] | None:
        """Return the first value that all paths from a value lead through, and the nodes up to it."""
        waiting, nodes = self._takers(value), list["ir.Node"]()
        while waiting:
            heapq.heapify(waiting)
            place = heapq.heappop(waiting)
            waiting = [one for one in waiting if one != place]
            if place < 0:
                return None  # it is an output of the model, or goes into a branch or loop
            node = self._order[place]
            nodes.append(node)
            used = [one for one in node.outputs if one.uses() or one.is_graph_output()]
            if not waiting and len(used) == 1:
                return used[0], nodes
            waiting += [taker for one in used for taker in self._takers(one)]
        return None

    def _takers(self, value: "ir.Value") -> list[int]:
        # the shape of a value is that of what it is replaced by
        takers = {self._places.get(id(use.node), -1) for use in value.uses() if use.node.op_type not in SHAPE_OPS}
        return list(takers | {-1}) if value.is_graph_output() else list(takers)

    def _alike(self, one: "ir.Value", other: "ir.Value") -> bool:
        shapes = self._shapes[str(one.name)]
        real = one.dtype is not None and one.dtype.is_floating_point()
        return real and one.dtype == other.dtype and len(shapes[0]) > 1 and shapes == self._shapes[str(other.name)]


def _period(kinds: Sequence[tuple[str, ...]]) -> int:
    """Return after how many blocks they repeat; 1 where they do not."""
    for period in range(1, min(_MOST_PERIOD, len(kinds) // 2) + 1):
        if all(one == kinds[at - period] for at, one in enumerate(kinds) if at >= period):
            return period
    return 1


def _joined(parts: Sequence[Block]) -> Block:
    nodes = tuple(node for part in parts for node in part.nodes)
    kind = tuple(op for part in parts for op in part.kind)
    return Block(name=parts[0].name, entry=parts[0].entry, exits=parts[-1].exits, nodes=nodes, kind=kind)
