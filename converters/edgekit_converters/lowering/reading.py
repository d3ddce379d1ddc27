"""A flat model as the lowering sees it: nodes that depend on the inputs, with the shape and dtype of every value."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.flatten import Flat
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.shapes import decides_shapes, inferred
from edgekit_converters.lowering.dims import Dim, is_free, size_of
from edgekit_converters.lowering.graph import Graph, Node, Value, needed
from edgekit_converters.model import Array

OLDEST_OPSET = 7  # before it, operands were broadcast by attributes


def read(flat: Flat, label: str) -> Graph:
    """Return the graph of a flat model.

    Raises:
        UnsupportedError: if its opset is too old, or it has sparse weights.
    """
    opset = max((one.version for one in flat.proto.opset_import if one.domain in ONNX), default=OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise UnsupportedError(f"model '{label}' has opset {opset}; {OLDEST_OPSET} and newer have a TFLite lowering")
    if flat.proto.graph.sparse_initializer:
        raise UnsupportedError(f"model '{label}': sparse weights have no TFLite lowering")
    sizes = {name: array for name in flat.shape_only if (array := _sizes(name, flat)) is not None}
    outputs = tuple(value.name for value in flat.proto.graph.output)
    variable = [
        _node(index, node)
        for index, node in enumerate(flat.proto.graph.node)
        if not all(not name or name in flat.constants or name in sizes for name in node.output)
    ]
    kept = needed(variable, outputs)
    uses: dict[str, int] = {}
    for name in [name for node in kept for name in node.inputs] + list(outputs):
        uses[name] = uses.get(name, 0) + 1
    return Graph(
        label=label,
        nodes=tuple(kept),
        inputs=tuple(flat.feeds[0]),
        outputs=outputs,
        values=_values(flat, kept),
        constants=flat.constants,
        sizes=sizes,
        opset=opset,
        uses=uses,
        stuck=flat.stuck,
    )


def _node(index: int, node: Any) -> Node:  # noqa: ANN401  # an onnx.NodeProto
    import onnx

    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    attributes = {name: _text(value) for name, value in attributes.items()}
    return Node(
        index=index,
        op=node.op_type,
        name=node.name,
        domain=node.domain,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
    )


def _text(value: Any) -> Any:  # noqa: ANN401  # an attribute's value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [one.decode(errors="replace") for one in value]
    return value


def _sizes(name: str, flat: Flat) -> Array | None:
    """Return integers that depend on free sizes, as an array of `Dim` and plain numbers."""
    found = [run[name] for run in flat.runs]
    if found[0].dtype.kind != "i" or any(one.shape != found[0].shape for one in found):
        return None
    columns = zip(*(one.ravel().tolist() for one in found), strict=True)
    made = np.empty(found[0].size, dtype=object)
    made[:] = [size_of(column) for column in columns]
    return made.reshape(found[0].shape)


def _values(flat: Flat, kept: list[Node]) -> dict[str, Value]:
    values = {}
    for name, array in flat.runs[0].items():
        shapes = [run[name].shape for run in flat.runs if name in run]
        if len({len(shape) for shape in shapes}) > 1:
            raise UnsupportedError(f"value '{name}' changes its rank with the free dimensions")
        columns = zip(*shapes, strict=True) if array.ndim else ()
        values[name] = Value(shape=tuple(size_of(column) for column in columns), dtype=array.dtype.name)
    known = {name: Value(shape=array.shape, dtype=array.dtype.name) for name, array in flat.constants.items()}
    return known | values | _loose(flat, values, kept)


def _loose(flat: Flat, values: Mapping[str, Value], kept: list[Node]) -> dict[str, Value]:
    """Return the values whose shapes depend on data, with the sizes nobody declares as free."""
    protos = {output: node for node in flat.proto.graph.node for output in node.output}
    loose: set[str] = set()
    for node in kept:
        proto = protos[node.outputs[0] or node.outputs[-1]]
        if loose.intersection(node.inputs) or decides_shapes(
            proto, lambda name: name in flat.constants or name in flat.shape_only
        ):
            loose.update(name for name in node.outputs if name in values)
    if not loose:
        return {}
    known, found = inferred(flat.proto), {}
    for name in loose:
        shape = values[name].shape
        declared = known.get(name, (None,) * len(shape))
        if len(declared) != len(shape):
            declared = (None,) * len(shape)
        sizes = [
            size
            if is_free(size) or one == size
            else Dim((int(size),) * len(flat.runs), one if isinstance(one, str) else f"{name} {axis}")
            for axis, (size, one) in enumerate(zip(shape, declared, strict=True))
        ]
        found[name] = Value(shape=tuple(sizes), dtype=values[name].dtype)
    return found
