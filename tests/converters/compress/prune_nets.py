"""Random image nets of many operators for the pruning tests, grown value by value."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgekit_converters.compress.figures import infer_shapes

Draw = Callable[[Any], Any]
SIZE, BATCH = 6, 2
_LISTS_ARE_INPUTS, _REDUCED_AXES_ARE_INPUTS = 13, 18  # opsets


def run(model: Any, samples: Any) -> Any:
    """Return the first output of a model with one input, by ONNX Runtime."""
    import onnx_ir as ir

    from edgekit_converters.graph.oracle import session

    proto = ir.serde.serialize_model(model)
    return session(proto).run(None, {proto.graph.input[0].name: samples})[0]


class Net:
    """A graph that grows; every value is an image [N, channels, SIZE, SIZE]."""

    def __init__(self, opset: int, seed: int, *, free: bool = False) -> None:
        """Begin with a convolution; `free` leaves the batch open."""
        self.opset, self.free, self.rng = opset, free, np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}
        self.channels: dict[str, int] = {}
        self.add(self.convolution("x", 3, 6), 6)

    def grow(self, draw: Draw) -> None:
        """Put one part more behind values that are there."""
        name = draw(st.sampled_from(list(self.channels)))
        part = draw(st.sampled_from(PARTS))
        part(self, draw, name, self.channels[name])

    def finished(self, draw: Draw) -> Any:
        """Return the model, its result made of the last value or of another one."""
        import onnx_ir as ir
        from onnx import TensorProto, helper, numpy_helper

        name = draw(st.sampled_from(list(self.channels)[-2:]))
        result = draw(st.sampled_from(ENDS))(self, name, self.channels[name])
        outputs = [result, *([draw(st.sampled_from(list(self.channels)))] if draw(st.booleans()) else [])]
        shape = ["n" if self.free else BATCH, 3, SIZE, SIZE]
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in dict.fromkeys(outputs)],
            [numpy_helper.from_array(array, key) for key, array in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = ir.serde.deserialize_model(helper.make_model(graph, opset_imports=opsets, ir_version=8))
        infer_shapes(model)
        return model

    def samples(self) -> Any:
        return np.random.default_rng(1).normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32)

    def add(self, name: str, channels: int) -> None:
        self.channels[name] = channels

    def node(self, op: str, *inputs: str, count: int = 1, **attributes: Any) -> str:
        from onnx import helper

        names = [f"{op.lower()}_{len(self.nodes)}{'abc'[at] if at else ''}" for at in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"node_{names[0]}", **attributes))
        return names[0]

    def stored(self, array: Any) -> str:
        name = f"stored_{len(self.weights)}"
        self.weights[name] = np.asarray(array, np.int64 if np.asarray(array).dtype.kind == "i" else np.float32)
        return name

    def random(self, *shape: int) -> str:
        return self.stored(self.rng.normal(size=shape))

    def convolution(self, name: str, inputs: int, outputs: int, groups: int = 1) -> str:
        kernel = int(self.rng.choice([1, 3]))
        bias = [self.random(outputs)] if self.rng.random() < 0.7 else []
        weights = self.random(outputs, inputs // groups, kernel, kernel)
        return self.node("Conv", name, weights, *bias, group=groups, pads=[kernel // 2] * 4)

    def reshaped(self, name: str, *shape: int) -> str:
        """Reshape [N, ...] to [N, shape...]; the batch is copied or left to be found."""
        batch = 0 if self.rng.random() < 0.5 else -1
        return self.node("Reshape", name, self.stored([batch, *shape]))

    def reduced(self, name: str, axes: list[int], keepdims: int) -> str:
        if self.opset >= _REDUCED_AXES_ARE_INPUTS:
            return self.node("ReduceMean", name, self.stored(axes), keepdims=keepdims)
        return self.node("ReduceMean", name, axes=axes, keepdims=keepdims)


def _convolution(net: Net, draw: Draw, name: str, channels: int) -> None:
    outputs = draw(st.integers(2, 6))
    net.add(net.convolution(name, channels, outputs), outputs)


def _grouped(net: Net, draw: Draw, name: str, channels: int) -> None:
    groups = draw(st.sampled_from([one for one in range(1, channels + 1) if channels % one == 0]))
    outputs = groups * draw(st.integers(1, 2))
    net.add(net.convolution(name, channels, outputs, groups), outputs)


def _transposed(net: Net, draw: Draw, name: str, channels: int) -> None:
    groups = draw(st.sampled_from([one for one in range(1, channels + 1) if channels % one == 0]))
    each = draw(st.integers(1, 3))
    weights = net.random(channels, each, 3, 3)
    made = net.node("ConvTranspose", name, weights, net.random(groups * each), group=groups, pads=[1] * 4)
    net.add(made, groups * each)


def _unary(net: Net, draw: Draw, name: str, channels: int) -> None:
    op = draw(st.sampled_from(["Relu", "Sigmoid", "LeakyRelu", "Tanh", "Elu", "HardSigmoid", "Identity"]))
    net.add(net.node(op, name), channels)


def _norm(net: Net, draw: Draw, name: str, channels: int) -> None:
    given = [net.random(channels), net.random(channels)]
    if draw(st.booleans()):
        net.add(net.node("InstanceNormalization", name, *given), channels)
    else:
        variance = net.stored(net.rng.random(channels) + 0.5)
        net.add(net.node("BatchNormalization", name, *given, net.random(channels), variance), channels)


def _scaled(net: Net, draw: Draw, name: str, channels: int) -> None:
    op = draw(st.sampled_from(["Mul", "Add", "Sub", "PRelu", "Max"]))
    shape = draw(st.sampled_from([(channels, 1, 1), (1, channels, 1, 1), (1,), (SIZE,), (channels, SIZE, 1)]))
    net.add(net.node(op, name, net.random(*shape)), channels)


def _clipped(net: Net, draw: Draw, name: str, channels: int) -> None:  # noqa: ARG001  # the table's
    net.add(net.node("Clip", name, net.stored(np.float32(-0.5)), net.stored(np.float32(2.0))), channels)


def _residual(net: Net, draw: Draw, name: str, channels: int) -> None:
    same = [one for one, count in net.channels.items() if count == channels and one != name]
    other = draw(st.sampled_from(same)) if same else net.convolution(name, channels, channels)
    net.add(net.node("Add", other, name), channels)


def _joined(net: Net, draw: Draw, name: str, channels: int) -> None:
    other = draw(st.sampled_from(list(net.channels)))
    net.add(net.node("Concat", name, other, axis=draw(st.sampled_from([1, -3]))), channels + net.channels[other])


def _split(net: Net, draw: Draw, name: str, channels: int) -> None:
    if channels > 1:
        first = draw(st.integers(1, channels - 1))
        sizes = [first, channels - first]
        if net.opset >= _LISTS_ARE_INPUTS:
            made = net.node("Split", name, net.stored(sizes), count=2, axis=1)
        else:
            made = net.node("Split", name, count=2, axis=1, split=sizes)
        net.add(made, sizes[0])
        net.add(f"{made}b", sizes[1])


def _part(net: Net, draw: Draw, name: str, channels: int) -> None:
    begin = draw(st.integers(0, channels - 1))
    end = draw(st.integers(begin + 1, channels))
    given = [net.stored([one]) for one in (begin, end if end < channels else 2**31, 1)]
    net.add(net.node("Slice", name, *given), end - begin)


def _padded(net: Net, draw: Draw, name: str, channels: int) -> None:
    before, behind = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    pads = [0, before, 0, 0, 0, behind, 0, 0]
    filled = [net.stored(np.float32(0.5))] if draw(st.booleans()) else []
    net.add(net.node("Pad", name, net.stored(pads), *filled), before + channels + behind)


def _picked(net: Net, draw: Draw, name: str, channels: int) -> None:
    which = draw(st.lists(st.integers(-channels, channels - 1), min_size=1, max_size=8))
    net.add(net.node("Gather", name, net.stored(which), axis=1), len(which))


def _pooled(net: Net, draw: Draw, name: str, channels: int) -> None:
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    net.add(net.node(op, name, kernel_shape=[3, 3], pads=[1] * 4), channels)


def _resized(net: Net, draw: Draw, name: str, channels: int) -> None:  # the table's
    half = net.node("MaxPool", name, kernel_shape=[2, 2], strides=[2, 2])
    nothing = net.stored(np.zeros(0, np.float32))
    if net.free or draw(st.booleans()):
        given = [nothing, net.stored([1.0, 1.0, 2.0, 2.0])]
    else:
        given = [nothing, nothing, net.stored([BATCH, channels, SIZE, SIZE])]
    net.add(net.node("Resize", half, *given), channels)


def _flat(net: Net, draw: Draw, name: str, channels: int) -> None:
    flat = net.reshaped(name, channels, SIZE * SIZE)
    if draw(st.booleans()):
        outputs = draw(st.integers(2, 5))
        flat, channels = net.node("MatMul", net.random(outputs, channels), flat), outputs
    net.add(net.reshaped(net.node("Relu", flat), channels, SIZE, SIZE), channels)


def _channels_last(net: Net, draw: Draw, name: str, channels: int) -> None:
    last = net.node("Transpose", name, perm=[0, 2, 3, 1])
    outputs = draw(st.integers(2, 5))
    flat = net.reshaped(last, SIZE * SIZE * channels) if draw(st.booleans()) else last
    if flat != last:
        last = net.reshaped(flat, SIZE, SIZE, channels)
    made = net.node("Add", net.node("MatMul", last, net.random(channels, outputs)), net.random(outputs))
    net.add(net.node("Transpose", made, perm=[0, 3, 1, 2]), outputs)


def _gated(net: Net, draw: Draw, name: str, channels: int) -> None:  # the table's
    mean = net.node("GlobalAveragePool", name) if draw(st.booleans()) else net.reduced(name, [2, 3], 1)
    gate = net.node("Sigmoid", net.convolution(mean, channels, channels))
    net.add(net.node("Mul", gate, name), channels)


def _across(net: Net, draw: Draw, name: str, channels: int) -> None:
    net.add(net.node("Softmax", name, axis=draw(st.sampled_from([1, 3]))), channels)


def _shuffled(net: Net, draw: Draw, name: str, channels: int) -> None:
    groups = draw(st.sampled_from([one for one in range(1, channels + 1) if channels % one == 0]))
    apart = net.reshaped(name, groups, channels // groups, SIZE, SIZE)
    turned = net.node("Transpose", apart, perm=[0, 2, 1, 3, 4])
    net.add(net.reshaped(turned, channels, SIZE, SIZE), channels)


PARTS = (
    _convolution, _convolution, _convolution, _grouped, _transposed, _unary, _unary, _norm, _scaled, _clipped,
    _residual, _residual, _joined, _split, _part, _padded, _picked, _pooled, _resized, _flat, _channels_last, _gated,
    _across, _shuffled,
)  # fmt: skip


def _end_convolution(net: Net, name: str, channels: int) -> str:
    return net.convolution(name, channels, 3)


def _end_flat(net: Net, name: str, channels: int) -> str:
    columns = channels * SIZE * SIZE
    return net.node("Gemm", net.node("Flatten", name), net.random(4, columns), net.random(4), transB=1, alpha=0.5)


def _end_product(net: Net, name: str, channels: int) -> str:
    columns = channels * SIZE * SIZE
    return net.node("MatMul", net.reshaped(name, columns), net.random(columns, 4))


def _end_mean(net: Net, name: str, channels: int) -> str:
    hidden = net.node("Gemm", net.reduced(name, [2, 3], 0), net.random(channels, 7), net.random(7))
    return net.node("Gemm", net.node("Relu", hidden), net.random(7, 4))


ENDS = (_end_convolution, _end_flat, _end_product, _end_mean)
