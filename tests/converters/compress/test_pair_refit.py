"""Pairs of layers: their linear maps and adjoints against ONNX Runtime, and fits that one layer alone cannot make."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.channel_refit import firsts_of
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.pair_refit import Pair, Values, fit_pair
from edgekit_converters.compress.products import Product
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.weights import weights_of
from tests.converters import onnx_text
from tests.converters.compress.prune_nets import run

pytest.importorskip("onnx")

LAYERS = {
    "plain": ("x", "[2,6,9,7]", (5, 6, 3, 3), "Conv(x, w)"),
    "padded": ("x", "[2,6,9,7]", (5, 6, 3, 2), "Conv<pads=[1,0,2,1]>(x, w)"),
    "strided": ("x", "[2,6,9,8]", (4, 6, 3, 3), "Conv<strides=[2,3],pads=[1,1,1,1]>(x, w)"),
    "not to the end": ("x", "[1,3,11,10]", (4, 3, 2, 3), "Conv<strides=[3,4]>(x, w)"),
    "dilated": ("x", "[1,4,12,11]", (3, 4, 3, 2), "Conv<dilations=[2,3]>(x, w)"),
    "grouped": ("x", "[2,6,7,7]", (9, 2, 3, 3), "Conv<group=3>(x, w)"),
    "depthwise": ("x", "[2,6,7,7]", (6, 1, 3, 3), "Conv<group=6,strides=[2,2]>(x, w)"),
    "same": ("x", "[1,3,10,9]", (4, 3, 3, 4), 'Conv<auto_pad="SAME_UPPER",strides=[2,2]>(x, w)'),
    "one dimension": ("x", "[3,4,15]", (5, 4, 3), "Conv<strides=[2]>(x, w)"),
    "three dimensions": ("x", "[1,2,6,5,4]", (3, 2, 2, 3, 2), "Conv(x, w)"),
    "dense": ("x", "[7,5]", (5, 3), "Gemm<alpha=0.5>(x, w)"),
    "dense turned": ("x", "[7,5]", (3, 5), "Gemm<transB=1,alpha=2.0>(x, w)"),
    "of tokens": ("x", "[2,4,5]", (5, 3), "MatMul(x, w)"),
}


@pytest.mark.parametrize(("name", "shape", "stored", "op"), LAYERS.values(), ids=LAYERS)
def test_a_layer_gives_what_onnx_gives_and_its_adjoints_are_adjoint(  # noqa: PLR0913, PLR0917  # a case
    tmp_path: Path, rng: np.random.Generator, name: str, shape: str, stored: tuple[int, ...], op: str
) -> None:
    arrays = {"w": rng.normal(size=stored).astype(np.float32)}
    path = onnx_text.write(tmp_path / "m.onnx", f"(float{shape} {name}) => (float y) {{ y = {op} }}", arrays)
    model = graph_model.load(path)
    (layer,) = weights_of(model)
    product = Product(layer)
    x = rng.normal(size=[int(one) for one in shape.strip("[]").split(",")]).astype(np.float32)
    made = product.results(x, product.weights)
    assert np.allclose(made, run(model, x), atol=1e-4)
    given, bias = (rng.normal(size=one).astype(np.float32) for one in (made.shape, [made.shape[product.axis]]))
    wanted = pytest.approx(float(np.vdot(made, given)), rel=1e-3, abs=1e-3)
    assert float(np.vdot(x, product.back(given, product.weights, x.shape))) == wanted
    assert float(np.vdot(product.weights, product.weights_back(product.rows(x), given))) == wanted
    shifted = product.biased(np.zeros_like(made), bias)
    assert float(np.vdot(shifted, given)) == pytest.approx(float(bias @ product.bias_back(given)), rel=1e-3, abs=1e-3)


PAIRS = {
    "convolutions": (
        """(float[n,3,6,6] x) => (float[n,4,6,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, v, c)
        }""",
        (3, 6, 6), {"w": (5, 3, 3, 3), "b": (5,), "v": (4, 5, 3, 3), "c": (4,)},
    ),
    "dense, cut off at 6": (
        "(float[n,6] x) => (float[n,3] y) { m = MatMul(x, w) a = Add(m, b) r = Clip(a, low, high) y = Gemm(r, v, c) }",
        (6,), {"w": (6, 8), "b": (8,), "v": (8, 3), "c": (3,)},
    ),
    "tokens": (
        "(float[n,5,6] x) => (float[n,5,3] y) { m = MatMul(x, w) a = Add(m, b) r = Relu(a) y = MatMul(r, v) }",
        (5, 6), {"w": (6, 8), "b": (8,), "v": (8, 3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "size", "shapes"), PAIRS.values(), ids=PAIRS)
def test_a_pair_is_fitted_to_what_another_pair_gives(
    tmp_path: Path, rng: np.random.Generator, text: str, size: tuple[int, ...], shapes: dict[str, tuple[int, ...]]
) -> None:
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    limits = {"low": np.float32(0), "high": np.float32(6)} if "Clip" in text else {}
    there = {name: one + 0.3 * rng.normal(size=one.shape).astype(np.float32) for name, one in arrays.items()}
    path = onnx_text.write(tmp_path / "m.onnx", text, arrays | {key: np.asarray(one) for key, one in limits.items()})
    other = onnx_text.write(tmp_path / "o.onnx", text, there | {key: np.asarray(one) for key, one in limits.items()})
    model, wanted = graph_model.load(path), graph_model.load(other)
    infer_shapes(model)
    found = firsts_of(model, list(weights_of(model)))
    ((second, first),) = found.items()
    pair = Pair(first=Product(first), second=Product(second), inner=6.0 if limits else np.inf, outer=None)
    runs = [_values(model, wanted, rng.normal(size=(16, *size)).astype(np.float32)) for _ in range(16)]
    fitted = fit_pair(pair, runs, rng)
    assert fitted is not None
    assert fitted.after < 0.1 * fitted.before
    pair.first.add(model, fitted.changes.parts[0], fitted.changes.parts[1])
    pair.second.add(model, fitted.changes.parts[2], fitted.changes.parts[3])
    fresh = rng.normal(size=(32, *size)).astype(np.float32)
    before, after = (_error(one, wanted, fresh) for one in (graph_model.load(path), model))
    assert after < 0.15 * before


def _values(model: Any, wanted: Any, x: Any) -> Values:
    import onnx_ir as ir

    from edgekit_converters.graph.oracle import session

    proto = ir.serde.serialize_model(model)
    proto.graph.output.add().name = "a"
    have, between = session(proto).run(None, {"x": x})
    return Values(taken=x, between=between, have=have, wanted=run(wanted, x))


def _error(model: Any, wanted: Any, x: Any) -> float:
    return float(np.mean((run(model, x) - run(wanted, x)) ** 2))


ALONE = {
    "the activation is used elsewhere too": "a = Conv(x, w) r = Relu(a) k = Conv(r, v) y = Add(k, r)",
    "what is before it is, too": "a = Conv(x, w) r = Relu(a) k = Conv(r, v) y = Add(k, a)",
    "the sum before it holds another value": "i = Conv(x, w) a = Add(i, x) r = Relu(a) y = Conv(r, v)",
    "it cuts nothing off": "a = Conv(x, w) r = Sigmoid(a) y = Conv(r, v)",
    "nothing is between them": "a = Conv(x, w) y = Conv(a, v)",
    "the weights are shared": "a = Conv(x, w) r = Relu(a) y = Conv(r, w)",
}


@pytest.mark.parametrize("body", ALONE.values(), ids=ALONE)
def test_layers_that_are_no_pair_are_left_alone(tmp_path: Path, rng: np.random.Generator, body: str) -> None:
    arrays = {name: rng.normal(size=(4, 4, 1, 1)).astype(np.float32) for name in ("w", "v") if f" {name})" in body}
    text = f"(float[n,4,6,6] x) => (float[n,4,6,6] y) {{ {body} }}"
    model = graph_model.load(onnx_text.write(tmp_path / "m.onnx", text, arrays))
    infer_shapes(model)
    assert firsts_of(model, list(weights_of(model))) == {}
