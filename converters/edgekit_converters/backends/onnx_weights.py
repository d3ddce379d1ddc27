"""Weights stored in fewer bits and computed in float: what takes them sees the float values again.

float16 with a Cast behind it (ONNX Runtime casts once, when it loads the model), int8 with a scale a channel, and int4
with a scale a group, both with DequantizeLinear. All of it is standard ONNX; ONNX Runtime computes MatMul with int4
groups by a kernel of its own.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit_converters.backends.onnx_graph import graphs, opset_of
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.model import ONNX

Proto = Any  # ONNX's messages have no types
Floats = npt.NDArray[np.float32]

_LEAST_VALUES = 256
"""Of a weight with fewer the scales and the node take as much as is saved."""
_LEAST_MATRIX = 4096
"""Four bits of fewer values save next to nothing, and a classifier's last layer is sensitive."""
PER_AXIS_OPSET, GROUPS_OPSET = 13, 21
"""The first opsets in which DequantizeLinear has a scale a channel, and a group."""
_HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Use:
    """How a weight is used: `channels` is the axis with a scale each, `sums` the axis that is summed over."""

    channels: int
    sums: int | None = None


def _gemm(node: Proto) -> Use:
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return Use(0, 1) if transposed else Use(1, 0)


# op -> the place of its weights among the inputs, and how it uses them
_USES: Mapping[str, Mapping[int, Callable[[Proto], Use]]] = MappingProxyType(
    {
        "Conv": {1: lambda _: Use(0)},
        "ConvTranspose": {1: lambda _: Use(1)},
        "Gemm": {1: _gemm},
        "MatMul": {0: lambda _: Use(-2), 1: lambda _: Use(-1, -2)},
        "Gather": {0: lambda _: Use(0)},
        **{name: {1: lambda _: Use(1), 2: lambda _: Use(1)} for name in ("LSTM", "GRU", "RNN")},
    }
)


def halve(model: Proto, floats: Collection[str]) -> int:
    """Store float32 weights as float16 in place, but for those of nodes named in `floats`; return how many.

    A weight with a value float16 does not have stays as it is.
    """
    count = 0
    for graph in graphs(model.graph):
        kept = {name for node in graph.node if node.name in floats for name in node.input}
        for tensor, array in _weights(graph):
            if tensor.name in kept or np.abs(array).max(initial=0) > _HALF_MAX:
                continue
            _replace(graph, tensor, [array.astype(np.float16)], "Cast", to=_float())
            count += 1
    return count


def round_weights(model: Proto, floats: Collection[str], group: int | None = None) -> int:
    """Store the weights of what multiplies or looks up in int8, in place, or with `group` in int4; return how many.

    int8 has a scale a channel. int4 has a scale for `group` values that are summed up; what is no matrix product, or
    small, has int8 all the same.

    Raises:
        UnsupportedError: if the model's opset has no such form.
    """
    count, needed = 0, PER_AXIS_OPSET if group is None else GROUPS_OPSET
    if opset_of(model) < needed:
        have = opset_of(model)
        raise UnsupportedError(
            f"these weights need opset {needed}, and the model of opset {have} cannot be raised to it"
        )
    for graph in graphs(model.graph):
        uses = _uses(graph, floats)
        for tensor, array in _weights(graph):
            use = uses.get(tensor.name)
            if use is None or array.ndim < 2:  # noqa: PLR2004  # a vector
                continue
            attributes = {"axis": use.channels % array.ndim}
            if group is not None and use.sums is not None and array.ndim == 2 and array.size >= _LEAST_MATRIX:  # noqa: PLR2004  # a matrix
                attributes = {"axis": use.sums % 2, "block_size": group}
                parts = _in_groups(array, use.sums % 2, group)
            else:
                parts = _in_channels(array, use.channels % array.ndim)
            _replace(graph, tensor, parts, "DequantizeLinear", **attributes)
            count += 1
    return count


def _in_channels(array: Floats, axis: int) -> list[Any]:
    others = tuple(at for at in range(array.ndim) if at != axis)
    scale = _scale(np.abs(array).max(axis=others, keepdims=True), 127)
    return [np.clip(np.rint(array / scale), -127, 127).astype(np.int8), scale.ravel()]


def _in_groups(array: Floats, axis: int, group: int) -> list[Any]:
    import ml_dtypes

    starts = range(0, array.shape[axis], group)
    scale = _scale(np.maximum.reduceat(np.abs(array), list(starts), axis=axis), 7)
    spread = np.take(scale, np.arange(array.shape[axis]) // group, axis=axis)
    return [np.clip(np.rint(array / spread), -7, 7).astype(ml_dtypes.int4), scale]


def _scale(largest: Floats, levels: int) -> Floats:
    # a subnormal scale would be 0 to whoever flushes them
    return np.where(largest / levels < np.finfo(np.float32).tiny, 1, largest / levels).astype(np.float32)


def _uses(graph: Proto, floats: Collection[str]) -> dict[str, Use]:
    found: dict[str, Use] = {}
    kept: set[str] = set()
    for node in graph.node:
        if node.name in floats:
            kept.update(node.input)
        for place, use in _USES.get(node.op_type, {}).items() if node.domain in ONNX else ():
            if place < len(node.input) and node.input[place]:
                found.setdefault(node.input[place], use(node))
    return {name: use for name, use in found.items() if name not in kept}


def _weights(graph: Proto) -> Iterable[tuple[Proto, Floats]]:
    from onnx import numpy_helper

    outputs = {one.name for one in graph.output}
    for tensor in list(graph.initializer):
        if tensor.data_type == _float() and tensor.name not in outputs and _size(tensor) >= _LEAST_VALUES:
            array = numpy_helper.to_array(tensor)
            if np.isfinite(array).all():
                yield tensor, array


def _replace(graph: Proto, tensor: Proto, parts: list[Any], op: str, **attributes: Any) -> None:  # noqa: ANN401  # as ONNX takes them
    """Put arrays and a node that computes the tensor from them in its place."""
    from onnx import helper, numpy_helper

    name = tensor.name
    names = [f"{name}/stored", f"{name}/scale"][: len(parts)]
    stored = [numpy_helper.from_array(part, own) for part, own in zip(parts, names, strict=True)]
    graph.initializer.remove(tensor)
    graph.initializer.extend(stored)
    graph.node.insert(0, helper.make_node(op, names, [name], name=f"{name}/{op}", **attributes))


def _size(tensor: Proto) -> int:
    return int(np.prod(tensor.dims, dtype=np.int64))


def _float() -> int:
    import onnx

    return int(onnx.TensorProto.FLOAT)
