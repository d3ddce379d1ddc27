"""Broken ONNX files: small whole models of many kinds, and changes to what their parts say."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

byte_mutants = importlib.import_module("byte_mutants")  # it lies beside this file, which is no package

Random = np.random.Generator
Model = Any  # an onnx.ModelProto
SAMPLE = (3, 8, 8)
"""The shape of what the first source takes one of."""
HUGE = (0, -1, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63), 7)

# Texts, and the shapes of what they take as weights.
_TEXTS: tuple[tuple[str, dict[str, tuple[int, ...]]], ...] = (
    (
        """<ir_version: 8, opset_import: ["": 13]> g (float[N, 3, 8, 8] image) => (float[N, 4] scores) {
        a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(image, w, b)  r = Relu(a)
        p = MaxPool<kernel_shape = [2, 2], ceil_mode = 1>(r)  g1 = GlobalAveragePool(p)  scores = Flatten(g1) }""",
        {"w": (4, 3, 3, 3), "b": (4,)},
    ),
    (
        """<ir_version: 8, opset_import: ["": 17]> g (float[1, 5, 6] x) => (float[1, 5, 4] y, int64[1, 5, 1] best) {
        m = MatMul(x, w)  n = LayerNormalization<axis = -1>(m, b)  y = Softmax<axis = -1>(n)
        k = Constant<value_ints = [1]>()  top, best = TopK<axis = -1>(y, k) }""",
        {"w": (6, 4), "b": (4,)},
    ),
    (
        """<ir_version: 8, opset_import: ["": 14]> g (float[5, 1, 3] x) => (float[5, 1, 1, 4] y, float[1, 1, 4] h) {
        y, h, c = LSTM<hidden_size = 4>(x, w, r) }""",
        {"w": (1, 16, 3), "r": (1, 16, 4)},
    ),
    (
        """<ir_version: 8, opset_import: ["": 13]> g (float[1, 4, 6, 6] x) => (float[d0, d1, d2, d3] y)
        <float[4] scales = {1, 1, 2, 2}, int64[2] begin = {0, 1}, int64[2] end = {4, 3}, int64[2] axes = {0, 1}> {
        r = Resize<mode = "linear">(x,, scales)  s = Slice(r, begin, end, axes)  h = Shape(s)
        q = Reshape(s, h)  t = Transpose<perm = [0, 2, 3, 1]>(q)
        one, two = Split<axis = 1>(t)  y = Concat<axis = -1>(one, two) }""",
        {},
    ),
    (
        """<ir_version: 8, opset_import: ["": 16]> g (float[1, 3] x) => (float[1, 3] y)
        <int64 count = {3}, bool go = {1}> {
        z = Loop(count, go, x) <body = s (int64 i, bool c, float[1, 3] v) => (bool d, float[1, 3] n)
            { d = Identity(c)  n = Neg(v) }>
        y = If(go) <then_branch = a () => (float[1, 3] o) { o = Abs(z) }, else_branch = e () => (float[1, 3] o)
            { o = Exp(z) }> }""",
        {},
    ),
    (
        """<ir_version: 9, opset_import: ["": 18, "own": 1]> g (float[1, 3] x) => (float[1, 3] y)
        <int64[1] axes = {1}> { m = ReduceMean<keepdims = 1>(x, axes)  d = Sub(x, m)  y = own.twice(d) }
        <domain: "own", opset_import: ["": 18]> twice (x) => (y) { y = Add(x, x) }""",
        {},
    ),
)


def sources(more: list[bytes]) -> list[bytes]:
    """Return whole small models, their weights seeded, and those given."""
    import onnx

    rng = np.random.default_rng(1)
    models = []
    for text, weights in _TEXTS:
        model = onnx.parser.parse_model(text)
        for name, shape in weights.items():
            array = rng.normal(size=shape).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        models.append(model.SerializeToString())
    return [*models, *more]


def mutants(seed: int, count: int, more: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of broken models: in turn a change of the structure and one of the bytes."""
    import onnx

    rng, whole = np.random.default_rng(seed), sources(more)
    for number in range(count):
        data = whole[int(rng.integers(len(whole)))]
        if number % 4 == 3:
            change = _one(rng, [*byte_mutants.CHANGES, _deep])
            yield f"{number}-{change.__name__.strip('_')}", change(rng, data)
            continue
        model, names = onnx.ModelProto.FromString(data), []
        for _ in range(int(rng.choice([1, 1, 2]))):
            alter = CHANGES[int(rng.integers(len(CHANGES)))]
            alter(rng, model)
            names.append(alter.__name__)
        yield f"{number}-{'-'.join(names)}", model.SerializeToString()


def _one(rng: Random, many: Any) -> Any:
    return many[int(rng.integers(len(many)))] if len(many) else None


def _huge(rng: Random) -> int:
    return int(HUGE[int(rng.integers(len(HUGE)))])


def _names(model: Model) -> list[str]:
    graph = model.graph
    made = [name for node in graph.node for name in node.output]
    return [*made, *(one.name for one in (*graph.input, *graph.initializer)), "nothing", ""]


