"""The operations of a model as OpenVINO reads it, as a job: for the rules of its devices."""

import sys
from pathlib import Path
from typing import Any

from edgekit_converters.errors import ModelFileError
from edgekit_converters.foreign import missing

_NOT_WORK = frozenset({"Constant", "Result"})


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of `request["model"]` in order: index, op, output, types, and whether a shape is free.

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
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as exc:
        raise ModelFileError(f"model '{path}' cannot be read by OpenVINO") from exc
    ordered = [node for node in model.get_ordered_ops() if node.get_type_name() not in _NOT_WORK]
    return {"nodes": [_described(index, node) for index, node in enumerate(ordered)]}


def _described(index: int, node: Any) -> dict[str, Any]:  # noqa: ANN401  # OpenVINO has no types
    outputs = node.outputs()
    return {
        "index": index,
        "op": node.get_type_name(),
        "output": node.get_friendly_name(),
        "types": sorted({port.get_element_type().get_type_name() for port in outputs}),
        "dynamic": any(port.get_partial_shape().is_dynamic for port in outputs),
    }
