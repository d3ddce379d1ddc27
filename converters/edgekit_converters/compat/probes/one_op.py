"""TFLite files of one operator, made with the schema: what a probe gives a runtime to load and run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit_converters import tflite_rewrite
from edgekit_converters.model import Array

# label -> (type in the schema, NumPy type, zero point); a `q` stands for a quantized value.
TYPES: Mapping[str, tuple[str, str, int]] = {
    "float32": ("FLOAT32", "float32", 0),
    "float16": ("FLOAT16", "float16", 0),
    "float64": ("FLOAT64", "float64", 0),
    "int8": ("INT8", "int8", 0),
    "qint8": ("INT8", "int8", 0),
    "uint8": ("UINT8", "uint8", 0),
    "quint8": ("UINT8", "uint8", 128),
    "int16": ("INT16", "int16", 0),
    "qint16": ("INT16", "int16", 0),
    "uint16": ("UINT16", "uint16", 0),
    "int32": ("INT32", "int32", 0),
    "uint32": ("UINT32", "uint32", 0),
    "int64": ("INT64", "int64", 0),
    "bool": ("BOOL", "bool", 0),
    "complex64": ("COMPLEX64", "complex64", 0),
    "qint4": ("INT4", "int8", 0),
    "qint32": ("INT32", "int32", 0),
    "qint64": ("INT64", "int64", 0),
    "resource": ("RESOURCE", "int32", 0),
}
SCALE = 0.05


Options = tuple[str, Mapping[str, Any]]
"""Name of the options' table and its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor: `data` makes it a constant; `scale` replaces the usual 0.05, several are one a channel along `axis`."""

    type: str
    shape: tuple[int, ...] = (1, 4, 4, 4)
    data: Array | None = None
    scale: tuple[float, ...] = (SCALE,)
    zero_point: int | None = None
    axis: int = 0
    variable: bool = False
    positive: bool = False
    """Whether a quantized input is to be fed with what stands for numbers above zero."""
    signature: tuple[int, ...] | None = None
    """The shape with -1 where it is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One operator with its tensors; `graphs` are further graphs (of control flow), each of one operator too."""

    op: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    options: Options | None = None
    custom_code: str = ""
    graphs: tuple["Case", ...] = field(default=())
    intermediates: tuple[Value, ...] = ()
    """Tensors the kernel keeps between its steps, where it wants them described."""


def plain(options: str) -> Options:
    """Return options without values."""
    return options, {}


def constant(values: Any, dtype: str = "int32") -> Value:  # noqa: ANN401  # whatever NumPy takes
    """Return a constant of plain values: axes, shapes, indices."""
    data = np.asarray(values, TYPES[dtype][1])
    return Value(type=dtype, shape=data.shape, data=data)


def weights(kind: str, shape: tuple[int, ...], *, channels: int = 0, axis: int = 0) -> Value:
    """Return constant weights of a type, the same each time; `channels` scales along `axis` instead of one."""
    rng = np.random.RandomState(len(shape) + sum(shape))  # its numbers never change
    whole = rng.randint(-7, 8, shape)
    _, dtype, zero = TYPES[kind]
    data = (whole / 8).astype(dtype) if kind.startswith("float") else (whole + zero).astype(dtype)
    scale = tuple(SCALE * (1 + number / 4) for number in range(channels)) if channels else (SCALE,)
    return Value(type=kind, shape=shape, data=data, scale=scale, axis=axis)


def build(case: Case, version: int = 1) -> bytes:
    """Return the TFLite file of a case, its operator marked with `version`."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT()
    model.version, model.description = 3, b"one operator"
    model.buffers, model.operatorCodes, model.subgraphs = [schema.BufferT()], [], []
    for one in (case, *case.graphs):
        model.subgraphs.append(_graph(schema, model, one, version if one is case else 1))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return tflite_rewrite.completed(bytes(builder.Output()))  # aligned constants, and options no reader misses


def _graph(schema: Any, model: Any, case: Case, version: int) -> Any:  # noqa: ANN401  # the schema has no types
    graph = schema.SubGraphT()
    graph.name, graph.tensors = b"main", []
    inputs = [
        -1 if one is None else _tensor(schema, model, graph, one, f"input{at}") for at, one in enumerate(case.inputs)
    ]
    outputs = [_tensor(schema, model, graph, one, f"output{at}") for at, one in enumerate(case.outputs)]
    code, op = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, case.op)
    code.deprecatedBuiltinCode = min(code.builtinCode, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    code.version, code.customCode = version, case.custom_code.encode() or None
    model.operatorCodes.append(code)
    op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes) - 1, inputs, outputs
    if case.intermediates:
        op.intermediates = [
            _tensor(schema, model, graph, one, f"between{at}") for at, one in enumerate(case.intermediates)
        ]
    if case.options is not None:
        _set_options(schema, op, *case.options)
    given = [at for at, one in zip(inputs, case.inputs, strict=True) if one and one.data is None and not one.variable]
    graph.operators, graph.inputs, graph.outputs = [op], given, outputs
    return graph


def _tensor(schema: Any, model: Any, graph: Any, value: Value, name: str) -> int:  # noqa: ANN401  # the schema has no types
    kind, _, zero = TYPES[value.type]
    one = schema.TensorT()
    one.name, one.shape, one.type, one.buffer = name.encode(), list(value.shape), getattr(schema.TensorType, kind), 0
    one.isVariable, one.shapeSignature = value.variable, None if value.signature is None else list(value.signature)
    if value.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(_stored(value), np.uint8)
        one.buffer = len(model.buffers)
        model.buffers.append(buffer)
    if value.type.startswith("q"):
        one.quantization = schema.QuantizationParametersT()
        one.quantization.scale = list(value.scale)
        one.quantization.zeroPoint = [zero if value.zero_point is None else value.zero_point] * len(value.scale)
        one.quantization.quantizedDimension = value.axis
    graph.tensors.append(one)
    return len(graph.tensors) - 1


def _stored(value: Value) -> bytes:
    data = np.ascontiguousarray(value.data)
    if value.type != "qint4":
        return data.tobytes()
    low = np.resize(data.ravel() & 15, (data.size + 1) // 2 * 2).astype(np.uint8)
    return bytes(low[0::2] | (low[1::2] << 4))


def _set_options(schema: Any, op: Any, name: str, values: Mapping[str, Any]) -> None:  # noqa: ANN401  # the schema has no types
    options = getattr(schema, f"{name}T")()
    for key, value in values.items():
        if not hasattr(options, key):
            raise AttributeError(f"{name} has no '{key}'")
        setattr(options, key, value)
    if hasattr(schema.BuiltinOptions, name):
        op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, name), options
    else:
        op.builtinOptions2Type, op.builtinOptions2 = getattr(schema.BuiltinOptions2, name), options


Cases = Sequence[Case]