def drop_node(rng: Random, model: Model) -> None:
    """Take a node away."""
    if model.graph.node:
        del model.graph.node[int(rng.integers(len(model.graph.node)))]


def repeat_node(rng: Random, model: Model) -> None:
    """Have a node twice, so that its outputs are there twice."""
    if model.graph.node:
        model.graph.node.append(_one(rng, model.graph.node))


def other_input(rng: Random, model: Model) -> None:
    """Give a node some other value of the graph, a later one (a cycle) or none among them."""
    node = _one(rng, model.graph.node)
    if node is not None and node.input:
        node.input[int(rng.integers(len(node.input)))] = str(_one(rng, _names(model)))


def other_output(rng: Random, model: Model) -> None:
    """Name an output of a node as something that is there."""
    node = _one(rng, model.graph.node)
    if node is not None and node.output:
        node.output[int(rng.integers(len(node.output)))] = str(_one(rng, _names(model)))


def fewer_inputs(rng: Random, model: Model) -> None:
    """Take a node's last inputs or outputs away."""
    node = _one(rng, model.graph.node)
    if node is not None:
        del _one(rng, [node.input, node.output])[int(rng.integers(0, 2)) :]


def other_op(rng: Random, model: Model) -> None:
    """Make a node an operator that takes other inputs and attributes."""
    import onnx

    node = _one(rng, model.graph.node)
    if node is not None:
        every = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
        node.op_type = str(_one(rng, [*every, "NoSuchOp", "", "Conv\n2D"]))


def other_domain(rng: Random, model: Model) -> None:
    """Let a node be of another domain."""
    node = _one(rng, model.graph.node)
    if node is not None:
        node.domain = str(_one(rng, ["ai.onnx.ml", "com.microsoft", "own", "none"]))


def other_attribute(rng: Random, model: Model) -> None:
    """Make an attribute's number an extreme, its list of another length, its type another, or take it away."""
    node = _one(rng, [node for node in model.graph.node if node.attribute])
    if node is None:
        return
    attribute = _one(rng, node.attribute)
    what = int(rng.integers(5))
    if what == 0:
        node.attribute.remove(attribute)
    elif what == 1:
        attribute.type = int(rng.integers(0, 15))
    elif what == 2:
        attribute.i, attribute.f = _huge(rng), float("nan")
    elif what == 3 and attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = _huge(rng)
    else:
        attribute.ints.extend([1, _huge(rng)])


def new_attribute(rng: Random, model: Model) -> None:
    """Give a node an attribute that changes what its operator does."""
    import onnx

    node = _one(rng, model.graph.node)
    if node is None:
        return
    name = str(_one(rng, ["axis", "group", "dilations", "strides", "pads", "kernel_shape", "to", "perm", "keepdims",
                          "auto_pad", "mode", "value", "hidden_size", "direction"]))  # fmt: skip
    value = _one(rng, [_huge(rng), [_huge(rng)] * int(rng.integers(1, 5)), 0.5, "x", [0, 0], b"\xff\xfe"])
    node.attribute.append(onnx.helper.make_attribute(name, value))


def other_shape(rng: Random, model: Model) -> None:
    """Declare a size of an input or output as huge, negative, or free."""
    value = _one(rng, [*model.graph.input, *model.graph.output])
    sizes = value.type.tensor_type.shape.dim
    what = int(rng.integers(4))
    if what == 0 or not sizes:
        sizes.add().dim_value = _huge(rng)
    elif what == 1:
        del sizes[int(rng.integers(len(sizes)))]
    elif what == 2:
        _one(rng, sizes).dim_param = "N"
    else:
        _one(rng, sizes).dim_value = _huge(rng)


def other_type(rng: Random, model: Model) -> None:
    """Declare an input, output or weight as another type."""
    if rng.integers(2) and model.graph.initializer:
        _one(rng, model.graph.initializer).data_type = int(rng.integers(0, 26))
    else:
        _one(rng, [*model.graph.input, *model.graph.output]).type.tensor_type.elem_type = int(rng.integers(0, 26))


def no_type(rng: Random, model: Model) -> None:
    """Take the type of an input or output away, or make it a sequence."""
    import onnx

    value = _one(rng, [*model.graph.input, *model.graph.output])
    value.ClearField("type")
    if rng.integers(2):
        value.type.CopyFrom(onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(1, [2])))


def other_weight(rng: Random, model: Model) -> None:
    """Let a weight's sizes be others than its data's, cut its data, or fill it with extremes."""
    weight = _one(rng, model.graph.initializer)
    if weight is None:
        return
    what = int(rng.integers(4))
    if what == 0 and weight.dims:
        weight.dims[int(rng.integers(len(weight.dims)))] = _huge(rng)
    elif what == 1:
        weight.dims.extend([1, 1])
    elif what == 2:
        weight.raw_data = weight.raw_data[: int(rng.integers(0, len(weight.raw_data) + 1))]
        del weight.int64_data[1:]
    else:
        weight.raw_data = b"\xff" * len(weight.raw_data)
        weight.int64_data[:] = [_huge(rng) for _ in weight.int64_data]


