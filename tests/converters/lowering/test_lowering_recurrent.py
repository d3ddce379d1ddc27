"""RNN, GRU and LSTM against ONNX Runtime."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
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
BOTH_WAYS = {"w": [2, 20, 4], "r": [2, 20, 5], "b": [2, 40]}
LAYOUTS: dict[str, dict[str, Any]] = {
    "as PyTorch writes it, batch first": {
        "inputs": {"x": "float[3, 6, 4]"},
        "body": 't = Transpose<perm = [1, 0, 2]>(x)\n l, h, c = LSTM<hidden_size = 5, direction = "bidirectional">'
        "(t, w, r, b)\n m = Transpose<perm = [0, 2, 1, 3]>(l)\n n = Reshape(m, s)\n y = Transpose<perm = [1, 0, 2]>(n)",
        "weights": {**BOTH_WAYS, "s": {"int64": [0, 0, -1]}},
    },
    "behind a convolution over time": {
        "inputs": {"x": "float[3, 4, 6]"},
        "body": "k = Conv(x, f)\n t = Transpose<perm = [2, 0, 1]>(k)\n l, h, c = LSTM<hidden_size = 5, "
        'direction = "bidirectional">(t, w, r, b)\n y = ReduceMean<axes = [0], keepdims = 0>(l)',
        "weights": {**BOTH_WAYS, "f": [4, 4, 1]},
    },
    "in ONNX's order behind one": {
        "inputs": {"x": "float[3, 6, 4]"},
        "body": 'k = Conv(x, f)\n y, h, c = LSTM<hidden_size = 5, direction = "bidirectional">(k, w, r, b)',
        "weights": {**BOTH_WAYS, "f": [6, 6, 1]},
    },
}
LONG: dict[str, dict[str, Any]] = {
    **{f"{op}, a loop": cell(op, "", "b", inputs={"x": "float[69, 3, 4]"}) for op in GATES},
    "a loop of whole rounds, both ways, with states": cell(
        "LSTM", BOTH, "b,, h0, c0, p", directions=2, inputs={"x": "float[80, 3, 4]"}
    ),
    "a loop over batch first values, both ways": {
        "inputs": {"x": "float[3, 67, 4]"},
        "body": 't = Transpose<perm = [1, 0, 2]>(x) l, h, c = LSTM<hidden_size = 5, direction = "bidirectional">'
        "(t, w, r, b) y = Transpose<perm = [2, 0, 1, 3]>(l)",
        "weights": BOTH_WAYS,
    },
    "two loops": {
        "inputs": {"x": "float[66, 2, 4]"},
        "body": "l = GRU<hidden_size = 4>(x, w, r, b) m = Squeeze(l, one) y = GRU<hidden_size = 4>(m, w, r, b)",
        "weights": {"w": [1, 12, 4], "r": [1, 12, 4], "b": [1, 24], "one": {"int64": [1]}},
    },
    "many steps of several lengths are written out": cell("GRU", "", "b, lengths", inputs={"x": "float[70, 3, 4]"}),
}
TABLE = CASES | LAYOUTS | LONG


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_it_is_what_onnx_runtime_has(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    proven(lowered(TABLE)[name])


@pytest.mark.slow
def test_a_layer_between_batch_first_values_needs_no_transpose(lowered: Callable[..., Mapping[str, Any]]) -> None:
    assert "TRANSPOSE" not in lowered(TABLE)["as PyTorch writes it, batch first"]["ops"]


@pytest.mark.slow
def test_many_steps_run_in_a_loop_unless_their_lengths_differ(lowered: Callable[..., Mapping[str, Any]]) -> None:
    looped = {name: "WHILE" in lowered(TABLE)[name]["ops"] for name in LONG}
    assert looped == {name: "written out" not in name for name in LONG}


@pytest.mark.slow
@pytest.mark.parametrize("steps", [6, 69], ids=["written out", "a loop"])
def test_no_state_survives_from_one_invoke_to_the_next(
    steps: int, lowered: Callable[..., Mapping[str, Any]], tmp_path: Path
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    path = tmp_path / "lstm.tflite"
    lowered({"lstm": cell("LSTM", "", "b", inputs={"x": f"float[{steps}, 3, 4]"}, keep=str(path))})
    run = Interpreter(str(path), num_threads=1).get_signature_runner()
    x = np.random.default_rng(0).normal(size=(steps, 3, 4)).astype(np.float32)
    first, again = run(x=x), run(x=x)
    assert all(np.array_equal(first[name], again[name]) for name in ("y", "h", "c"))
