"""Dense layers in int8 without a bias: what OpenVINO's CPU plugin gives for them is what their numbers say."""

from typing import Any

import numpy as np
import pytest

from edgekit_converters.backends.openvino_bias import add_biases

pytest.importorskip("openvino")

INPUTS, CHANNELS, OUTPUTS = 64, 8, 10
STEP = 20 / 255


def on_grid(value: Any, low: float, high: float) -> Any:
    return np.round((np.clip(value, low, high) - low) / ((high - low) / 255)) * ((high - low) / 255) + low


class Net:
    """Two dense layers on grids, and what they give by NumPy; `bias` None: the first has none."""

    def __init__(self, rng: np.random.Generator, bias: Any | None, *, relu: bool, batch: int) -> None:
        """Draw the weights; a Relu stands before the second grid where `relu` says so."""
        from openvino import Model
        from openvino import opset13 as op

        def grid(value: Any, low: float, high: float) -> Any:
            limits = [op.constant(np.float32(one)) for one in (low, high)]
            return op.fake_quantize(value, *limits, *limits, 256)

        def dense(value: Any, weights: Any, scales: Any) -> Any:
            stored = op.convert(op.constant(weights), "f32")
            return op.matmul(value, op.multiply(stored, op.constant(scales)), transpose_a=False, transpose_b=True)

        weights = rng.integers(-127, 127, (CHANNELS, INPUTS)).astype(np.int8)
        scales = (rng.random((CHANNELS, 1)) * 0.01 + 0.001).astype(np.float32)
        last = rng.integers(-127, 127, (OUTPUTS, CHANNELS)).astype(np.int8)
        ones = np.full((OUTPUTS, 1), 0.01, np.float32)
        given = op.parameter([batch, INPUTS], np.float32)
        made = dense(grid(given, 0, 4), weights, scales)
        if bias is not None:
            made = op.add(made, op.constant(np.asarray(bias, np.float32).reshape(1, -1)))
        low = 0 if relu else -10
        made = grid(op.relu(made) if relu else made, low, 10)
        self.model = Model([dense(made, last, ones)], [given], "net")

        def wanted(x: Any) -> Any:
            inner = on_grid(x, 0, 4) @ (weights * scales).T + (0 if bias is None else bias)
            return on_grid(inner, low, 10) @ (last * 0.01).T

        self.wanted, self.allowed = wanted, STEP * float(np.abs(last * 0.01).sum(axis=1).max())

    @property
    def ops(self) -> int:
        return len(self.model.get_ops())


BIASES: dict[str, Any] = {
    "none": None,
    "zeros": np.zeros(CHANNELS),
    "the same for all": np.full(CHANNELS, 0.5),
    "one for all": np.full(1, 0.5),
    "its own": np.linspace(-1, 1, CHANNELS),
}


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("relu", [False, True], ids=["grid", "relu"])
@pytest.mark.parametrize("bias", BIASES.values(), ids=BIASES)
def test_what_one_thread_gives_is_what_the_numbers_say(
    rng: np.random.Generator, *, bias: Any | None, relu: bool, batch: int
) -> None:
    from openvino import Core

    net = Net(rng, bias, relu=relu, batch=batch)
    add_biases(net.model)
    ready = Core().compile_model(net.model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    for _ in range(8):
        x = (2 * rng.normal(size=(batch, INPUTS))).astype(np.float32)
        assert np.abs(ready(x)[ready.outputs[0]] - net.wanted(x)).max() <= net.allowed


@pytest.mark.parametrize(("bias", "more"), [(None, 2), (BIASES["zeros"], 0), (BIASES["its own"], 0)])
def test_only_layers_without_an_uneven_bias_are_changed(rng: np.random.Generator, bias: Any | None, more: int) -> None:
    net = Net(rng, bias, relu=False, batch=1)
    before = net.ops
    add_biases(net.model)
    assert net.ops - before == more  # a sum and its constant


def test_a_dense_layer_without_a_grid_behind_it_stays(rng: np.random.Generator) -> None:
    from openvino import Model
    from openvino import opset13 as op

    given = op.parameter([1, 4], np.float32)
    made = op.matmul(
        given, op.constant(rng.normal(size=(3, 4)).astype(np.float32)), transpose_a=False, transpose_b=True
    )
    model = Model([op.relu(made)], [given], "float")
    count = len(model.get_ops())
    add_biases(model)
    assert len(model.get_ops()) == count