def elsewhere(rng: Random, model: Model) -> None:
    """Let a weight's data lie in a file outside the model's folder, or in one that is not there."""
    import onnx

    weight = _one(rng, model.graph.initializer)
    if weight is None:
        return
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    places = ["../../../../../../etc/passwd", "/etc/passwd", "/dev/zero", "nothing.bin", "", "..", "a\0b", "x" * 5000]
    for key, value in (
        ("location", str(_one(rng, places))),
        ("offset", str(_one(rng, ["0", "-4", str(2**63), "x"]))),
        ("length", str(_one(rng, ["4", "-1", str(2**62), ""]))),
    ):
        weight.external_data.add(key=key, value=value)


def other_opset(rng: Random, model: Model) -> None:
    """Name an opset or file version that is not there, or none."""
    what = int(rng.integers(3))
    if what == 0:
        model.ir_version = _huge(rng)
    elif what == 1:
        del model.opset_import[:]
    for one in model.opset_import:
        one.version = int(_one(rng, [-1, 0, 1, 6, 9, 11, 20, 24, 99, 2**62]))


def other_name(rng: Random, model: Model) -> None:
    """Give two inputs, outputs or weights the same name, or one an odd one."""
    graph = model.graph
    value = _one(rng, [*graph.input, *graph.output, *graph.initializer])
    value.name = str(_one(rng, [*_names(model), "x" * 70_000, "a/b:0", "../../up", "\n", "%s{}"]))


def nested(rng: Random, model: Model) -> None:
    """Put a branch inside a branch, as deep as protobuf reads."""
    import onnx

    least = onnx.parser.parse_graph("b () => (float o) { o = Constant<value_float = 1.0>() }")
    inner = least
    for depth in range(int(_one(rng, [2, 10, 28]))):
        text = f"b () => (float o{depth}) {{ c{depth} = Constant<value = bool {{1}}>() }}"
        outer = onnx.parser.parse_graph(text)
        outer.node.append(
            onnx.helper.make_node("If", [f"c{depth}"], [f"o{depth}"], then_branch=inner, else_branch=least)
        )
        inner = outer
    model.graph.node.extend(inner.node)


def _deep(rng: Random, data: bytes) -> bytes:
    """Add graphs inside graphs, deeper than protobuf reads; the fields are graph, node, attribute and graph."""
    inner = b""
    for number in (*(1, 5, 6) * int(rng.integers(40, 3000)), 7):
        inner = bytes([number << 3 | 2]) + _length(len(inner)) + inner
    return data + inner


def _length(size: int) -> bytes:
    return bytes([size]) if size < 128 else bytes([size & 127 | 128]) + _length(size >> 7)


def calls_itself(rng: Random, model: Model) -> None:
    """Add a function that calls itself, and a call of it."""
    import onnx

    body = onnx.helper.make_node("again", ["x"], ["y"], domain="own")
    function = onnx.helper.make_function("own", "again", ["x"], ["y"], [body], [onnx.helper.make_opsetid("", 13)])
    model.functions.append(function)
    name = str(_one(rng, _names(model)))
    model.graph.node.append(onnx.helper.make_node("again", [name], ["again"], domain="own"))
    model.opset_import.add(domain="own", version=1)


def much(rng: Random, model: Model) -> None:
    """Let the model make a tensor that no memory holds, or run for as long as anyone waits."""
    import onnx

    sizes = [int(_one(rng, [2**20, 2**31, 2**40, 3])) for _ in range(2)]
    name = str(_one(rng, _names(model)))
    model.graph.initializer.append(onnx.helper.make_tensor("much", 7, [2], sizes))
    model.graph.initializer.append(onnx.helper.make_tensor("long", 7, [], [2**62]))
    op = str(_one(rng, ["ConstantOfShape", "Expand", "Tile", "Range", "Loop"]))
    if op == "Loop":
        text = "b (int64 i, bool c, float v) => (bool d, float w) { d = Identity(c) w = Identity(v) }"
        start = onnx.helper.make_node("Constant", [], ["start"], value_float=1.0)
        body = onnx.parser.parse_graph(text)
        model.graph.node.extend([start, onnx.helper.make_node("Loop", ["long", "", "start"], ["end"], body=body)])
        return
    if op == "Range":
        model.graph.initializer.append(onnx.helper.make_tensor("zero", 7, [], [0]))
        model.graph.initializer.append(onnx.helper.make_tensor("step", 7, [], [1]))
        inputs = ["zero", "long", "step"]
    else:
        inputs = ["much"] if op == "ConstantOfShape" else [name, "much"]
    model.graph.node.append(onnx.helper.make_node(op, inputs, ["big"]))


CHANGES: tuple[Callable[[Random, Model], None], ...] = (
    drop_node, repeat_node, other_input, other_output, fewer_inputs, other_op, other_domain, other_attribute,
    new_attribute, other_shape, other_type, no_type, other_weight, elsewhere, other_opset, other_name, nested,
    calls_itself, much,
)  # fmt: skip
