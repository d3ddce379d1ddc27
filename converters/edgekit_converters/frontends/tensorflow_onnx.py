"""A SavedModel as ONNX, by tf2onnx (inside a job: TensorFlow is loaded)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.model import TensorSpec
from edgekit_converters.tflite_file import SIGNATURE

Function = Any  # of TensorFlow and tf2onnx, which have no types
Graph = Any  # of onnx-ir, which is not there when types are checked

OPSET = 18  # the newest tf2onnx knows


def write_onnx(folder: Path, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, str], target: Path) -> None:
    """Write the signature `serving_default` of a SavedModel as ONNX, in NHWC as it is.

    Args:
        folder: the SavedModel.
        inputs: by name in the signature, what it is and is called; in the order to have.
        outputs: by name in the signature, the name to have; in the order to have.
        target: the file to write.

    Raises:
        UnsupportedError: if tf2onnx does not know an op.
        ConverterMissingError: if tf2onnx or onnx-ir is not installed.
    """
    try:
        import onnx_ir
        import tf2onnx
    except ImportError as exc:
        raise missing("tf2onnx or onnx-ir", "tensorflow,onnx") from exc
    import tensorflow as tf

    # The function as TensorFlow 2 holds it: frozen from a session, loops keep ops that ONNX has not.
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as exc:
        raise UnsupportedError(f"TensorFlow cannot load the SavedModel's function: {first_line(exc)}") from exc
    serve = _positional(loaded.signatures[SIGNATURE], list(inputs), list(outputs))
    signature = [tf.TensorSpec(one.shape, one.dtype, name=f"i{at}") for at, one in enumerate(inputs.values())]
    try:
        made, _ = tf2onnx.convert.from_function(
            tf.function(serve, input_signature=signature),
            input_signature=signature,
            opset=OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    except Exception as exc:
        raise UnsupportedError(f"tf2onnx refuses the model: {first_line(exc)}") from exc
    model = onnx_ir.from_proto(made)
    _name(model.graph, [one.name for one in inputs.values()], list(outputs.values()))
    onnx_ir.save(model, target)


def _erfc(graph: Graph, node: Function, name: str, _: object) -> None:
    """Write the complement of the error function, in Keras' GELU, which tf2onnx does not know: 1 + erf(-x)."""
    negated = graph.make_node("Neg", [node.input[0]])
    error = graph.make_node("Erf", negated.output)
    one = graph.make_const(f"{name}/one", np.ones((), dtype=np.float32))
    node.type = "Add"
    graph.replace_inputs(node, [error.output[0], one.output[0]])


def _positional(inner: Function, inputs: Sequence[str], outputs: Sequence[str]) -> Function:
    def serve(*args: Function) -> dict[str, Function]:
        made = inner(**dict(zip(inputs, args, strict=True)))
        return {f"o{at}": made[name] for at, name in enumerate(outputs)}

    return serve


def _name(graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Put inputs and outputs in order and give them their names; a value inside that has one makes way."""
    wanted = {*inputs, *outputs}
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.name in wanted:
                value.name = f"{value.name}/inner"
    for values, letter, names in ((graph.inputs, "i", inputs), (graph.outputs, "o", outputs)):
        found = {value.name: value for value in values}
        ordered = [found[f"{letter}{at}"] for at in range(len(names))]
        values[:] = ordered
        for value, name in zip(ordered, names, strict=True):
            value.name = name
