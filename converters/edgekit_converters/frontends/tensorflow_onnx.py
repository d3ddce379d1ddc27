"""A SavedModel as ONNX, by tf2onnx (inside a job: TensorFlow is loaded)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.tflite_file import SIGNATURE

Graph = Any  # of TensorFlow and onnx-ir

OPSET = 18  # the newest tf2onnx knows


def write_onnx(folder: Path, inputs: Mapping[str, str], outputs: Mapping[str, str], target: Path) -> None:
    """Write the signature `serving_default` of a SavedModel as ONNX, in NHWC as it is.

    Args:
        folder: the SavedModel.
        inputs: by name in the signature, the name to have; in the order to have.
        outputs: the same.
        target: the file to write.

    Raises:
        UnsupportedError: if tf2onnx does not know an op.
        ConverterMissingError: if tf2onnx or onnx-ir is not installed.
    """
    import tensorflow as tf

    try:
        import onnx_ir
        import tf2onnx
    except ImportError as exc:
        raise missing("tf2onnx or onnx-ir", "tensorflow,onnx") from exc
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], str(folder)).signature_def[SIGNATURE]
        sources = [signature.inputs[name].name for name in inputs]
        results = [signature.outputs[name].name for name in outputs]
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [name.partition(":")[0] for name in results]
        )
    try:
        made, _ = tf2onnx.convert.from_graph_def(
            frozen, name=folder.name, input_names=sources, output_names=results, opset=OPSET
        )
    except Exception as exc:
        raise UnsupportedError(f"tf2onnx refuses the model: {first_line(exc)}") from exc
    model = onnx_ir.from_proto(made)
    _rename(model.graph, list(inputs.values()), list(outputs.values()))
    onnx_ir.save(model, target)


def _rename(graph: Graph, inputs: list[str], outputs: list[str]) -> None:
    """Give the source's names; a value inside that has one of them already makes way."""
    wanted = {*inputs, *outputs}
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.name in wanted:
                value.name = f"{value.name}/inner"
    for values, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for value, name in zip(values, names, strict=True):
            value.name = name
