"""OpenVINO models layer by layer."""

import sys
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.layers.base import Runner
from edgekit_converters.layers.openvino_grids import grid_of
from edgekit_converters.layers.view import Node, Value, View
from edgekit_converters.model import Array

OpenVINO = Any  # OpenVINO has no types

# Constants of other types are shapes, axes and indices.
_WEIGHT_TYPES = frozenset({"f64", "f32", "f16", "bf16", "i8", "u8", "i4", "u4", "nf4"})
_NOT_WORK = frozenset({"Constant", "Parameter", "Result"})
_CONVOLUTIONS = {"Convolution": 1, "GroupConvolution": 2}  # the axis of the weights behind the output channels


def read(path: Path) -> OpenVINO:
    """Return the model of an `.xml` with its `.bin` beside it.

    Raises:
        ModelFileError: if it cannot be read.
        ConverterMissingError: if OpenVINO is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # no usage statistics from an import
    try:
        import openvino
    except ImportError as exc:
        raise missing("OpenVINO", "openvino") from exc
    if not path.is_file():
        raise ModelFileError(f"model '{path}' does not exist")
    if not path.with_suffix(".bin").is_file():
        raise ModelFileError(f"model '{path}' has no weights beside it: '{path.with_suffix('.bin').name}' is missing")
    try:
        path.read_text(encoding="utf-8")  # OpenVINO takes any bytes for names, and Python does not
        return openvino.Core().read_model(path)
    except (RuntimeError, ValueError) as exc:
        raise ModelFileError(f"model '{path}' is not an OpenVINO IR that can be read") from exc


def view(model: OpenVINO) -> View:
    """Return the picture of a model; its layers have OpenVINO's friendly names: the source's where it kept them."""
    values: list[Value] = []
    places: dict[tuple[str, int], int] = {}
    nodes = []
    for one in model.get_ordered_ops():
        for port in one.outputs():
            places[one.get_name(), port.get_index()] = len(values)
            values.append(_value(port))
        if one.get_type_name() in _NOT_WORK:
            continue
        sources = [_key(port) for port in one.input_values()]
        nodes.append(
            Node(
                name=one.get_friendly_name(),
                op=one.get_type_name(),
                inputs=tuple(places[key] for key in sources if key in places),
                outputs=tuple(places[one.get_name(), port.get_index()] for port in one.outputs()),
                parameters=sum(_constant_size(port) for port in one.input_values()),
                macs=_macs(one),
            )
        )
    return View(
        values=tuple(values),
        nodes=tuple(nodes),
        inputs=tuple(places[_key(port)] for port in model.inputs),
        outputs=tuple(places[_key(one.input_value(0))] for one in model.get_results()),
    )


def spec(port: OpenVINO) -> dict[str, Any]:
    """Return the name, shape and dtype of one of the model's inputs or outputs."""
    value = _value(port)
    name = port.get_any_name() if port.get_names() else port.get_node().get_friendly_name()
    return {"name": name, "shape": list(value.shape or ()), "dtype": str(port.get_element_type().to_dtype())}


def weights_bytes(model: OpenVINO) -> int:
    """Return the bytes of a model's learnt constants, with the scales and zero points that belong to them."""
    constants = [one for one in model.get_ops() if one.get_type_name() == "Constant" and not _is_limit(one)]
    return sum(_constant_bytes(one) for one in constants if one.get_element_type().get_type_name() in _WEIGHT_TYPES)


def _is_limit(node: OpenVINO) -> bool:
    """Whether a constant is an end of the grid activations are put on."""
    takers = [one.get_node() for one in node.output(0).get_target_inputs()]
    if len(takers) == 1 and takers[0].get_type_name() == "Convert":
        return _is_limit(takers[0])
    return bool(takers) and all(one.get_type_name() == "FakeQuantize" for one in takers)


def _constant_bytes(node: OpenVINO) -> int:
    bits: int = node.get_element_type().bitwidth
    elements: int = prod(node.shape)
    return (elements * bits + 7) // 8


def _key(port: OpenVINO) -> tuple[str, int]:
    return port.get_node().get_name(), port.get_index()


