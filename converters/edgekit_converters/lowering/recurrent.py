"""RNN, GRU and LSTM: the input's products for all steps in one, then step by step, in a loop when they are many.

TFLite's own UNIDIRECTIONAL_SEQUENCE_LSTM keeps its state from one invoke to the next, where ONNX starts
from the initial state every time: it is not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.matrix import dense
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.recurrent_activations import activations
from edgekit_converters.lowering.recurrent_cells import KINDS, Cell, Kind, NewState, State
from edgekit_converters.model import Array

X, W, R, B, LENGTHS, INITIAL_H, INITIAL_C, P = range(8)  # the inputs of a node
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
# Measured by tests/benchmarks/bench_recurrent.py. XNNPACK packs the weights anew for every step that is written out:
# a long or wide layer falls out of the caches (1000 steps of 128 take 40 ms, and 7 in a loop), a short one is faster
# without a loop (50 steps of 16: 28 us against 63). A round of 16 steps keeps the loop's own cost small.
UNROLLED, CHUNK = 64, 16
MAX_STEPS = 1024  # written out


@dataclass(frozen=True, slots=True)
class _Layer:
    """A node with its input as it is stored: [T, N, I] (`time` 0) or [N, T, I] (`time` 1)."""

    b: Builder
    node: Node
    kind: Kind
    x: Ref
    time: int
    batch_first: bool
    """Whether ONNX's shapes have the batch first (`layout`)."""

    @property
    def steps(self) -> int:
        return self.x.shape[self.time]

    @property
    def batch(self) -> int:
        return self.x.shape[1 - self.time]

    @property
    def hidden(self) -> int:
        return self.b.shape_of(self.node.inputs[R])[-1]

    @property
    def loops(self) -> bool:
        """Whether the steps run in a loop: what differs from step to step, or is no constant, is written out."""
        known = all(not self.given(place) or self.b.is_constant(self.node.inputs[place]) for place in (W, R, B, P))
        return self.steps > UNROLLED and known and not self.given(LENGTHS)

    def given(self, place: int) -> bool:
        return place < len(self.node.inputs) and bool(self.node.inputs[place])

    def part(self, place: int, direction: int, start: int, size: int) -> Array | Ref:
        """Return gates of a weight [D, gates * H, ...] or bias, in one direction."""
        name = self.node.inputs[place]
        if self.b.is_constant(name):
            return self.b.graph.constants[name][direction, start : start + size]
        ref = self.b.plain(self.b.tensor(name))
        rest = ref.shape[2:]
        begin = self.b.module.ints([direction, start, *(0 for _ in rest)])
        extent = [1, size, *rest]
        cut = self.b.module.op("slice", [ref, begin, self.b.module.ints(extent)], "", extent, ref.dtype)
        return self.b.reshaped(cut, (size, *rest))

    def write(self, value: Array | Ref) -> Ref:
        return value if isinstance(value, Ref) else self.b.module.constant(np.ascontiguousarray(value))

    def sum(self, left: Array | Ref, right: Array | Ref) -> Array | Ref:
        if isinstance(left, Ref) or isinstance(right, Ref):
            return self.b.binary("add", self.write(left), self.write(right))
        return np.add(left, right)


def recurrent(b: Builder, node: Node) -> None:
    """All directions; of the outputs those that are used."""
    layer = _layer(b, node)
    backwards = _DIRECTIONS[node.attributes.get("direction", "forward")]
    sequences, lasts = [], []
    for direction, reverse in enumerate(backwards):
        sequence, last = _run(layer, direction, reverse=reverse)
        sequences.append(sequence)
        lasts.append(last)
    names = [*node.outputs, "", "", ""][: 1 + layer.kind.states]
    if names[0] in b.graph.values:
        b.set(names[0], _sequence(layer, sequences))
    for place, name in enumerate(names[1:]):
        if name in b.graph.values:
            b.set(name, _last(layer, [state[place] for state in lasts]))


def _layer(b: Builder, node: Node) -> _Layer:
    """Take the input in the order it is stored in, when only time and batch are the other way round."""
    x = b.input(node)
    batch_first = bool(node.attributes.get("layout", 0))
    if x.perm[-1] != 2:  # noqa: PLR2004
        x = b.order(x, identity(3))
    time = x.stored_axis(1 if batch_first else 0)
    layer = _Layer(b, node, KINDS[node.op], x.ref, time, batch_first)
    if is_free(layer.steps):
        raise b.refuse(node, "its number of steps is free")
    if layer.steps > MAX_STEPS and not layer.loops:
        raise b.refuse(node, f"it has {layer.steps} steps, and above {MAX_STEPS} the file would be too large")
    return layer


def _run(layer: _Layer, direction: int, *, reverse: bool) -> tuple[Ref, list[Ref]]:
    """Return the state H after each step, stored as x is, and every last state."""
    projected = _projected(layer, direction)
    state: State = tuple(_initial(layer, place, direction) for place in (INITIAL_H, INITIAL_C)[: layer.kind.states])
    if layer.loops:
        return _looped(layer, direction, projected, state, reverse=reverse)
    outputs, last = _walked(layer, _cell(layer, direction), projected, state, reverse=reverse)
    return _packed(layer.b, outputs, layer.time, [*layer.x.shape[:2], layer.hidden]), list(last)


