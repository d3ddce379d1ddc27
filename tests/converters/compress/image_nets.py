"""Random stacks of what is local in an image, for tests of tiles and cuts."""

from collections.abc import Callable
from typing import Any

import numpy as np

Proto = Any  # onnx's messages have no types
Draw = Callable[[int, int], int]
"""A random whole number between two, both included."""
ACTIVATIONS = ("Relu", "Sigmoid", "HardSwish", "Abs", "Clip", "LeakyRelu")


class Stack:
    """A model written operator after operator; `last` is the value behind, `shape` its channels and sizes."""

    def __init__(self, seed: int, channels: int, sizes: tuple[int, ...], batch: int | str = "batch") -> None:
        """Begin with an input [batch, channels, *sizes]."""
        self.rng = np.random.default_rng(seed)
        self.first: list[int | str] = [batch, channels, *sizes]
        self.shape: tuple[int, ...] = (channels, *sizes)
        self.last = "x"
        self._nodes: list[Proto] = []
        self._stored: list[Proto] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Write an operator on the last value, or on those given, and look what becomes of the shape."""
        from onnx import helper

        name = f"v{len(self._nodes)}"
        node = helper.make_node(op, inputs or (self.last,), [name], f"{op}{len(self._nodes)}", **attributes)
        self._nodes.append(node)
        self.last = name
        made = self.proto().graph.output[-1].type.tensor_type.shape.dim
        self.shape = tuple(one.dim_value for one in made)[1:]
        return name

    def stored(self, array: Any) -> str:
        """Keep an array in the file."""
        from onnx import numpy_helper

        name = f"w{len(self._stored)}"
        self._stored.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def conv(self, channels: int, kernel: tuple[int, ...], *, group: int = 1, bias: bool = True, **how: Any) -> str:
        """Write a convolution with random weights."""
        given = self.shape[0] // group
        weights = self.rng.normal(size=(channels, given, *kernel)) / np.sqrt(given * np.prod(kernel))
        inputs = [self.last, self.stored(weights.astype(np.float32))]
        if bias:
            inputs.append(self.stored(self.rng.normal(size=channels).astype(np.float32)))
        return self.add("Conv", *inputs, group=group, **how)

    def proto(self, opset: int = 17, outputs: tuple[str, ...] = ()) -> Proto:
        """Return the checked model; its outputs are the last value and those named."""
        from onnx import checker, helper, shape_inference

        graph = helper.make_graph(
            self._nodes,
            "g",
            [helper.make_tensor_value_info("x", 1, self.first)],
            [helper.make_tensor_value_info(name, 1, None) for name in (*outputs, self.last)],
            self._stored,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        made = shape_inference.infer_shapes(made, strict_mode=True)
        checker.check_model(made)
        return made

    def image(self, batch: int = 2) -> Any:
        """Return random values for the input."""
        sizes = [one if isinstance(one, int) else batch for one in self.first]
        return self.rng.normal(size=sizes).astype(np.float32)


def grow(stack: Stack, draw: Draw, longest: int) -> None:
    """Write a random number of random operators, one behind the other and in branches."""
    for _ in range(draw(1, longest)):
        (_convolution, _convolution, _pool, _activation, _branch, _padding)[draw(0, 5)](stack, draw)


def _convolution(stack: Stack, draw: Draw) -> None:
    sizes = stack.shape[1:]
    kernel = tuple(draw(1, min(4, size)) for size in sizes)
    apart = [draw(1, 2) if 2 * width - 1 <= size else 1 for width, size in zip(kernel, sizes, strict=True)]
    extents = [(width - 1) * by + 1 for width, by in zip(kernel, apart, strict=True)]
    how: dict[str, Any] = {"strides": [draw(1, 3) for _ in sizes], "dilations": apart}
    if draw(0, 3) == 0:
        how["auto_pad"] = ("SAME_UPPER", "SAME_LOWER", "VALID")[draw(0, 2)]
        how["dilations"] = [1] * len(sizes)  # ONNX Runtime reads it differently for others
    else:
        how["pads"] = [draw(0, extent - 1) for extent in (*extents, *extents)]
    depthwise = draw(0, 1)
    channels, group = (stack.shape[0] * draw(1, 2), stack.shape[0]) if depthwise else (draw(1, 5), 1)
    stack.conv(channels, kernel, group=group, bias=bool(draw(0, 1)), **how)


def _pool(stack: Stack, draw: Draw) -> None:
    kernel = [draw(1, min(3, size)) for size in stack.shape[1:]]
    how: dict[str, Any] = {"kernel_shape": kernel, "strides": [draw(1, 2) for _ in kernel]}
    if draw(0, 1):  # ONNX and ONNX Runtime count places that begin in the padding behind differently
        how |= {"ceil_mode": 1, "strides": [draw(1, width) for width in kernel]}
    else:
        how["pads"] = [draw(0, width // 2) for width in (*kernel, *kernel)]
    if draw(0, 1):
        stack.add("AveragePool", **how, count_include_pad=0 if "ceil_mode" in how else draw(0, 1))
    else:
        stack.add("MaxPool", **how)


def _activation(stack: Stack, draw: Draw) -> None:
    stack.add(ACTIVATIONS[draw(0, len(ACTIVATIONS) - 1)])


def _branch(stack: Stack, draw: Draw) -> None:
    before, half = stack.last, draw(0, 1)
    rank = len(stack.shape) - 1
    side = stack.conv(stack.shape[0], (2 * half + 1,) * rank, pads=[half] * 2 * rank)
    if draw(0, 1):
        stack.add(("Add", "Mul")[draw(0, 1)], side, before)
    else:
        stack.add("Concat", before, side, axis=1)


def _padding(stack: Stack, draw: Draw) -> None:
    rank = len(stack.shape) - 1
    amounts = np.asarray([0, 0, *(draw(0, 2) for _ in range(rank))] * 2, np.int64)
    stack.add("Pad", stack.last, stack.stored(amounts), stack.stored(np.float32(0.5)))
