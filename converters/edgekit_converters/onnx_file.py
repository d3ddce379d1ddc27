"""What an ONNX file holds, as a job: its operators with parameters and multiply-accumulates."""

import math
from pathlib import Path
from typing import Any

from edgekit_converters.graph import model as graph_model


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Return the operators of `request["model"]`; multiply-accumulates where every shape is known.

    Raises:
        ModelFileError: if it cannot be read.
    """
    import onnx

    graph_model.load(Path(request["model"]))  # checks it
    model = onnx.load(request["model"], load_external_data=False)
    sizes = {one.name: math.prod(one.dims) for one in model.graph.initializer}
    known = onnx.shape_inference.infer_shapes(model)
    shapes = {one.name: _dimensions(one) for one in (*known.graph.value_info, *known.graph.input, *known.graph.output)}
    shapes |= {one.name: list(one.dims) for one in model.graph.initializer}
    rows: dict[str, dict[str, int]] = {}
    for node in model.graph.node:
        row = rows.setdefault(node.op_type, {"count": 0, "parameters": 0, "macs": 0})
        row["count"] += 1
        row["parameters"] += sum(sizes.get(name, 0) for name in node.input)
        row["macs"] += _macs(node, shapes)
    return {"operators": [{"op": op, **row} for op, row in sorted(rows.items(), key=lambda item: -item[1]["count"])]}


def _dimensions(value: Any) -> list[int | None]:  # noqa: ANN401  # an onnx.ValueInfoProto
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None for size in sizes]


def _macs(node: Any, shapes: dict[str, list[int | None]]) -> int:  # noqa: ANN401  # an onnx.NodeProto
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return 0
    out, weights = shapes.get(node.output[0]), shapes.get(node.input[1])
    first = shapes.get(node.input[0])
    if not out or not weights or not first:
        return 0
    inner = weights[1:] if node.op_type == "Conv" else first[-1:]
    return math.prod(size or 1 for size in (*out, *inner))