def _looped(
    layer: _Layer, direction: int, projected: Sequence[Ref], state: State, *, reverse: bool
) -> tuple[Ref, list[Ref]]:
    """Write `CHUNK` steps a round, after some steps outside that give the loop a state to start from."""
    b, size = layer.b, layer.hidden
    head = layer.steps % CHUNK or CHUNK
    rest = layer.steps - head
    first = [_part_of_time(layer, one, b.module.ints(_along(layer, rest if reverse else 0)), head) for one in projected]
    outputs, began = _walked(layer, _cell(layer, direction), first, state, reverse=reverse)
    packed = _packed(b, outputs, layer.time, _along(layer, head, layer.batch, size))
    empty_shape = _along(layer, rest, layer.batch, size)
    empty = b.module.op("fill", [b.module.ints(empty_shape), b.scalar(0.0)], "", empty_shape, packed.dtype)
    buffer = _joined(b, [empty, packed] if reverse else [packed, empty], layer.time)

    def step(count: Ref, refs: Sequence[Ref]) -> Sequence[Ref]:
        parts, old, made = refs[: len(projected)], refs[len(projected) : -1], refs[-1]
        place = b.binary("mul", count, b.module.ints(-CHUNK if reverse else CHUNK))
        place = b.binary("add", place, b.module.ints(rest - CHUNK if reverse else head))
        zero = b.module.ints(0)
        begin = _packed(b, [zero, place, zero] if layer.time else [place, zero, zero], 0, [3])
        cut = [_part_of_time(layer, one, begin, CHUNK) for one in parts]
        outputs, new = _walked(layer, _cell(layer, direction), cut, tuple(old), reverse=reverse)
        packed = _packed(b, outputs, layer.time, _along(layer, CHUNK, layer.batch, size))
        return [*parts, *new, b.module.op("dynamic_update_slice", [made, packed, begin], "", made.shape, made.dtype)]

    *_, found = last = b.module.loop(rest // CHUNK, [*projected, *began, buffer], step)
    return found, last[len(projected) : -1]


def _along(layer: _Layer, steps: int, batch: int = 0, other: int = 0) -> list[int]:
    """Return figures for the stored axes: time, batch, and the values."""
    return [batch, steps, other] if layer.time else [steps, batch, other]


def _part_of_time(layer: _Layer, ref: Ref, begin: Ref, steps: int) -> Ref:
    """Take some steps; -1 in a size means all, and needs no operand for a free batch."""
    shape = _along(layer, steps, layer.batch, ref.shape[2])
    return layer.b.module.op(
        "slice", [ref, begin, layer.b.module.ints(_along(layer, steps, -1, -1))], "", shape, ref.dtype
    )


def _walked(
    layer: _Layer, cell: Cell, projected: Sequence[Ref], state: State, *, reverse: bool
) -> tuple[list[Ref], NewState]:
    """Write step after step; return H after each, [N, H], in the order of time, and the last state."""
    b = layer.b
    inputs = [_unpacked(layer, one) for one in projected]
    outputs: dict[int, Ref] = {}
    steps = range(len(inputs[0]))
    for step in steps[::-1] if reverse else steps:
        new = layer.kind.step(b, cell, [one[step] for one in inputs], state)
        mask = _mask(layer, step)
        outputs[step] = new[0] if mask is None else _chosen(b, mask, new[0], None)
        last = new if mask is None else tuple(_chosen(b, mask, *pair) for pair in zip(new, state, strict=True))
        state = last
    return [outputs[step] for step in steps], last


def _cell(layer: _Layer, direction: int) -> Cell:
    attributes, size = layer.node.attributes, layer.hidden
    count = len(layer.kind.functions)
    names = [one.decode() if isinstance(one, bytes) else one for one in attributes.get("activations", [])]
    names = names or [*layer.kind.functions, *layer.kind.functions]
    try:
        functions = activations(names, attributes.get("activation_alpha", []), attributes.get("activation_beta", []))
    except KeyError as exc:
        raise layer.b.refuse(layer.node, f"there is no activation {exc}") from exc
    reset_after = bool(attributes.get("linear_before_reset", 0))
    bias = layer.part(B, direction, 5 * size, size) if reset_after and layer.given(B) else None
    peepholes = [layer.part(P, direction, place * size, size) for place in range(3)] if layer.given(P) else []
    return Cell(
        recurrences=tuple(
            layer.write(layer.part(R, direction, start * size, gates * size)) for start, gates in _groups(layer.kind)
        ),
        functions=tuple(functions[direction * count : (direction + 1) * count]),
        clip=attributes.get("clip"),
        hidden_bias=None if bias is None else layer.write(bias),
        reset_after=reset_after,
        peepholes=tuple(layer.write(one) for one in peepholes),
        coupled=bool(attributes.get("input_forget", 0)),
    )


def _groups(kind: Kind) -> list[tuple[int, int]]:
    """Return first gate and number of gates of each group."""
    return [(sum(kind.groups[:place]), gates) for place, gates in enumerate(kind.groups)]


def _projected(layer: _Layer, direction: int) -> list[Ref]:
    """Return W x + b of all steps, stored as x is, for each group of gates."""
    size, found = layer.hidden, []
    gates = sum(layer.kind.groups)
    for start, count in _groups(layer.kind):
        weight = layer.part(W, direction, start * size, count * size)
        bias = None
        if layer.given(B):
            bias = layer.part(B, direction, start * size, count * size)
            if not (start and layer.node.attributes.get("linear_before_reset", 0)):
                bias = layer.sum(bias, layer.part(B, direction, (gates + start) * size, count * size))
        found.append(dense(layer.b, layer.x, layer.write(weight), None if bias is None else layer.write(bias)))
    return found


def _unpacked(layer: _Layer, ref: Ref) -> list[Ref]:
    """Cut into steps [N, ...]."""
    shape = [size for axis, size in enumerate(ref.shape) if axis != layer.time]
    steps = ref.shape[layer.time]
    attributes = f"num = {steps} : i32, axis = {layer.time} : i32"
    return layer.b.module.ops("unpack", [ref], attributes, [shape] * steps, ref.dtype)


def _initial(layer: _Layer, place: int, direction: int) -> Ref | None:
    """Return [N, H] of an initial state [D, N, H] (batch first: [N, D, H]), None when it is zero."""
    if not layer.given(place):
        return None
    b, name = layer.b, layer.node.inputs[place]
    axis = 1 if layer.batch_first else 0
    if b.is_constant(name):
        array = b.graph.constants[name].take(direction, axis)
        return b.module.constant(np.ascontiguousarray(array)) if array.any() else None
    ref = b.plain(b.tensor(name))
    if ref.shape[axis] == 1:
        return b.reshaped(ref, (layer.batch, layer.hidden))
    begin, extent = [0, 0, 0], list(ref.shape)
    begin[axis], extent[axis] = direction, 1
    cut = b.module.op("slice", [ref, b.module.ints(begin), b.module.ints(extent)], "", extent, ref.dtype)
    return b.reshaped(cut, (layer.batch, layer.hidden))


def _mask(layer: _Layer, step: int) -> Ref | None:
    """Return which samples have this step, [N, 1], None when all have."""
    if not layer.given(LENGTHS):
        return None
    b, name = layer.b, layer.node.inputs[LENGTHS]
    if b.is_constant(name):
        longer = np.greater(b.graph.constants[name], step)
        return None if longer.all() else b.module.constant(longer.reshape(-1, 1))
    lengths = b.reshaped(b.plain(b.tensor(name)), (layer.batch, 1))
    return b.module.op("greater", [lengths, b.scalar(step, lengths.dtype)], "", lengths.shape, "bool")


def _chosen(b: Builder, mask: Ref, new: Ref, old: Ref | None) -> Ref:
    """Choose between two states by sample."""
    return b.module.op("select_v2", [mask, new, old or b.scalar(0.0)], "", new.shape, new.dtype)


def _sequence(layer: _Layer, sequences: Sequence[Ref]) -> Tensor:
    """Return Y: [T, D, N, H] in ONNX, [N, T, D, H] with the batch first; stored as x is, directions side by side."""
    stored = layer.b.reshaped(_joined(layer.b, sequences, 2), (*layer.x.shape[:2], len(sequences), layer.hidden))
    axes = {"time": 1, "batch": 0, "direction": 2} if layer.batch_first else {"time": 0, "batch": 2, "direction": 1}
    places = ("batch", "time") if layer.time == 1 else ("time", "batch")
    return Tensor(stored, (axes[places[0]], axes[places[1]], axes["direction"], 3))


def _joined(b: Builder, refs: Sequence[Ref], axis: int) -> Ref:
    """Join values along an axis."""
    if len(refs) == 1:
        return refs[0]
    shape = list(refs[0].shape)
    shape[axis] = sum(one.shape[axis] for one in refs)
    return b.module.op("concatenation", refs, f"axis = {axis} : i32, {NO_ACTIVATION}", shape, refs[0].dtype)


def _last(layer: _Layer, states: Sequence[Ref]) -> Tensor:
    """Return a last state: [D, N, H] in ONNX, [N, D, H] with the batch first."""
    b, axis = layer.b, 1 if layer.batch_first else 0
    shape = [layer.batch, layer.hidden]
    shape.insert(axis, len(states))
    if len(states) == 1:
        return Tensor(b.reshaped(states[0], shape), identity(3))
    return Tensor(_packed(b, states, axis, shape), identity(3))


def _packed(b: Builder, refs: Sequence[Ref], axis: int, shape: Sequence[int]) -> Ref:
    """Join values along a new axis."""
    attributes = f"values_count = {len(refs)} : i32, axis = {axis} : i32"
    return b.module.op("pack", refs, attributes, shape, refs[0].dtype)


RECURRENT = {"RNN": recurrent, "GRU": recurrent, "LSTM": recurrent}
