"""Small nets of many forms to quantize, with weights drawn like trained ones, and samples for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.converters import onnx_text

Draw = Callable[..., Any]

_CONV = "kernel_shape=[3,3], pads=[1,1,1,1]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """An ONNX model as text, the shapes of its weights, and those of its inputs for one sample."""

    text: str
    weights: Mapping[str, tuple[int, ...]]
    inputs: Mapping[str, tuple[int, ...]]

    def write(self, folder: Path, name: str) -> Path:
        """Write it with weights that keep the values' spread (He's)."""
        rng = np.random.default_rng(11)
        return onnx_text.write(
            folder / f"{name}.onnx", self.text, {k: _drawn(k, v, rng) for k, v in self.weights.items()}
        )

    def samples(self, count: int, seed: int = 0) -> dict[str, Any]:
        """Return normal samples [count, ...] by input name."""
        rng = np.random.default_rng(seed)
        return {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in self.inputs.items()}


# weights that are not drawn
_FIXED: Mapping[str, Any] = {
    "low": np.float32(0), "high": np.float32(6), "hundred": np.float32(100), "scale": np.float32(32**-0.5),
    "zero": np.float32(0), "axis": np.array([0], np.int64), "gain": np.ones(32, np.float32),
}  # fmt: skip


def _drawn(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    if name in _FIXED:
        return _FIXED[name]
    if name.startswith("b"):
        return 0.1 * rng.normal(size=shape).astype(np.float32)
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    return (rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)


IMAGE = {"image": (3, 12, 12)}
NETS: Mapping[str, Net] = {
    "conv": Net(
        text=f"""(float[1,3,12,12] image) => (scores) {{
            a = Conv<{_CONV}>(image, w1, b1) ra = Relu(a)
            p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(ra)
            c = Conv<{_CONV}>(p, w2, b2) rc = Relu(c)
            g = GlobalAveragePool(rc) f = Flatten(g) scores = Gemm(f, w3, b3) }}""",
        weights={"w1": (16, 3, 3, 3), "b1": (16,), "w2": (32, 16, 3, 3), "b2": (32,), "w3": (32, 10), "b3": (10,)},
        inputs=IMAGE,
    ),
    "dense": Net(
        text="""(float[N,64] x) => (y) { a = Gemm(x, w1, b1) r = Relu(a) c = Gemm(r, w2, b2) t = Tanh(c)
            y = Gemm(t, w3, b3) }""",
        weights={"w1": (64, 128), "b1": (128,), "w2": (128, 64), "b2": (64,), "w3": (64, 10), "b3": (10,)},
        inputs={"x": (64,)},
    ),
    "depthwise": Net(
        text=f"""(float[N,3,12,12] image) => (scores) {{
            a = Conv<{_CONV}>(image, w1, b1) ra = Clip(a, low, high)
            d = Conv<{_CONV}, group=16>(ra, w2, b2) rd = Clip(d, low, high)
            p = Conv(rd, w3, b3) g = GlobalAveragePool(p) f = Flatten(g) scores = Gemm(f, w4, b4) }}""",
        weights={
            "w1": (16, 3, 3, 3),
            "b1": (16,),
            "w2": (16, 1, 3, 3),
            "b2": (16,),
            "w3": (32, 16, 1, 1),
            "b3": (32,),
            "w4": (32, 10),
            "b4": (10,),
            "low": (),
            "high": (),
        },
        inputs=IMAGE,
    ),
    "residual": Net(
        text=f"""(float[1,3,12,12] image) => (scores) {{
            a = Conv<{_CONV}>(image, w1, b1) ra = Relu(a)
            c = Conv<{_CONV}>(ra, w2) rc = Relu(c) e = Conv<{_CONV}>(rc, w3, b3)
            s = Add(e, ra) rs = Relu(s)
            g = GlobalAveragePool(rs) f = Flatten(g) scores = Gemm(f, w4, b4) }}""",
        weights={
            "w1": (16, 3, 3, 3),
            "b1": (16,),
            "w2": (16, 16, 3, 3),
            "w3": (16, 16, 3, 3),
            "b3": (16,),
            "w4": (16, 10),
            "b4": (10,),
        },
        inputs=IMAGE,
    ),
    "heads": Net(
        text=f"""(float[1,3,12,12] image) => (boxes) {{
            a = Conv<{_CONV}>(image, w1, b1) ra = Relu(a)
            c = Conv(ra, w2, b2) large = Mul(c, hundred)
            d = Conv(ra, w3, b3) small = Sigmoid(d)
            boxes = Concat<axis=1>(large, small) }}""",
        weights={
            "w1": (16, 3, 3, 3),
            "b1": (16,),
            "w2": (4, 16, 1, 1),
            "b2": (4,),
            "w3": (6, 16, 1, 1),
            "b3": (6,),
            "hundred": (),
        },
        inputs=IMAGE,
    ),
    "hardswish": Net(
        text=f"""(float[1,3,12,12] image) => (scores) {{
            a = Conv<{_CONV}>(image, w1, b1) ha = HardSwish(a)
            c = Conv<{_CONV}>(ha, w2, b2) hc = HardSwish(c)
            g = GlobalAveragePool(hc) f = Flatten(g) scores = Gemm(f, w3, b3) }}""",
        weights={"w1": (16, 3, 3, 3), "b1": (16,), "w2": (32, 16, 3, 3), "b2": (32,), "w3": (32, 10), "b3": (10,)},
        inputs=IMAGE,
    ),
    "attention": Net(
        text="""(float[1,8,32] x) => (y) {
            q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
            kt = Transpose<perm=[0,2,1]>(k) s = MatMul(q, kt) ss = Mul(s, scale) p = Softmax<axis=-1>(ss)
            m = MatMul(p, v) o = MatMul(m, wo) r = Add(o, x) y = LayerNormalization<axis=-1>(r, gain, bias) }""",
        weights={
            "wq": (32, 32),
            "wk": (32, 32),
            "wv": (32, 32),
            "wo": (32, 32),
            "scale": (),
            "gain": (32,),
            "bias": (32,),
        },
        inputs={"x": (8, 32)},
    ),
    "lstm": Net(
        text="""(float[6,1,16] x) => (y) {
            h, last, cell = LSTM<hidden_size=24>(x, w, r, b) s = Squeeze(last, axis) y = Gemm(s, w2, b2) }""",
        weights={"w": (1, 96, 16), "r": (1, 96, 24), "b": (1, 192), "w2": (24, 5), "b2": (5,), "axis": ()},
        inputs={"x": (6, 1, 16)},
    ),
    "gru": Net(
        text="""(float[6,1,16] x) => (y) {
            h, last = GRU<hidden_size=24, linear_before_reset=1>(x, w, r, b) s = Squeeze(last, axis)
            y = Gemm(s, w2, b2) }""",
        weights={"w": (1, 72, 16), "r": (1, 72, 24), "b": (1, 144), "w2": (24, 5), "b2": (5,), "axis": ()},
        inputs={"x": (6, 1, 16)},
    ),
    "two_inputs": Net(
        text="""(float[N,32] a, float[N,16] b) => (sum, product) {
            c = Gemm(a, w1, b1) d = Gemm(b, w2, b2) s = Add(c, d) r = Relu(s) sum = Gemm(r, w3, b3)
            m = Mul(c, d) product = Gemm(m, w4, b4) }""",
        weights={
            "w1": (32, 48),
            "b1": (48,),
            "w2": (16, 48),
            "b2": (48,),
            "w3": (48, 7),
            "b3": (7,),
            "w4": (48, 3),
            "b4": (3,),
        },
        inputs={"a": (32,), "b": (16,)},
    ),
    "branches": Net(
        text="""(float[1,32] x) => (y) {
            c = Gemm(x, w1, b1) total = ReduceSum<keepdims=0>(c) positive = Greater(total, zero)
            d = If(positive) <
                then_branch = yes () => (float[1,32] t) { t1 = Gemm(c, w2, b2) t = Relu(t1) },
                else_branch = no () => (float[1,32] e) { e1 = Gemm(c, w3, b3) e = Tanh(e1) } >
            y = Gemm(d, w4, b4) }""",
        weights={
            "w1": (32, 32),
            "b1": (32,),
            "w2": (32, 32),
            "b2": (32,),
            "w3": (32, 32),
            "b3": (32,),
            "w4": (32, 4),
            "b4": (4,),
            "zero": (),
        },
        inputs={"x": (32,)},
    ),
}
