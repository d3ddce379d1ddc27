"""Channels scaled between layers: outputs stay, int8 loses less, and what cannot be scaled says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.equalization import Equalized, equalize
from edgekit_converters.graph.oracle import session
from edgekit_converters.graph.plain import make_plain
from tests.converters import onnx_text

pytest.importorskip("onnx")

IMAGE, SOUND, ROW = (16, 4, 6, 6), (16, 4, 9), (16, 4)
SECOND: dict[str, tuple[int, ...]] = {"v": (5, 8, 3, 3)}
FIRST = "a = Conv<pads = [1, 1, 1, 1]>(x, w, b)  "
NETS: dict[str, tuple[tuple[int, ...], str, dict[str, tuple[int, ...]]]] = {
    "nothing": (IMAGE, FIRST + "y = Conv(a, v)", SECOND),
    "relu": (IMAGE, FIRST + "r = Relu(a)  y = Conv(r, v)", SECOND),
    "leaky relu": (IMAGE, FIRST + "r = LeakyRelu<alpha = 0.1>(a)  y = Conv(r, v)", SECOND),
    "prelu": (IMAGE, FIRST + "r = PRelu(a, k)  y = Conv(r, v)", {**SECOND, "k": (8, 1, 1)}),
    "pools and zeros": (
        IMAGE,
        FIRST + "m = MaxPool<kernel_shape = [2, 2]>(a)  p = AveragePool<kernel_shape = [2, 2]>(m)"
        "  z = Pad(p, pads)  y = Conv(z, v)",
        SECOND,
    ),
    "a product and a sum": (
        IMAGE,
        FIRST + "p = Mul(k, a)  s = Add(l, p)  d = Sub(s, k)  y = Conv(d, v)",
        {**SECOND, "k": (1, 8, 1, 1), "l": (1,)},
    ),
    "flattened image": (IMAGE, FIRST + "r = Relu(a)  f = Flatten(r)  y = Gemm(f, v)", {"v": (288, 5)}),
    "reshaped image": (IMAGE, FIRST + "f = Reshape(a, shape)  y = MatMul(f, v)", {"v": (288, 5)}),
    "global mean": (
        IMAGE,
        FIRST + "r = Relu(a)  g = GlobalAveragePool(r)  f = Flatten(g)  y = Gemm<transB = 1>(f, v)",
        {"v": (5, 8)},
    ),
    "mean over axes": (IMAGE, FIRST + "g = ReduceMean<keepdims = 0>(a, axes)  y = MatMul(g, v)", {"v": (8, 5)}),
    "turned to channels last": (
        IMAGE,
        FIRST + "t = Transpose<perm = [0, 2, 3, 1]>(a)  r = Relu(t)  y = MatMul(r, v)",
        {"v": (8, 5)},
    ),
    "to groups": (IMAGE, FIRST + "y = Conv<group = 4>(a, v)", {"v": (12, 2, 3, 3)}),
    "to transposed": (IMAGE, FIRST + "y = ConvTranspose(a, v)", {"v": (8, 3, 3, 3)}),
    "from transposed in groups": (
        IMAGE,
        "a = ConvTranspose<group = 2>(x, w, b)  y = Conv(a, v)",
        {**SECOND, "w": (4, 4, 3, 3)},
    ),
    "sound": (SOUND, "a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v)", {"w": (8, 4, 3), "v": (5, 8, 3)}),
    "rows": (
        ROW,
        "a = MatMul(x, w)  s = Add(a, b)  r = Relu(s)  y = MatMul(r, v)",
        {"w": (4, 8), "v": (8, 5)},
    ),
    "dense": (
        ROW,
        "a = Gemm<beta = 0.5>(x, w, b)  r = Relu(a)  y = Gemm(r, v)",
        {"w": (4, 8), "v": (8, 5)},
    ),
}


def write(path: Path, shape: tuple[int, ...], body: str, shapes: dict[str, Any], rng: np.random.Generator) -> Path:
    """Write a net whose layer `w` makes channels spread over 1000x."""
    spread = 10 ** np.linspace(-1.5, 1.5, 8)
    every = {"w": (8, 4, 3, 3), "b": (8,), **shapes}
    arrays = {name: rng.normal(size=one) for name, one in every.items()}
    at = 1 if arrays["w"].shape[0] == 4 else 0
    if arrays["w"].shape[at] == 8:
        arrays["w"] *= spread.reshape([-1 if axis == at else 1 for axis in range(arrays["w"].ndim)])
    else:
        arrays["w"] *= np.resize(spread, arrays["w"].shape[:2])[:, :, None, None]
    weights = {name: array.astype(np.float32) for name, array in arrays.items()}
    weights |= {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "shape": np.array([0, -1]), "axes": np.array([2, -1])}
    used = {name: array for name, array in weights.items() if any(f"{c}{name}{d}" in body for c in "( " for d in ",)")}
    text = f"(float[{', '.join(map(str, shape))}] x) => (float[] y) {{ {body} }}"
    return onnx_text.write(path, text, used)


def equalized(path: Path, arrays: dict[str, Any] | None) -> tuple[Path, list[Equalized]]:
    model = graph_model.load(path)
    make_plain(model)
    found = equalize(model, arrays, path.parent)
    made = path.with_name("equalized.onnx")
    graph_model.save(model, made)
    return made, found


def ran(path: Path, x: Any) -> Any:
    return session(path).run(None, {"x": x})[0]


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_channels_are_evened_out_and_the_outputs_stay(
    name: str, calibrated: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = write(tmp_path / "net.onnx", *NETS[name], rng)
    x = rng.normal(size=NETS[name][0]).astype(np.float32)
    made, found = equalized(path, {"x": x} if calibrated else None)
    (pair,) = (one for one in found if one.partner)
    assert pair.scaled, pair.why
    assert not calibrated or pair.spread[1] < pair.spread[0] / 4
    np.testing.assert_array_equal(ran(made, x), ran(path, x))  # powers of two round nothing


def int8(array: Any, axis: int | None) -> Any:
    others = tuple(one for one in range(array.ndim) if one != axis)
    step = np.abs(array).max(axis=others, keepdims=True) / 127
    return (np.rint(array / step) * step).astype(np.float32)


def test_int8_loses_less_after_it(tmp_path: Path, rng: np.random.Generator) -> None:
    """An independent simulation: weights a channel, the tensor between with one scale."""
    x = rng.normal(size=(200, 12)).astype(np.float32)
    spread = 10 ** rng.uniform(-1, 1, 32)
    weights = {"w": rng.normal(size=(12, 32)) * spread, "b": rng.normal(size=32) * spread}
    weights["v"] = rng.normal(size=(32, 5)) / spread[:, None]
    text = "(float[200, 12] x) => (float[] y) { a = Gemm(x, w, b)  r = Relu(a)  y = Gemm(r, v) }"
    arrays = {name: one.astype(np.float32) for name, one in weights.items()}
    path = onnx_text.write(tmp_path / "net.onnx", text, arrays)
    made, _ = equalized(path, {"x": x})

    def noise(file: Path) -> float:
        import onnx

        stored = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer}
        w, v, b = stored["w"], stored["v"], next(one for name, one in stored.items() if one.ndim == 1)
        wanted = np.maximum(x @ w + b, 0) @ v
        between = np.maximum(x @ int8(w, 1) + b, 0)
        step = between.max() / 255
        return float(np.sum((np.rint(between / step) * step @ int8(v, 1) - wanted) ** 2) / np.sum(wanted**2))

    assert noise(made) < noise(path) / 30


def test_a_chain_of_depthwise_layers_is_scaled_twice(tmp_path: Path, rng: np.random.Generator) -> None:
    body = "a = Conv(x, w, b)  r = Relu(a)  d = Conv<group = 8>(r, k)  s = Relu(d)  y = Conv(s, v)"
    path = write(tmp_path / "net.onnx", IMAGE, body, {"k": (8, 1, 1, 1), "v": (5, 8, 1, 1)}, rng)
    x = rng.normal(size=IMAGE).astype(np.float32)
    made, found = equalized(path, {"x": x})
    assert [one.scaled for one in found if one.partner] == [True, True]
    np.testing.assert_array_equal(ran(made, x), ran(path, x))


def test_a_clip_leaves_room_below_its_bound(tmp_path: Path, rng: np.random.Generator) -> None:
    body = "a = Conv(x, w, b)  r = Clip(a, low, high)  y = Conv(r, v)"
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    text = f"(float[16, 4, 6, 6] x) => (float[] y) {{ {body} }}"
    spread = 2.0 ** -np.arange(8)[:, None, None, None]
    weights = {"w": rng.normal(size=(8, 4, 3, 3)) * spread, "b": np.zeros(8), "v": rng.normal(size=(5, 8, 3, 3))}
    arrays: dict[str, Any] = {name: one.astype(np.float32) for name, one in weights.items()}
    path = onnx_text.write(tmp_path / "net.onnx", text, {**arrays, **bounds})
    x = rng.normal(size=IMAGE).astype(np.float32)
    made, found = equalized(path, {"x": x})
    (pair,) = (one for one in found if one.partner)
    assert pair.scaled
    np.testing.assert_array_equal(ran(made, x), ran(path, x))
    louder = np.float32(1.9) * x  # the channels that grew had twice the room
    np.testing.assert_array_equal(ran(made, louder), ran(path, louder))
    _, without = equalized(path, None)
    assert next(one.why for one in without if one.partner) == "only calibration data tells whether its Clip is reached"


REFUSED = {
    "hard swish": ("r = HardSwish(a)  y = Conv(r, v)", "op 'HardSwish' (node 'r') between the layers does not keep"),
    "sigmoid": ("r = Sigmoid(a)  y = Conv(r, v)", "op 'Sigmoid' (node 'r') between the layers does not keep a scale"),
    "two users": ("r = Relu(a)  y = Conv(r, v)  z = Add(a, a)", "its result goes to 3 nodes"),
    "an output": ("z = Identity(x)  y = Conv(a, v)", "its result is an output of the model"),
    "pads with ones": (
        "one = Constant<value_float = 1.0>()  r = Pad(a, pads, one)  y = Conv(r, v)",
        "another value than 0",
    ),
    "a computed sum": ("r = Add(a, a)  y = Conv(r, v)", "its result goes to 2 nodes"),
    "cut off below 0": (
        "low = Constant<value_float = -1.0>()  r = Clip(a, low)  y = Conv(r, v)",
        "op 'Clip' (node 'r') cuts off at -1",
    ),
    "channels joined": ("r = Reshape(a, mixed)  y = Conv(r, v)", "op 'Reshape' (node 'r') moves the channels"),
    "softmax": ("r = Softmax<axis = 1>(a)  y = Conv(r, v)", "op 'Softmax' (node 'r') between the layers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scaled_says_why(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    body, why = REFUSED[name]
    outputs = {"two users": "float[] y, float[] z", "an output": "float[] y, float[] z, float[] a"}
    text = f"(float[16, 4, 6, 6] x) => ({outputs.get(name, 'float[] y')}) {{ {FIRST}{body} }}"
    shapes = {"w": (8, 4, 3, 3), "b": (8,), "v": (5, 8, 3, 3)}
    weights: dict[str, Any] = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    weights |= {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "mixed": np.array([0, 8, 6, 6])}
    used = {key: array for key, array in weights.items() if f", {key}" in FIRST + body}
    path = onnx_text.write(tmp_path / "net.onnx", text, used)
    x = rng.normal(size=IMAGE).astype(np.float32)
    made, found = equalized(path, {"x": x})
    assert not any(one.scaled for one in found)
    assert why in found[0].why
    np.testing.assert_array_equal(ran(made, x), ran(path, x))


def test_weights_that_two_layers_share_are_left(tmp_path: Path, rng: np.random.Generator) -> None:
    weights = {"w": rng.normal(size=(4, 4)).astype(np.float32)}
    text = "(float[16, 4] x) => (float[] y) { a = MatMul(x, w)  y = MatMul(a, w) }"
    path = onnx_text.write(tmp_path / "net.onnx", text, weights)
    _, found = equalized(path, {"x": rng.normal(size=ROW).astype(np.float32)})
    assert found[0].why == "its weights are used elsewhere too"


def test_layers_inside_a_branch_are_left(tmp_path: Path, rng: np.random.Generator) -> None:
    text = """(float[16, 4] x, bool given) => (float[] y) { y = If(given) <
        then_branch = p () => (float[16, 4] t) { a = MatMul(x, w)  t = MatMul(a, v) },
        else_branch = q () => (float[16, 4] e) { e = Neg(x) }> }"""
    weights = {name: rng.normal(size=(4, 4)).astype(np.float32) for name in "wv"}
    path = onnx_text.write(tmp_path / "net.onnx", text, weights)
    arrays = {"x": rng.normal(size=ROW).astype(np.float32), "given": np.ones(1, np.bool_)}
    _, found = equalized(path, arrays)
    assert [one.why for one in found] == ["it is inside a branch or loop"] * 2


def test_silent_channels_and_even_ones_are_left(tmp_path: Path, rng: np.random.Generator) -> None:
    weights = {"w": np.zeros((4, 8), np.float32), "b": np.zeros(8, np.float32), "v": np.ones((8, 5), np.float32)}
    text = "(float[16, 4] x) => (float[] y) { a = Gemm(x, w, b)  r = Relu(a)  y = Gemm(r, v) }"
    x = rng.normal(size=ROW).astype(np.float32)
    path = onnx_text.write(tmp_path / "net.onnx", text, weights)
    made, found = equalized(path, {"x": x})
    assert not any(one.scaled for one in found)
    np.testing.assert_array_equal(ran(made, x), ran(path, x))
