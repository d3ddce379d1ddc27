"""ONNX models layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.errors import DeadlineError, UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph.model import ONNX
from edgekit_converters.layers import grid
from edgekit_converters.layers.base import Runner
from edgekit_converters.layers.view import Node, Value, View
from edgekit_converters.model import Array
from edgekit_converters.tflite_file import Quantization

Proto = Any  # ONNX's messages have no types
Shape = tuple[int | None, ...] | None

_MAX_BYTES = 2**31 - 1

# Where the weights stand among the inputs of what multiplies and sums up.
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_PRODUCTS = frozenset({"MatMul", "MatMulInteger", "QLinearMatMul"})
# Which of the two sides is the stored one, whose numbers are on the grid.
_STORED = {"QuantizeLinear": "output", "DequantizeLinear": "input"}
# What makes float weights of those a file stores in another type.
_STORES = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


def read(path: Path) -> Proto:
    """Return a checked model; large weights stay in their own files."""
    import onnx

    from edgekit_converters.graph import model as graph_model

    graph_model.load(path)
    return onnx.load(str(path), load_external_data=False)


def view(model: Proto) -> View:
    """Return the picture of the main graph with the shapes ONNX infers; a node without a name has its output's."""
    values, places = _values(model), dict[str, int]()
    for name in values:
        places[name] = len(places)
    nodes, stored = [], dict[str, str]()
    for node in model.graph.node:
        outputs = [name for name in node.output if name]
        for name in (*filter(None, node.input), *outputs):
            if name not in places:
                places[name] = len(places)
                values[name] = Value(name=name, shape=None, dtype="unknown")
        weights = _weights(node, values, stored)
        nodes.append(
            Node(
                name=node.name or (outputs[0] if outputs else node.op_type),
                op=node.op_type,
                inputs=tuple(places[name] for name in node.input if name),
                outputs=tuple(places[name] for name in outputs),
                parameters=sum(prod(size or 1 for size in one.shape or ()) for one in weights),
                # one of another domain may be named like ONNX's own and take something else
                macs=_macs(node, {name: values[name].shape for name in (*node.input, *node.output) if name})
                if node.domain in ONNX
                else None,
            )
        )
    listed = [one.name for one in model.graph.input if not values[one.name].constant]
    return View(
        values=tuple(values.values()),
        nodes=tuple(nodes),
        inputs=tuple(places[name] for name in listed),
        outputs=tuple(places[one.name] for one in model.graph.output),
    )


def _weights(node: Proto, values: Mapping[str, Value], stored: dict[str, str]) -> list[Value]:
    """Return the weights a node takes; one that only makes float ones of those in a file hands them on in `stored`."""
    weights = [values[stored.get(name, name)] for name in node.input if name]
    if node.op_type in _STORED:
        del weights[1:]  # the others are scales and zero points
    if node.op_type in _STORES and weights and weights[0].constant:
        stored |= dict.fromkeys(node.output, weights[0].name)
        return []
    return [one for one in weights if one.constant]


def _values(model: Proto) -> dict[str, Value]:
    import onnx

    try:
        known = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, RuntimeError):
        known = model.graph  # what it declares contradicts itself: it is shown as it is declared
    values = {one.name: _value(one) for one in (*known.input, *known.value_info, *known.output)}
    for one in model.graph.initializer:
        values[one.name] = Value(name=one.name, shape=tuple(one.dims), dtype=_dtype(one.data_type), constant=True)
    constants = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _STORED and (known := _quantization(node, constants)) is not None:
            name = getattr(node, _STORED[node.op_type])[0]
            if name in values:
                values[name] = replace(values[name], quantization=known)
    return values


def _quantization(node: Proto, constants: dict[str, Proto]) -> Quantization | None:
    from onnx import numpy_helper

    given = [constants.get(name) for name in node.input[1:3]]
    if any(one is None or one.data_location == one.EXTERNAL for one in given):
        return None  # computed, or kept elsewhere
    scale, *zero = [numpy_helper.to_array(one).ravel().tolist() for one in given]
    axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
    points = tuple(int(one) for one in zero[0]) if zero else (0,) * len(scale)
    return Quantization(scale=tuple(scale), zero_point=points, axis=axis)


