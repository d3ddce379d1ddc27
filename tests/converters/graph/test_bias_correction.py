"""Biases corrected for what coarse weights shift, against convolutions computed by ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.bias_correction import correct_biases
from edgekit_converters.graph.oracle import session
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.grids.base import Sharing
from edgekit_converters.grids.fitting import fit
from edgekit_converters.grids.linear import Linear
from tests.converters import onnx_text

pytest.importorskip("onnx")

GRID = Linear(bits=3)
IMAGE, SOUND, ROW = (16, 4, 6, 6), (16, 4, 9), (16, 4)
LAYERS: dict[str, tuple[tuple[int, ...], str, tuple[int, ...], int]] = {
    "convolution": (IMAGE, "y = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w, b)", (6, 4, 3, 3), 0),
    "without a bias": (IMAGE, "y = Conv(x, w)", (6, 4, 3, 3), 0),
    "depthwise": (IMAGE, "y = Conv<group = 4>(x, w)", (4, 1, 3, 3), 0),
    "sound": (SOUND, "y = Conv(x, w, b)", (6, 4, 3), 0),
    "transposed": (IMAGE, "y = ConvTranspose(x, w, b)", (4, 6, 3, 3), 1),
    "gemm": (ROW, "y = Gemm<alpha = 0.5, beta = 3.0>(x, w, b)", (4, 6), 1),
    "gemm without a bias": (ROW, "y = Gemm<transB = 1>(x, w)", (6, 4), 0),
    "product": (ROW, "y = MatMul(x, w)", (4, 6), 1),
    "product and sum": (ROW, "p = MatMul(x, w)  y = Add(b, p)", (4, 6), 1),
}


def corrected(path: Path, arrays: dict[str, Any]) -> tuple[Path, Any, dict[str, str]]:
    model = graph_model.load(path)
    make_plain(model)
    done, left = correct_biases(model, arrays, GRID, Sharing(), path.parent)
    made = path.with_name("corrected.onnx")
    graph_model.save(model, made)
    return made, done, left


def ran(path: Path, x: Any, weights: dict[str, Any] | None = None) -> Any:
    """Run a model, some weights replaced."""
    import onnx

    proto = onnx.load(path)
    for one in proto.graph.initializer:
        if one.name in (weights or {}):
            one.CopyFrom(onnx.numpy_helper.from_array((weights or {})[one.name], one.name))
    return session(proto).run(None, {"x": x})[0]


@pytest.mark.parametrize("name", LAYERS)
def test_the_mean_of_every_channel_is_right_again(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    shape, layer, weights_shape, axis = LAYERS[name]
    weights = {"w": rng.normal(size=weights_shape).astype(np.float32), "b": rng.normal(size=6).astype(np.float32)}
    text = f"(float[{', '.join(map(str, shape))}] x) => (float[] y) {{ {layer} }}"
    used = {
        key: one for key, one in weights.items() if key == "w" or "b" in layer.partition("(")[2].replace("pads", "")
    }
    path = onnx_text.write(tmp_path / "net.onnx", text, used)
    x = rng.gamma(1.0, size=shape).astype(np.float32)  # a mean that is not 0, as behind a Relu
    made, done, left = corrected(path, {"x": x})
    assert not left
    assert len(done) == 1
    coarse = {"w": fit(GRID, weights["w"], axis, Sharing()).snap(weights["w"]).astype(np.float32)}
    others = (0, *range(2, len(shape)))
    wanted = ran(path, x).mean(axis=others)
    assert np.abs(ran(path, x, coarse).mean(axis=others) - wanted).max() > 1e-2
    np.testing.assert_allclose(ran(made, x, coarse).mean(axis=others), wanted, atol=1e-5)


def test_the_output_keeps_its_name_where_a_sum_is_put_behind(tmp_path: Path, rng: np.random.Generator) -> None:
    text = "(float[16, 4] x) => (float[] y) { y = MatMul(x, w) }"
    path = onnx_text.write(tmp_path / "net.onnx", text, {"w": rng.normal(size=(4, 6)).astype(np.float32)})
    made, _, _ = corrected(path, {"x": rng.normal(size=ROW).astype(np.float32)})
    assert [one.name for one in session(made).get_outputs()] == ["y"]


def test_what_has_no_bias_of_its_own_is_left_with_a_reason(tmp_path: Path, rng: np.random.Generator) -> None:
    text = """(float[16, 4] x, float[6] given) => (float[] y) {
        turned = Transpose(x)  left = MatMul(w, turned)  y = Gemm(x, v, given) }"""
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in {"w": (3, 4), "v": (4, 6)}.items()}
    path = onnx_text.write(tmp_path / "net.onnx", text, weights)
    model = graph_model.load(path)
    given = {"x": rng.normal(size=ROW).astype(np.float32), "given": np.zeros((16, 6), np.float32)}
    done, left = correct_biases(model, given, GRID, Sharing(), tmp_path)
    assert not done
    assert left == {
        "left": "its weights are no matrix on the right",
        "y": "its bias is no constant with a value a channel",
    }
