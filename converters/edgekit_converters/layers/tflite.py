"""TFLite files layer by layer."""

from edgekit_converters.layers import source_names
from edgekit_converters.layers.view import Node, Value, View
from edgekit_converters.tflite_file import TFLiteFile


def view(file: TFLiteFile) -> View:
    """Return the picture of the model's own graph; its layers have the names of the model it was made from."""
    nodes = tuple(
        Node(
            name=source_names.layer(next((one.name for one in op.outputs if one is not None), op.name)),
            op=op.name,
            inputs=tuple(one.index for one in op.inputs if one is not None),
            outputs=tuple(one.index for one in op.outputs if one is not None),
            parameters=sum(one.elements for one in op.inputs if one is not None and one.is_weight),
            macs=op.macs,
        )
        for op in file.main.ops
    )
    values = tuple(
        Value(
            name=one.name or f"tensor_{one.index}",
            shape=one.shape,
            dtype=one.dtype,
            constant=one.data_bytes > 0,
            quantization=one.quantization,
        )
        for one in file.main.tensors
    )
    return View(values=values, nodes=nodes, inputs=file.main.inputs, outputs=file.main.outputs)
