"""Made-up ONNX models to quantize, of many kinds; every function returns a model and its inputs' shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx  # noqa: TID253  # made for tests
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Made = tuple[Any, dict[str, Any]]
"""A model and 24 samples by input name."""


class Net:
    """A model being written: weights are drawn where they are used."""

    def __init__(self, seed: int = 0) -> None:
        """Begin with nothing."""
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, *shape: int, fan: int = 1) -> str:
        return self.constant((self.rng.normal(size=shape) / np.sqrt(fan)).astype(np.float32))

    def constant(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op: str, *takes: str, out: str = "", named: bool = True, **attributes: Any) -> str:
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(takes), [name], name=f"n/{name}" if named else "", **attributes))
        return name

    def conv(self, x: str, out: int, inner: int, kernel: int = 3, group: int = 1, **attributes: Any) -> str:
        weights = self.weight(out, inner // group, kernel, kernel, fan=inner // group * kernel**2)
        pads = [kernel // 2] * 4
        bias = self.constant(self.rng.normal(size=out).astype(np.float32) / 5)
        return self.add("Conv", x, weights, bias, pads=pads, group=group, **attributes)

    def model(
        self,
        inputs: Mapping[str, tuple[int, Sequence[Any]]],
        outputs: Mapping[str, Sequence[Any]],
        opset: int = 17,
        *,
        listed: bool = False,
    ) -> Any:
        sides = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
        if listed:
            sides += [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in self.weights]
        ends = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "net", sides, ends, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if listed else 8)
        onnx.checker.check_model(made)
        return made


def image(rng: np.random.Generator, *shape: int) -> Any:
    return rng.random((24, *shape), dtype=np.float32)


def plain(opset: int = 17, *, listed: bool = False, free: bool = False) -> Made:
    """Convolutions with batch normalization, a residual sum, pooling and a dense layer."""
    net = Net()
    x = net.conv("x", 16, 3)
    stats = [net.constant(one.astype(np.float32)) for one in (net.rng.random(16) + 0.5, net.rng.normal(size=16) / 5)]
    more = [net.constant(one.astype(np.float32)) for one in (net.rng.normal(size=16) / 5, net.rng.random(16) + 0.5)]
    x = net.add("Relu", net.add("BatchNormalization", x, *stats, *more))
    x = net.add("Relu", net.add("Add", x, net.conv(x, 16, 16)))
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    net.add("Gemm", x, net.weight(10, 16, fan=16), net.weight(10), out="y", transB=1)
    batch = "N" if free else 1
    made = net.model({"x": (FLOAT, [batch, 3, 12, 12])}, {"y": [batch, 10]}, opset, listed=listed)
    return made, {"x": image(net.rng, 3, 12, 12)}


def depthwise() -> Made:
    """Depthwise and grouped convolutions, hard-swish, a concatenation, nodes without names."""
    net = Net(1)
    x = net.conv("x", 24, 3)
    y = net.conv(x, 24, 24, group=24)
    y = net.add("Mul", y, net.add("HardSigmoid", y, alpha=1 / 6, beta=0.5), named=False)
    z = net.add("Clip", net.conv(x, 24, 24, group=4), net.constant(np.float32(0)), net.constant(np.float32(6)))
    net.add("Concat", y, z, out="y", named=False, axis=1)
    return net.model({"x": (FLOAT, [1, 3, 16, 16])}, {"y": [1, 48, 16, 16]}), {"x": image(net.rng, 3, 16, 16)}


def dense() -> Made:
    """Gemm with and without a transposed weight, and MatMul, with a sigmoid at the end."""
    net = Net(2)
    x = net.add("Relu", net.add("Gemm", "x", net.weight(128, 40, fan=40), net.weight(128), transB=1))
    x = net.add("Relu", net.add("Gemm", x, net.weight(128, 48, fan=128), net.weight(48)))
    x = net.add("Add", net.add("MatMul", x, net.weight(48, 32, fan=48)), net.weight(32))
    net.add("Sigmoid", x, out="y")
    return net.model({"x": (FLOAT, ["N", 40])}, {"y": ["N", 32]}), {"x": image(net.rng, 40)}


def attention() -> Made:
    """Token ids and a mask through an embedding, one head of attention, layer normalization, a free length."""
    net = Net(3)
    x = net.add("Gather", net.weight(50, 32), "ids", axis=0)
    q, k, v = (net.add("MatMul", x, net.weight(32, 32, fan=32)) for _ in range(3))
    scores = net.add("MatMul", q, net.add("Transpose", k, perm=[0, 2, 1]))
    hidden = net.add("Sub", net.constant(np.float32(1)), net.add("Cast", "mask", to=FLOAT))
    hidden = net.add("Mul", hidden, net.constant(np.float32(-1e4)))
    hidden = net.add("Unsqueeze", hidden, net.constant(np.array([1])))
    scores = net.add("Softmax", net.add("Add", net.add("Mul", scores, net.constant(np.float32(0.18))), hidden), axis=-1)
    x = net.add("Add", x, net.add("MatMul", scores, v))
    ones, zeros = net.constant(np.ones(32, np.float32)), net.constant(np.zeros(32, np.float32))
    net.add("LayerNormalization", x, ones, zeros, out="y", axis=-1)
    made = net.model({"ids": (INT64, ["N", "L"]), "mask": (INT64, ["N", "L"])}, {"y": ["N", "L", 32]})
    ids = net.rng.integers(0, 50, (24, 7))
    mask = (np.arange(7) < net.rng.integers(3, 8, (24, 1))).astype(np.int64)
    return made, {"ids": ids, "mask": mask}


def recurrent() -> Made:
    """An LSTM between two dense layers."""
    net = Net(4)
    x = net.add("MatMul", "x", net.weight(8, 16, fan=8))
    x = net.add("Transpose", x, perm=[1, 0, 2])
    w, r = net.weight(1, 80, 16, fan=16), net.weight(1, 80, 20, fan=20)
    x = net.add("LSTM", x, w, r, hidden_size=20)
    x = net.add("Squeeze", x, net.constant(np.array([1])))
    x = net.add("Transpose", x, perm=[1, 0, 2])
    net.add("MatMul", x, net.weight(20, 12, fan=20), out="y")
    return net.model({"x": (FLOAT, [1, 9, 8])}, {"y": [1, 9, 12]}), {"x": image(net.rng, 9, 8)}


def branches() -> Made:
    """A convolution, then If, both of whose branches multiply."""
    net = Net(5)
    x = net.conv("x", 8, 3)
    flat = net.add("Flatten", net.add("GlobalAveragePool", x))
    mean = net.add("ReduceMean", flat, keepdims=0)
    large = net.add("Greater", mean, net.constant(np.float32(-100)))
    sides = {}
    for side in ("then_branch", "else_branch"):
        inner = numpy_helper.from_array(net.rng.normal(size=(8, 40)).astype(np.float32), "inner")
        node = helper.make_node("MatMul", [flat, "inner"], ["made"], name=side)
        out = helper.make_tensor_value_info("made", FLOAT, [1, 40])
        sides[side] = helper.make_graph([node], side, [], [out], [inner])
    net.add("If", large, out="y", **sides)
    return net.model({"x": (FLOAT, [1, 3, 8, 8])}, {"y": [1, 40]}), {"x": image(net.rng, 3, 8, 8)}


def two_inputs() -> Made:
    """Two inputs and two outputs, one of the inputs an image; one output is taken inside too."""
    net = Net(6)
    x = net.add("Relu", net.conv("image", 8, 3), out="features")
    flat = net.add("Flatten", net.add("GlobalAveragePool", x))
    both = net.add("Concat", flat, "extra", axis=1)
    net.add("Gemm", both, net.weight(13, 30, fan=13), out="y")
    inputs = {"image": (FLOAT, ["N", 3, 8, 8]), "extra": (FLOAT, ["N", 5])}
    made = net.model(inputs, {"features": ["N", 8, 8, 8], "y": ["N", 30]})
    return made, {"image": image(net.rng, 3, 8, 8), "extra": image(net.rng, 5)}


def upsampling() -> Made:
    """A transposed convolution, a resize and a one-dimensional convolution behind it."""
    net = Net(7)
    x = net.add("ConvTranspose", net.conv("x", 8, 3), net.weight(8, 6, 2, 2, fan=8), strides=[2, 2])
    x = net.add("Resize", x, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    x = net.add("Reshape", x, net.constant(np.array([1, 6, -1])))
    net.add("Conv", x, net.weight(4, 6, 5, fan=30), out="y")
    return net.model({"x": (FLOAT, [1, 3, 6, 6])}, {"y": [1, 4, None]}), {"x": image(net.rng, 3, 6, 6)}


def nothing() -> Made:
    """No operator any engine computes on integers."""
    net = Net(8)
    net.add("Exp", net.add("Sin", "x"), out="y")
    return net.model({"x": (FLOAT, ["N", 6])}, {"y": ["N", 6]}), {"x": image(net.rng, 6)}


NETS: Mapping[str, Callable[[], Made]] = {
    "plain": plain,
    "free": lambda: plain(free=True),
    "opset9-listed": lambda: plain(8, listed=True),
    "opset9": lambda: plain(9),
    "opset12": lambda: plain(12),
    "opset23": lambda: plain(23),
    "depthwise": depthwise,
    "dense": dense,
    "attention": attention,
    "recurrent": recurrent,
    "branches": branches,
    "two-inputs": two_inputs,
    "upsampling": upsampling,
}
