"""One step of ONNX's recurrent cells.

A cell is given its input already multiplied by the input weights and biased, one matrix for each group of
gates, and its state; a state of None is all zeros, which saves the first step its products.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.matrix import dense
from edgekit_converters.lowering.module import Ref

State = tuple[Ref | None, ...]
NewState = tuple[Ref, ...]
Activation = Callable[[Builder, Ref], Ref]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One direction's weights and functions. Gates lie in ONNX's order: LSTM i o f c, GRU z r | h."""

    recurrences: tuple[Ref, ...]
    """[gates * H, H] for each group of gates."""
    functions: tuple[Activation, ...]
    clip: float | None
    hidden_bias: Ref | None = None
    """[H]: what a GRU with `reset_after` adds before its reset gate applies."""
    reset_after: bool = False
    peepholes: tuple[Ref, ...] = ()
    """[H] each, of i, o and f."""
    coupled: bool = False
    """Whether an LSTM forgets just as much as it takes in."""

    def activate(self, b: Builder, place: int, x: Ref) -> Ref:
        """Apply the function at this place, after the clip."""
        if self.clip is not None:
            x = b.binary("maximum", b.binary("minimum", x, b.scalar(self.clip)), b.scalar(-self.clip))
        return self.functions[place](b, x)


def rnn(b: Builder, cell: Cell, inputs: Sequence[Ref], state: State) -> NewState:
    """Write H = f(x + R h)."""
    (x,), (h,) = inputs, state
    return (cell.activate(b, 0, x if h is None else b.binary("add", x, dense(b, h, cell.recurrences[0]))),)


def gru(b: Builder, cell: Cell, inputs: Sequence[Ref], state: State) -> NewState:
    """Write z, r = f(x + R h); n = g(x + R (r h)) or g(x + r (R h + b)); H = n + z (h - n)."""
    (gates, new), (h,) = inputs, state
    if h is not None:
        gates = b.binary("add", gates, dense(b, h, cell.recurrences[0]))
    update, reset = _split(b, cell.activate(b, 0, gates), 2)
    recalled = _recalled(b, cell, reset, h)
    new = cell.activate(b, 1, new if recalled is None else b.binary("add", new, recalled))
    if h is None:
        return (b.binary("sub", new, b.binary("mul", update, new)),)
    return (b.binary("add", new, b.binary("mul", update, b.binary("sub", h, new))),)


def _recalled(b: Builder, cell: Cell, reset: Ref, h: Ref | None) -> Ref | None:
    """Return what a GRU's candidate takes from the state."""
    if not cell.reset_after:
        return None if h is None else dense(b, b.binary("mul", reset, h), cell.recurrences[1])
    kept = cell.hidden_bias if h is None else dense(b, h, cell.recurrences[1], cell.hidden_bias)
    return None if kept is None else b.binary("mul", reset, kept)


def lstm(b: Builder, cell: Cell, inputs: Sequence[Ref], state: State) -> NewState:
    """Write i, o, f = f(x + R h + p C); C = f c + i g(x + R h); H = o h(C)."""
    (gates,), (h, c) = inputs, state
    if h is not None:
        gates = b.binary("add", gates, dense(b, h, cell.recurrences[0]))
    take, give, keep, new = _split(b, gates, 4)
    peep_take, peep_give, peep_keep = cell.peepholes or (None, None, None)
    take = cell.activate(b, 0, _peeped(b, take, peep_take, c))
    memory = b.binary("mul", take, cell.activate(b, 1, new))
    if c is not None:
        if cell.coupled:
            keep = b.binary("sub", b.scalar(1.0), take)
        else:
            keep = cell.activate(b, 0, _peeped(b, keep, peep_keep, c))
        memory = b.binary("add", b.binary("mul", keep, c), memory)
    give = cell.activate(b, 0, _peeped(b, give, peep_give, memory))
    return b.binary("mul", give, cell.functions[2](b, memory)), memory  # which nobody clips


def _split(b: Builder, x: Ref, parts: int) -> list[Ref]:
    """Cut the last axis into equal parts."""
    shape = (*x.shape[:-1], x.shape[-1] // parts)
    axis = b.module.ints(len(x.shape) - 1)
    return b.module.ops("split", [axis, x], f"num_splits = {parts} : i32", [shape] * parts, x.dtype)


def _peeped(b: Builder, gate: Ref, weight: Ref | None, memory: Ref | None) -> Ref:
    if weight is None or memory is None:
        return gate
    return b.binary("add", gate, b.binary("mul", memory, weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What tells the three ops apart."""

    step: Callable[[Builder, Cell, Sequence[Ref], State], NewState]
    groups: tuple[int, ...]
    """How many gates each product with the weights makes."""
    functions: tuple[str, ...]
    """The activations without the attribute."""
    states: int


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "RNN": Kind(step=rnn, groups=(1,), functions=("Tanh",), states=1),
        "GRU": Kind(step=gru, groups=(2, 1), functions=("Sigmoid", "Tanh"), states=1),
        "LSTM": Kind(step=lstm, groups=(4,), functions=("Sigmoid", "Tanh", "Tanh"), states=2),
    }
)
