"""Norms folded and stored tensors computed: the same answers with fewer nodes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import session
from edgekit_converters.graph.plain import make_plain
from tests.converters import onnx_text

pytest.importorskip("onnx")

IMAGE, SOUND, ROW = (2, 4, 6, 6), (2, 4, 9), (2, 4)
NORM = "n = BatchNormalization<epsilon = 0.01>(c, scale, offset, mean, variance)"
LAYERS: dict[str, tuple[tuple[int, ...], str, tuple[int, ...]]] = {
    "without a bias": (IMAGE, "Conv(x, w)", (6, 4, 3, 3)),
    "with a bias": (IMAGE, "Conv<pads = [1, 1, 1, 1]>(x, w, b)", (6, 4, 3, 3)),
    "in groups": (IMAGE, "Conv<group = 2>(x, w, b)", (6, 2, 3, 3)),
    "one-dimensional": (SOUND, "Conv(x, w, b)", (6, 4, 3)),
    "transposed": (IMAGE, "ConvTranspose(x, w, b)", (4, 6, 3, 3)),
    "transposed in groups": (IMAGE, "ConvTranspose<group = 2>(x, w)", (4, 3, 3, 3)),
    "dense": (ROW, "Gemm(x, w, b)", (4, 6)),
    "dense, scaled": (ROW, "Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, w, b)", (6, 4)),
}


def parameters(shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Any]:
    made = {"w": rng.normal(size=shape), **{one: rng.normal(size=6) for one in ("b", "scale", "offset", "mean")}}
    return {name: array.astype(np.float32) for name, array in (made | {"variance": rng.uniform(0.1, 3, 6)}).items()}


def plain(path: Path) -> tuple[list[str], Path]:
    """Make a model plain; return its operators and its file."""
    model = graph_model.load(path)
    make_plain(model)
    made = path.with_name("plain.onnx")
    graph_model.save(model, made)
    return [node.op_type for node in model.graph], made


def same(first: Path, second: Path, x: Any) -> None:
    wanted, got = (session(one).run(None, {"x": x})[0] for one in (first, second))
    np.testing.assert_allclose(got, wanted, atol=1e-6 * float(np.abs(wanted).max()))


@pytest.mark.parametrize("name", LAYERS)
def test_a_norm_behind_a_layer_becomes_its_weights(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    shape, layer, weights = LAYERS[name]
    text = f"(float[{', '.join(map(str, shape))}] x) => (float[] y) {{ c = {layer}  {NORM}  y = Relu(n) }}"
    path = onnx_text.write(tmp_path / "net.onnx", text, parameters(weights, rng))
    ops, made = plain(path)
    assert ops == [layer.partition("(")[0].partition("<")[0], "Relu"]
    same(path, made, rng.normal(size=shape).astype(np.float32))


def test_a_norm_that_is_the_output_keeps_its_name(tmp_path: Path, rng: np.random.Generator) -> None:
    text = f"(float[2, 4, 6, 6] x) => (float[] n) {{ c = Conv(x, w, b)  {NORM} }}"
    path = onnx_text.write(tmp_path / "net.onnx", text, parameters((6, 4, 3, 3), rng))
    ops, made = plain(path)
    assert ops == ["Conv"]
    assert session(made).get_outputs()[0].name == "n"
    same(path, made, rng.normal(size=IMAGE).astype(np.float32))


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (f"c = Conv(x, w, b)  {NORM}  y = Add(c, n)", "float[] y"),
        (f"c = Conv(x, w, b)  {NORM}  y = Relu(n)", "float[] y, float[] c"),
        (f"c = Conv(x, w, b)  {NORM}  d = Conv(x, w, b)  y = Add(d, n)", "float[] y"),
        (f"c = Relu(x)  {NORM.replace('scale', 's4')}  y = Relu(n)", "float[] y"),
    ],
    ids=["used twice", "an output", "shared weights", "behind no layer"],
)
def test_a_norm_that_cannot_be_folded_stays(body: str, outputs: str, tmp_path: Path, rng: np.random.Generator) -> None:
    used = parameters((6, 4, 3, 3), rng)
    if "s4" in body:
        body = body.replace("c = Relu(x)", "r = Relu(x)  c = Concat<axis = 1>(r, r)").replace("s4", "scale")
        used = {name: np.resize(array, 8) for name, array in used.items() if name != "w"}
    text = f"(float[2, 4, 6, 6] x) => ({outputs}) {{ {body} }}"
    path = onnx_text.write(tmp_path / "net.onnx", text, used)
    ops, made = plain(path)
    assert "BatchNormalization" in ops
    same(path, made, rng.normal(size=IMAGE).astype(np.float32))


def test_what_depends_on_stored_tensors_alone_is_computed(tmp_path: Path, rng: np.random.Generator) -> None:
    text = """(float[2, 4] x) => (float[2, 6] y) {
        t = Transpose<perm = [1, 0]>(w)  half = Constant<value_float = 0.5>()  h = Mul(t, half)  y = MatMul(x, h) }"""
    path = onnx_text.write(tmp_path / "net.onnx", text, {"w": rng.normal(size=(6, 4)).astype(np.float32)})
    ops, made = plain(path)
    assert ops == ["MatMul"]
    same(path, made, rng.normal(size=ROW).astype(np.float32))


def test_stored_tensors_of_an_old_opset_are_computed_too(tmp_path: Path, rng: np.random.Generator) -> None:
    import onnx

    model = onnx.parser.parse_model(
        """<ir_version: 4, opset_import: ["": 9]> g (float[2, 4] x) => (float[2, 6] y) {
        u = Unsqueeze<axes = [0]>(w)  s = Squeeze<axes = [0]>(u)  y = MatMul(x, s) }"""
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=(4, 6)).astype(np.float32), "w"))
    onnx.save(model, tmp_path / "net.onnx")
    ops, made = plain(tmp_path / "net.onnx")
    assert ops == ["MatMul"]
    same(tmp_path / "net.onnx", made, rng.normal(size=ROW).astype(np.float32))


def test_nodes_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    import onnx

    model = onnx.parser.parse_model(onnx_text.HEAD + "(float[2, 4] x) => (float[2, 4] y) { h = Relu(x) y = Relu(h) }")
    for node in model.graph.node:
        node.name = "relu"
    onnx.save(model, tmp_path / "net.onnx")
    _, made = plain(tmp_path / "net.onnx")
    names = [node.name for node in onnx.load(made).graph.node]
    assert names[0] == "relu"
    assert len(set(names)) == 2
