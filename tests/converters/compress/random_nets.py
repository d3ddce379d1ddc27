"""Random nets for rewrite rules: images or matrices that go through random ops, with branches and early outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

Shape = tuple[int, ...]


class Drawn:
    """A net being drawn: nodes, weights, and the values so far with their shapes."""

    def __init__(self, draw: Any, shape: Shape) -> None:
        """Begin with an input."""
        import onnx

        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.shapes: dict[str, Shape] = {"x": shape}
        self._helper = onnx.helper

    def pick(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def flip(self) -> bool:
        return bool(self.draw(st.booleans()))

    def floats(self, *shape: int, positive: bool = False) -> str:
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        array = self.rng.normal(size=shape) / np.sqrt(max(fan, 1))
        return self.store((np.abs(array) + 0.5 if positive else array).astype(np.float32))

    def store(self, array: Any) -> str:
        import onnx

        name = f"w{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, kind: str, takes: list[str], shape: Shape, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, takes, [name], f"n{len(self.nodes)}", **attributes))
        self.shapes[name] = shape
        return name

    def made(self, last: str, opset: int) -> Any:
        """Return the model: the last value is an output, and with luck another one."""
        import onnx

        others = [name for name in self.shapes if name not in {"x", last}]
        outputs = [last, *([self.pick(*others)] if others and self.draw(st.integers(0, 3)) == 0 else [])]
        sides = [
            self._helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, self.shapes[name])
            for name in ("x", *outputs)
        ]
        graph = self._helper.make_graph(self.nodes, "g", sides[:1], sides[1:], self.weights)
        model = self._helper.make_model(graph, opset_imports=[self._helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


Step = Callable[[Drawn, str], "str | None"]
"""Adds nodes behind a value and returns the last one, or None where it does not fit."""


@st.composite
def nets(draw: Any, steps: tuple[Step, ...], shape: Shape = (2, 4, 8, 8), opset: int = 18, longest: int = 7) -> Any:
    """Draw a net: steps behind each other, some of them from an earlier value, then added."""
    net = Drawn(draw, shape)
    at = "x"
    for step in draw(st.lists(st.sampled_from(steps), min_size=2, max_size=longest)):
        begin = at if draw(st.integers(0, 4)) else net.pick(*net.shapes)
        after = step(net, begin)
        if after is None:
            continue
        joined = begin != at and net.shapes[after] == net.shapes[at]
        at = net.add("Add", [at, after], net.shapes[at]) if joined else after
    if at == "x":
        at = net.add("Neg", ["x"], shape)
    return net.made(at, opset)


def conv(net: Drawn, x: str) -> str | None:
    """A convolution of any kernel, stride, padding and groups, with a bias or without."""
    shape = net.shapes[x]
    if len(shape) != 4:
        return None
    kernel, stride = net.pick(1, 1, 3, 2), net.pick(1, 1, 2)
    groups = net.pick(1, 1, shape[1] if shape[1] % 2 == 0 else 1, 2 if shape[1] % 2 == 0 else 1)
    out = groups * net.pick(1, 2, 3)
    pads = [net.pick(0, kernel // 2) for _ in range(4)]
    sizes = [(shape[at + 2] + pads[at] + pads[at + 2] - kernel) // stride + 1 for at in (0, 1)]
    if min(sizes) < 1:
        return None
    takes = [x, net.floats(out, shape[1] // groups, kernel, kernel)] + ([net.floats(out)] if net.flip() else [])
    shape = (shape[0], out, *sizes)
    return net.add("Conv", takes, shape, group=groups, pads=pads, strides=[stride, stride])


def transposed(net: Drawn, x: str) -> str | None:
    """A transposed convolution, with groups or without."""
    shape = net.shapes[x]
    if len(shape) != 4 or max(shape) > 16:
        return None
    groups = net.pick(1, 2) if shape[1] % 2 == 0 else 1
    takes = [x, net.floats(shape[1], 2, 2, 2), *([net.floats(2 * groups)] if net.flip() else [])]
    made = (shape[0], 2 * groups, 2 * shape[2], 2 * shape[3])
    return net.add("ConvTranspose", takes, made, group=groups, strides=[2, 2])


def dense(net: Drawn, x: str) -> str | None:
    """A Gemm or MatMul."""
    shape, out = net.shapes[x], net.pick(2, 3, 5)
    if len(shape) == 2 and net.flip():
        turned = net.flip()
        weights = net.floats(*((out, shape[1]) if turned else (shape[1], out)))
        takes = [x, weights, *([net.floats(*net.pick((out,), (1, out), (1,)))] if net.flip() else [])]
        factors = {"alpha": net.pick(1.0, 0.5), "beta": net.pick(1.0, 2.0)}
        return net.add("Gemm", takes, (shape[0], out), transB=int(turned), **factors)
    return net.add("MatMul", [x, net.floats(shape[-1], out)], (*shape[:-1], out))


def affine(net: Drawn, x: str) -> str:
    """A scale or shift by a number, a number a channel, or any constant."""
    shape = net.shapes[x]
    kind, wide = net.pick("Mul", "Div", "Add", "Sub"), net.pick("one", "channel", "last", "all")
    channels = [1] * len(shape)
    channels[1] = shape[1]
    extents: dict[str, tuple[int, ...]] = {"one": (), "channel": tuple(channels), "last": shape[-1:], "all": shape}
    constant = net.floats(*extents[wide], positive=True)
    left = kind in {"Mul", "Add", "Sub"} and net.flip()
    return net.add(kind, [constant, x] if left else [x, constant], shape)


def norm(net: Drawn, x: str) -> str:
    """A batch normalisation."""
    shape = net.shapes[x]
    takes = [x, *(net.floats(shape[1], positive=one) for one in (False, False, False, True))]
    return net.add("BatchNormalization", takes, shape)


def nothing(net: Drawn, x: str) -> str:
    """What changes nothing."""
    shape = net.shapes[x]
    kind = net.pick("Identity", "Dropout", "Mul", "Add", "Transpose", "Reshape", "Concat", "Sum")
    takes = [x]
    if kind in {"Mul", "Add"}:
        takes.append(net.store(np.float32(kind == "Mul")))
    if kind == "Reshape":
        takes.append(net.store(np.array(shape)))
    order, axis = {"perm": list(range(len(shape)))}, {"axis": 0}
    more: dict[str, Any] = order if kind == "Transpose" else axis if kind == "Concat" else {}
    return net.add(kind, takes, shape, **more)


def bound(net: Drawn, x: str) -> str:
    """Bounds, or what has bounds by itself."""
    shape = net.shapes[x]
    kind = net.pick("Relu", "Clip", "Max", "Min", "Sigmoid", "Tanh")
    if kind == "Clip":
        low, high = sorted(net.rng.normal(size=2))
        low, high = (net.store(np.float32(one)) if net.flip() else "" for one in (low, high))
        return net.add(kind, [x, low, high] if high else [x, low] if low else [x], shape)
    takes = [x, net.store(np.float32(net.rng.normal()))] if kind in {"Max", "Min"} else [x]
    return net.add(kind, takes, shape)


def moved(net: Drawn, x: str) -> str:
    """A Transpose."""
    shape = net.shapes[x]
    order = [int(one) for one in net.rng.permutation(len(shape))]
    return net.add("Transpose", [x], tuple(shape[at] for at in order), perm=order)


def reshaped(net: Drawn, x: str) -> str:
    """A Reshape, Flatten or Unsqueeze."""
    shape = net.shapes[x]
    kind = net.pick("Reshape", "Flatten", "Unsqueeze")
    if kind == "Flatten":
        return net.add(kind, [x], (shape[0], int(np.prod(shape[1:]))))
    if kind == "Unsqueeze":
        return net.add(kind, [x, net.store(np.array([1]))], (shape[0], 1, *shape[1:]))
    target = (shape[0], -1) if net.flip() else (0, shape[1], -1)[: max(2, len(shape) - 1)]
    if len(target) == 3:
        return net.add(kind, [x, net.store(np.array(target))], (*shape[:2], int(np.prod(shape[2:]))))
    return net.add(kind, [x, net.store(np.array([shape[0], -1]))], (shape[0], int(np.prod(shape[1:]))))


def padded(net: Drawn, x: str) -> str | None:
    """A Pad with zeros or ones, mostly of the image's sides."""
    shape = net.shapes[x]
    if len(shape) != 4 or max(shape) > 16:
        return None
    sides = [net.pick(0, 1, 1) for _ in range(4)]
    pads = [0, net.pick(0, 0, 0, 1), *sides[:2], 0, 0, *sides[2:]]
    made = (shape[0], shape[1] + pads[1], shape[2] + sides[0] + sides[2], shape[3] + sides[1] + sides[3])
    takes = [x, net.store(np.array(pads)), *([net.store(np.float32(net.pick(0, 0, 1)))] if net.flip() else [])]
    return net.add("Pad", takes, made)


def pooled(net: Drawn, x: str) -> str | None:
    """A pooling."""
    shape = net.shapes[x]
    if len(shape) != 4 or min(shape[2:]) < 2:
        return None
    stride, pads = net.pick(1, 2), [net.pick(0, 0, 1) for _ in range(4)]
    sizes = [(shape[at + 2] + pads[at] + pads[at + 2] - 2) // stride + 1 for at in (0, 1)]
    how: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [stride, stride], "pads": pads}
    kind = net.pick("MaxPool", "AveragePool")
    if kind == "AveragePool":
        how["count_include_pad"] = int(net.flip())
    return net.add(kind, [x], (*shape[:2], *sizes), **how)