def _value(one: Proto) -> Value:
    tensor = one.type.tensor_type
    shape: Shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None for size in tensor.shape.dim
        )
    return Value(name=one.name, shape=shape, dtype=_dtype(tensor.elem_type))


def _dtype(number: int) -> str:
    import onnx

    if number in {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}:
        return "unknown" if number == onnx.TensorProto.UNDEFINED else "string"
    return str(onnx.helper.tensor_dtype_to_np_dtype(number).name)


def _macs(node: Proto, shapes: dict[str, Shape]) -> int | None:
    """Count multiply-accumulates from shapes, free dimensions at 1; None where an operator is no such work."""
    operands = [shapes.get(name) for name in node.input]
    result = shapes.get(node.output[0]) if node.output else None
    transposed = {one.name: one.i for one in node.attribute if one.name in {"transA", "transB"}}
    at = _CONVOLUTIONS.get(node.op_type)
    if at is not None and result and (weights := operands[at]):
        return _size(result) * _size(weights[1:])
    if node.op_type == "ConvTranspose" and operands[0] and operands[1]:
        return _size(operands[0]) * _size(operands[1][1:])
    if node.op_type in _PRODUCTS and result is not None and operands[0]:
        return _size(result) * _size(operands[0][-1:])
    if node.op_type == "Gemm" and result and operands[0]:
        return _size(result) * (operands[0][0 if transposed.get("transA") else 1] or 1)
    if node.op_type in _RECURRENT and operands[0] and operands[1] and operands[2]:
        return _size(operands[0][:2]) * (_size(operands[1]) + _size(operands[2]))
    return None


def _size(shape: Shape) -> int:
    return prod(size or 1 for size in shape or ())


class OnnxModel:
    """An ONNX model run by ONNX Runtime, operator by operator as it is written."""

    def __init__(self, path: Path) -> None:
        """Read and check the model."""
        import onnx

        self._model = read(path)
        if self._model.ByteSize() < _MAX_BYTES:
            onnx.load_external_data_for_model(self._model, str(path.parent))
        if self._model.ByteSize() >= _MAX_BYTES:
            raise UnsupportedError(f"model '{path.name}' has more than 2 GB of weights: its layers cannot be had")
        self.view = view(self._model)
        values = self.view.values
        self.inputs: Mapping[str, int] = {values[at].name: at for at in self.view.inputs}
        self.outputs: Mapping[str, int] = {values[at].name: at for at in self.view.outputs}

    def runner(self, wanted: Sequence[int], given: Sequence[int] = ()) -> Runner:
        """Prepare runs, as the port says."""
        import onnx

        from edgekit_converters.graph.oracle import run_session, session

        values = self.view.values
        proto = onnx.ModelProto()
        proto.CopyFrom(self._model)
        graph = proto.graph
        made = {values[at].name: f"{values[at].name}/given" for at in given}
        for node in graph.node:
            node.input[:] = [made.get(name, name) for name in node.input]
        kept = [one for one in graph.input if one.name not in made]
        new = [_input(made[values[at].name], values[at]) for at in given]
        del graph.input[:], graph.output[:]
        graph.input.extend([*kept, *new])
        graph.output.extend(onnx.ValueInfoProto(name=values[at].name) for at in wanted)
        opened = session(proto)
        names = [values[at].name for at in wanted]

        def run(feeds: Mapping[int, Array]) -> list[Array]:
            named = {made.get(values[at].name, values[at].name): (array, values[at]) for at, array in feeds.items()}
            stored = {name: _stored(array, value) for name, (array, value) in named.items()}
            try:
                found = run_session(opened, names, stored)
            except DeadlineError:
                raise
            except Exception as exc:  # its exceptions have no common base
                raise UnsupportedError(f"the model stops when it is run: {first_line(exc)}") from exc
            return [grid.to_real(np.asarray(one), values[at]) for at, one in zip(wanted, found, strict=True)]

        return run


def _input(name: str, value: Value) -> Proto:
    import onnx

    kind = np.dtype(np.float32 if value.dtype == "unknown" else value.dtype)
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(kind), None)


def _stored(array: Array, value: Value) -> Array:
    return array if value.dtype == "unknown" else grid.to_stored(array, value)