def _value(port: OpenVINO) -> Value:
    shape, node = port.get_partial_shape(), port.get_node()
    sizes = tuple(_sizes(shape)) if shape.rank.is_static else None
    name = ";".join(sorted(port.get_names())) or node.get_friendly_name()
    return Value(
        name=name,
        shape=sizes,
        dtype=_dtype(port.get_element_type()),
        constant=node.get_type_name() == "Constant",
        quantization=grid_of(node),
    )


def _sizes(shape: OpenVINO) -> list[int | None]:
    return [size.get_length() if size.is_static else None for size in shape]


def _dtype(kind: OpenVINO) -> str:
    short = {"f": "float", "i": "int", "u": "uint"}
    name = str(kind.get_type_name())
    return (
        f"{short[name[0]]}{name[1:]}"
        if name[0] in short and name[1:].isdecimal()
        else {"boolean": "bool"}.get(name, name)
    )


def _constant_size(port: OpenVINO) -> int:
    node = port.get_node()
    counts = node.get_type_name() == "Constant" and port.get_element_type().get_type_name() in _WEIGHT_TYPES
    return prod(node.shape) if counts else 0


def _macs(node: OpenVINO) -> int | None:
    kind = node.get_type_name()
    if kind not in {*_CONVOLUTIONS, "MatMul"} or node.get_output_partial_shape(0).rank.is_dynamic:
        return None
    output = [size or 1 for size in _sizes(node.get_output_partial_shape(0))]
    weights = [size or 1 for size in _sizes(node.input_value(1).get_partial_shape())]
    if kind == "MatMul":
        transposed = node.get_attributes().get("transpose_b", False)
        return prod(output) * (weights[-1] if transposed or len(weights) == 1 else weights[-2])
    # Convolution: [O, I, k...]; GroupConvolution: [G, O/G, I/G, k...]: what one output value sums over
    return prod(output) * prod(weights[_CONVOLUTIONS[kind] :])


class OpenVINOModel:
    """An IR run by OpenVINO on the CPU in float32 where it is not quantized.

    A value that is looked at is an output of the graph that is compiled, so the CPU plugin fuses less than without.
    """

    def __init__(self, path: Path) -> None:
        """Read the model."""
        self._path = path
        model = read(path)
        self.view = view(model)
        self.inputs: Mapping[str, int] = _named(model.inputs, self.view.inputs)
        self.outputs: Mapping[str, int] = _named(model.outputs, self.view.outputs)

    def runner(self, wanted: Sequence[int], given: Sequence[int] = ()) -> Runner:
        """Prepare runs, as the port says."""
        import openvino
        from openvino import opset13 as opset

        model = read(self._path)
        ports = [port for one in model.get_ordered_ops() for port in one.outputs()]
        parameters = {at: ports[at].get_node() for at in self.view.inputs}
        results = [opset.result(ports[at]) for at in wanted]
        for at in given:
            parameters[at] = opset.parameter(ports[at].get_partial_shape(), ports[at].get_element_type())
            for taker in ports[at].get_target_inputs():
                if taker.get_node().get_type_name() != "Result":
                    taker.replace_source_output(parameters[at].output(0))
        try:
            changed = openvino.Model(results, model.get_sinks(), list(parameters.values()))
            compiled = openvino.Core().compile_model(changed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except RuntimeError as exc:
            raise ModelFileError(f"OpenVINO does not take '{self._path}': {first_line(exc)}") from exc
        order, values = list(parameters), self.view.values
        request = compiled.create_infer_request()

        def run(feeds: Mapping[int, Array]) -> list[Array]:
            taken = [np.ascontiguousarray(feeds[at], dtype=values[at].dtype) for at in order]
            try:
                request.infer(dict(enumerate(taken)))
            except RuntimeError as exc:
                raise UnsupportedError(f"the model stops when it is run: {first_line(exc)}") from exc
            return [np.array(request.get_output_tensor(at).data) for at in range(len(wanted))]

        return run


def _named(ports: Sequence[OpenVINO], places: Sequence[int]) -> dict[str, int]:
    return {spec(port)["name"]: at for port, at in zip(ports, places, strict=True)}
