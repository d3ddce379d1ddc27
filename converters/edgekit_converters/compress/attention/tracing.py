"""Where a layer's columns go through reshapes and transposes, found by moving their numbers.

The elements of a layer's output are numbered and moved as the nodes move them. What then stands in a head's place came
from those columns: for any order exporters lay heads out in, together with the batch or in one layer for queries, keys
and values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compress.attention.pattern import NotMatchedError
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import said
from edgekit_converters.graph.weights import Weights, weights_of

if TYPE_CHECKING:
    import onnx_ir as ir

Numbers = NDArray[np.int64]
Shapes = Mapping[str, tuple[int, ...]]
_KEEPS = frozenset({"Identity", "Cast", "Dropout", "Mul", "Div", "Add", "Sub"})
_RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
MOVES = _KEEPS | _RESHAPES | {"Transpose", "Split", "Slice", "Gather"}
_DENSE = frozenset({"Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """Nodes that move a value, in order; `ends` is which output of each is gone on with."""

    start: "ir.Value"
    nodes: tuple["ir.Node", ...]
    values: tuple["ir.Value", ...]
    """What each node gives on, the last one where the path ends."""


def dense_layers(model: "ir.Model") -> dict[int, Weights]:
    """Return the layers with a constant matrix on the right, by the ids of their nodes."""
    found = weights_of(model, _DENSE)
    return {id(one.node): one for one in found if one.place == 1 and one.axis is not None and one.array.ndim == 2}  # noqa: PLR2004


def path_up(value: "ir.Value", layers: Mapping[int, Weights]) -> tuple[Weights, Path]:
    """Return the layer that a value comes from by moves alone, and the way from its output.

    Raises:
        NotMatchedError: if it comes from elsewhere.
    """
    nodes = list["ir.Node"]()
    values = [value]
    while True:
        node = values[-1].producer()
        if node is None:
            raise NotMatchedError(f"'{values[-1].name}' comes from no dense layer")
        if id(node) in layers:
            path = Path(start=values[-1], nodes=tuple(reversed(nodes)), values=tuple(reversed(values[:-1])))
            return layers[id(node)], path
        if node.domain not in ONNX or node.op_type not in MOVES:
            raise NotMatchedError(f"{said(node)} between a dense layer and the heads does not just move columns")
        nodes.append(node)
        values.append(_data_of(node))


def path_down(value: "ir.Value", layers: Mapping[int, Weights]) -> tuple[Weights, Path]:
    """Return the layer that alone takes a value, by moves alone, and the way to its input.

    Raises:
        NotMatchedError: if it goes elsewhere.
    """
    nodes, values = list["ir.Node"](), [value]
    while True:
        takers = [use.node for use in values[-1].uses() if use.node.op_type != "Shape"]
        if len(takers) != 1 or values[-1].is_graph_output():
            raise NotMatchedError(f"'{values[-1].name}' goes elsewhere than into one dense layer")
        (node,) = takers
        if id(node) in layers and node.inputs[0] is values[-1]:
            return layers[id(node)], Path(start=value, nodes=tuple(nodes), values=tuple(values[1:]))
        plain = node.op_type in _RESHAPES | {"Transpose", "Identity", "Cast", "Dropout"}
        if node.domain not in ONNX or not plain:
            raise NotMatchedError(f"{said(node)} between the heads and a dense layer does not just move columns")
        nodes.append(node)
        values.append(node.outputs[0])


def _data_of(node: "ir.Node") -> "ir.Value":
    """Return the input of a move that is moved: the computed one."""
    given = [one for one in node.inputs[:2] if one is not None]
    if node.op_type not in _KEEPS:
        return given[0]
    computed = [one for one in given if one.const_value is None and not _is_number(one)]
    if len(computed) != 1:
        raise NotMatchedError(f"{said(node)} takes two computed values")
    return computed[0]


def _is_number(value: "ir.Value") -> bool:
    return value.shape is not None and all(size == 1 for size in value.shape)


def numbered(path: Path, shapes: Shapes) -> list[Numbers]:
    """Return the numbers of the start's elements as they stand in each value of a path.

    Raises:
        NotMatchedError: if a node on it does more than move them.
    """
    here = np.arange(int(np.prod(shapes[str(path.start.name)]))).reshape(shapes[str(path.start.name)])
    found = []
    for node, value in zip(path.nodes, path.values, strict=True):
        here = moved(node, here, shapes)[list(node.outputs).index(value)]
        found.append(here)
    return found


def moved(node: "ir.Node", array: Numbers, shapes: Shapes) -> list[Numbers]:
    """Return what a node makes of an array, an entry an output.

    Raises:
        NotMatchedError: if it does more than move elements.
    """
    given = [shapes.get(str(one.name), ()) for one in node.outputs]
    if node.op_type in _RESHAPES or node.op_type in _KEEPS:
        if array.size != int(np.prod(given[0])) or (node.op_type in _KEEPS and array.shape != given[0]):
            raise NotMatchedError(f"{said(node)} repeats columns")
        return [array.reshape(given[0])]
    if node.op_type == "Transpose":
        order = node.attributes.get_ints("perm", None)
        return [array.transpose(order if order is None else tuple(order))]
    if node.op_type == "Split":
        axis = node.attributes.get_int("axis", 0) % array.ndim
        return np.split(array, np.cumsum([one[axis] for one in given])[:-1], axis=axis)
    if node.op_type == "Slice":
        return [array[slices(node, array.ndim)]]
    index = node.inputs[1].const_value if node.inputs[1] is not None else None
    if index is None:
        raise NotMatchedError(f"{said(node)} gathers what is computed")
    return [np.asarray(np.take(array, index.numpy(), axis=node.attributes.get_int("axis", 0)))]


def slices(node: "ir.Node", rank: int) -> tuple[slice, ...]:
    """Return what a Slice takes of every axis.

    Raises:
        NotMatchedError: if that is not known beforehand.
    """
    parts = [_numbers(node, place, name) for place, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps"))]
    starts, ends, axes, steps = parts
    if starts is None or ends is None:
        raise NotMatchedError(f"{said(node)} slices at computed places")
    whole = [slice(None)] * rank
    axes = list(range(len(starts))) if axes is None else axes
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        whole[axis] = slice(start, end, step)
    return tuple(whole)


def _numbers(node: "ir.Node", place: int, name: str) -> list[int] | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None:
        given = node.attributes.get_ints(name, None)
        return None if given is None else list(given)
    return None if value.const_value is None else [int(one) for one in value.const_value.numpy().ravel()]
