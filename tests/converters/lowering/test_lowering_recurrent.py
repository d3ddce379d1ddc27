"""RNN, GRU and LSTM against ONNX Runtime."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
HIDDEN = 5


def cell(op: str, attributes: str = "", optional: str = "", directions: int = 1, **more: Any) -> dict[str, Any]:
    """Return a model of one op on 6 steps of 3 samples of 4 values, every output used."""
    rows = GATES[op] * HIDDEN
    given = f", {attributes}" if attributes else ""
    outputs = ("y", "h", "c") if op == "LSTM" else ("y", "h")
    weights = {
        "w": [directions, rows, 4],
        "r": [directions, rows, HIDDEN],
        "b": [directions, 2 * rows],
        "h0": [directions, 3, HIDDEN],
        "c0": [directions, 3, HIDDEN],
        "p": [directions, 3 * HIDDEN],
        "lengths": {"int32": [6, 2, 4]},
    }
    used = [name.strip() for name in f"w, r, {optional}".split(",")]
    return {
        "inputs": {"x": "float[6, 3, 4]"},
        "body": f"{', '.join(outputs)} = {op}<hidden_size = {HIDDEN}{given}>(x, w, r{optional and ', ' + optional})",
        "outputs": dict.fromkeys(outputs, "float"),
        "weights": {name: one for name, one in weights.items() if name in used},
        "opset": 14,
        **more,
    }


BOTH = 'direction = "bidirectional"'
CASES: dict[str, dict[str, Any]] = {
    **{f"{op}, no more than weights": cell(op) for op in GATES},
    **{f"{op}, bias and state": cell(op, "", "b,, h0" + (", c0" if op == "LSTM" else "")) for op in GATES},
    **{f"{op}, backwards": cell(op, 'direction = "reverse"', "b") for op in GATES},
    **{f"{op}, both ways": cell(op, BOTH, "b,, h0", directions=2) for op in GATES},
    **{f"{op}, lengths": cell(op, BOTH, "b, lengths, h0", directions=2) for op in GATES},
    **{f"{op}, clipped": cell(op, "clip = 0.4", "b") for op in GATES},
    "GRU, reset after": cell("GRU", "linear_before_reset = 1", "b"),
    "GRU, reset after, with a state": cell("GRU", "linear_before_reset = 1", "b,, h0"),
    "GRU, reset after, no bias": cell("GRU", "linear_before_reset = 1"),
    "LSTM, peepholes": cell("LSTM", "", "b,, h0, c0, p"),
    "LSTM, peepholes, no state": cell("LSTM", BOTH, "b,,,, p", directions=2),
    "LSTM, coupled gates": cell("LSTM", "input_forget = 1", "b"),
    "RNN, both ways, other functions": cell(
        "RNN",
        f'{BOTH}, activations = ["LeakyRelu", "ScaledTanh"], activation_alpha = [0.1, 0.7], activation_beta = [1.3]',
        "b",
        directions=2,
    ),
    "LSTM, other functions": cell(
        "LSTM",
        'activations = ["HardSigmoid", "Softsign", "Elu"], activation_alpha = [0.25, 0.8], activation_beta = [0.45]',
        "b",
    ),
    "GRU, other functions": cell("GRU", 'activations = ["Affine", "Relu"], activation_alpha = [0.3]', "b"),
    "RNN, thresholded": cell("RNN", 'activations = ["ThresholdedRelu"], activation_alpha = [0.2]'),
    "RNN, softplus": cell("RNN", 'activations = ["Softplus"]'),
    "lengths known at run time": cell(
        "GRU", BOTH, "b, n", directions=2, inputs={"x": "float[3, 3, 4]", "n": "int32[3]"}
    ),
    "one step of one sample": cell("LSTM", "", "b", inputs={"x": "float[1, 1, 4]"}),
    "only the last state is used": cell(
        "LSTM", "", "b", body="y, h, q = LSTM<hidden_size = 5>(x, w, r, b)", outputs={"h": "float"}
    ),
    "no output but the sequence": cell(
        "GRU", "", "b", body="y = GRU<hidden_size = 5>(x, w, r, b)", outputs={"y": "float"}
    ),
    "opset 7": cell("LSTM", "", "b", opset=7),
}
E2E_WEIGHTS = {"w": [2, 20, 4], "r": [2, 20, 5], "b": [2, 40]}
LAYOUTS: dict[str, dict[str, Any]] = {
    "as PyTorch writes it, batch first": {
        "inputs": {"x": "float[3, 6, 4]"},
        "body": 't = Transpose<perm = [1, 0, 2]>(x)\n l, h, c = LSTM<hidden_size = 5, direction = "bidirectional">'
        "(t, w, r, b)\n m = Transpose<perm = [0, 2, 1, 3]>(l)\n n = Reshape(m, s)\n y = Transpose<perm = [1, 0, 2]>(n)",
        "weights": {**E2E_WEIGHTS, "s": {"int64": [0, 0, -1]}},
    },
    "behind a convolution over time": {
        "inputs": {"x": "float[3, 4, 6]"},
        "body": "k = Conv(x, f)\n t = Transpose<perm = [2, 0, 1]>(k)\n l, h, c = LSTM<hidden_size = 5, "
        'direction = "bidirectional">(t, w, r, b)\n y = ReduceMean<axes = [0], keepdims = 0>(l)',
        "weights": {**E2E_WEIGHTS, "f": [4, 4, 1]},
    },
    "in ONNX's order behind one": {
        "inputs": {"x": "float[3, 6, 4]"},
        "body": 'k = Conv(x, f)\n y, h, c = LSTM<hidden_size = 5, direction = "bidirectional">(k, w, r, b)',
        "weights": {**E2E_WEIGHTS, "f": [6, 6, 1]},
    },
}
TABLE = CASES | LAYOUTS


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_it_is_what_onnx_runtime_has(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    proven(lowered(TABLE)[name])


@pytest.mark.slow
def test_a_layer_between_batch_first_values_needs_no_transpose(lowered: Callable[..., Mapping[str, Any]]) -> None:
    assert "TRANSPOSE" not in lowered(TABLE)["as PyTorch writes it, batch first"]["ops"]
