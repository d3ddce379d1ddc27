"""What an OpenVINO IR holds, as a job: inputs, outputs, and operators with parameters and multiply-accumulates."""

import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from edgekit_converters.errors import ModelFileError
from edgekit_converters.foreign import missing

# Constants of other types are shapes, axes and indices.
_WEIGHT_TYPES = frozenset({"f64", "f32", "f16", "bf16", "i8", "u8", "i4", "u4", "nf4"})
_NOT_WORK = frozenset({"Constant", "Parameter", "Result"})


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Describe `request["model"]`, an `.xml` with its `.bin` beside it.

    Raises:
        ModelFileError: if it cannot be read.
        ConverterMissingError: if OpenVINO is not installed.
    """
    path = Path(request["model"])
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
        model = openvino.Core().read_model(path)
    except RuntimeError as exc:
        raise ModelFileError(f"model '{path}' is not an OpenVINO IR that can be read") from exc
    rows: dict[str, dict[str, int]] = defaultdict(lambda: {"count": 0, "parameters": 0, "macs": 0})
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in _NOT_WORK:
            continue
        row = rows[kind]
        row["count"] += 1
        row["parameters"] += sum(_constant_size(value) for value in node.input_values())
        row["macs"] += _macs(kind, node)
    return {
        "inputs": [_spec(port) for port in model.inputs],
        "outputs": [_spec(port) for port in model.outputs],
        "operators": [{"op": kind, **row} for kind, row in sorted(rows.items(), key=lambda item: -item[1]["count"])],
        "parameters": sum(row["parameters"] for row in rows.values()),
        "macs": sum(row["macs"] for row in rows.values()),
    }


def _spec(port: Any) -> dict[str, Any]:  # noqa: ANN401  # OpenVINO has no types
    shape = [size.get_length() if size.is_static else None for size in port.get_partial_shape()]
    name = port.get_any_name() if port.get_names() else port.get_node().get_friendly_name()
    return {"name": name, "shape": shape, "dtype": str(port.get_element_type().to_dtype())}


def _constant_size(value: Any) -> int:  # noqa: ANN401  # OpenVINO has no types
    node = value.get_node()
    counts = node.get_type_name() == "Constant" and value.get_element_type().get_type_name() in _WEIGHT_TYPES
    return math.prod(node.shape) if counts else 0


def _macs(kind: str, node: Any) -> int:  # noqa: ANN401  # OpenVINO has no types
    if kind not in {"Convolution", "GroupConvolution", "MatMul"}:
        return 0
    output = [size.get_length() if size.is_static else 1 for size in node.get_output_partial_shape(0)]
    weights = [size.get_length() if size.is_static else 1 for size in node.input_value(1).get_partial_shape()]
    if kind == "MatMul":
        transposed = node.get_attributes().get("transpose_b", False)
        return math.prod(output) * (weights[-1] if transposed or len(weights) == 1 else weights[-2])
    # Convolution: [O, I, k...]; GroupConvolution: [G, O/G, I/G, k...]: what one output value sums over
    return math.prod(output) * math.prod(weights[1:] if kind == "Convolution" else weights[2:])
