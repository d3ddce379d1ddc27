"""LSTM, GRU and RNN, step by step, with ONNX's own activations."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch

from edgekit_converters.compress.torch_graph.calls import Call, Function, Given, Tensor

Step = Callable[[Call, Tensor, tuple[Tensor, ...], Tensor, Tensor, Given], tuple[Tensor, ...]]
"""Of a call, what one step takes, its state, the recurrent weights, their bias and peepholes: the next state."""


def _lstm_step(
    _call: Call, x: Tensor, state: tuple[Tensor, ...], r: Tensor, bias: Tensor, peep: Given
) -> tuple[Tensor, ...]:  # see `Step`
    hidden, cell = state
    i, o, f, c = (x + hidden @ r.T + bias).chunk(4, dim=-1)
    to_i, to_o, to_f = peep.chunk(3) if peep is not None else (0, 0, 0)
    new = torch.sigmoid(f + to_f * cell) * cell + torch.sigmoid(i + to_i * cell) * torch.tanh(c)
    return torch.sigmoid(o + to_o * new) * torch.tanh(new), new


def _gru_step(
    call: Call, x: Tensor, state: tuple[Tensor, ...], r: Tensor, bias: Tensor, _peep: Given
) -> tuple[Tensor, ...]:  # see `Step`
    (hidden,) = state
    x_z, x_r, x_h = x.chunk(3, dim=-1)
    r_z, r_r, r_h = r.chunk(3)
    b_z, b_r, b_h = bias.chunk(3)
    update = torch.sigmoid(x_z + hidden @ r_z.T + b_z)
    reset = torch.sigmoid(x_r + hidden @ r_r.T + b_r)
    if call.get("linear_before_reset", 0):
        new = torch.tanh(x_h + reset * (hidden @ r_h.T + b_h))
    else:
        new = torch.tanh(x_h + (reset * hidden) @ r_h.T + b_h)
    return ((1 - update) * new + update * hidden,)


def _rnn_step(
    _call: Call, x: Tensor, state: tuple[Tensor, ...], r: Tensor, bias: Tensor, _peep: Given
) -> tuple[Tensor, ...]:  # see `Step`
    (hidden,) = state
    return (torch.tanh(x + hidden @ r.T + bias),)


def _recurrent(step: Step, gates: int, activations: Sequence[str]) -> Function:
    def of(call: Call, x: Tensor, w: Tensor, r: Tensor, bias: Given = None, *more: Given) -> Sequence[Tensor]:  # ONNX's
        lengths, hidden, cell, peep = (*more, None, None, None, None)[:4]
        directions, size = w.shape[0], r.shape[-1]
        _check(call, lengths, [*activations] * directions)
        if call.get("layout", 0):
            x, hidden, cell = (None if one is None else one.transpose(0, 1) for one in (x, hidden, cell))
        steps, batch = x.shape[0], x.shape[1]
        zero = x.new_zeros((directions, batch, size))
        starts = [zero if one is None else one for one in (hidden, cell)]
        outputs, lasts = [], []
        for way in range(directions):
            state = tuple(one[way] for one in starts[: 2 if step is _lstm_step else 1])
            of_input, of_state = _biases(bias, way, gates * size, x)
            taken = x @ w[way].T + of_input
            backwards = call.get("direction", "forward") == "reverse" or way == 1
            made = [zero[0]] * steps
            for at in reversed(range(steps)) if backwards else range(steps):
                state = step(call, taken[at], state, r[way], of_state, None if peep is None else peep[way])
                made[at] = state[0]
            outputs.append(torch.stack(made))
            lasts.append(state)
        ends = [torch.stack(one) for one in zip(*lasts, strict=True)]
        whole = torch.stack(outputs, dim=1)
        if call.get("layout", 0):
            return whole.permute(2, 0, 1, 3), *(one.transpose(0, 1) for one in ends)
        return whole, *ends

    return of


def _check(call: Call, lengths: Given, activations: list[str]) -> None:
    if lengths is not None:
        raise call.refuse("its sequences have lengths of their own")
    if [one.lower() for one in call.get("activations", activations)] != [one.lower() for one in activations]:
        raise call.refuse(f"its activations are {', '.join(call.get('activations'))}")
    call.only("clip", None)
    call.only("input_forget", 0)


def _biases(bias: Given, way: int, size: int, x: Tensor) -> tuple[Tensor, Tensor]:
    if bias is None:
        zero = x.new_zeros(size)
        return zero, zero
    return bias[way, :size], bias[way, size:]


RECURRENT: Mapping[str, Function] = MappingProxyType(
    {
        "LSTM": _recurrent(_lstm_step, 4, ("Sigmoid", "Tanh", "Tanh")),
        "GRU": _recurrent(_gru_step, 3, ("Sigmoid", "Tanh")),
        "RNN": _recurrent(_rnn_step, 1, ("Tanh",)),
    }
)
