"""ONNX models written as text, their weights beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD = '<ir_version: 8, opset_import: ["": 18]> g '


def write(path: Path, text: str, weights: Mapping[str, Any]) -> Path:
    """Write a model; the text declares nothing of its weights, and no shapes of its outputs."""
    import onnx

    model = onnx.parser.parse_model(HEAD + text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
