"""Weights with many zeros stored as TFLite's sparse tensors, where that is smaller.

A sparse tensor keeps the values that are not zero and where they are: compressed rows along the last axis, of single
values or blocks. A DENSIFY in front of the layer makes the dense one when a model is loaded: LiteRT 2.3 and
tflite-runtime 2.14 both do, with XNNPACK and without, and compute the same. A layer that takes a sparse tensor itself
is no option: XNNPACK, which is on by default, reads beyond it.

It makes the file small. Memory and time stay as they are where XNNPACK has no sparse kernels: on x86 with AVX, and in
all networks but those of 1x1 convolutions that its documentation describes.
"""

import collections
import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit_converters import tflite_file
from edgekit_converters.model import Array
from edgekit_converters.tflite_file import Op, Tensor
from edgekit_converters.tflite_rewrite import packed, unpacked

_TYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8}
_PLACES = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "DEQUANTIZE": 0}
_BLOCKS = (1, 2, 4, 8, 16)
_AROUND_BYTES = 400  # operator, tensor and tables beside the values
_SCALE_BYTES = 12  # with its zero point
_MATRIX = 2  # dimensions
_INDEX_TYPES = (("Uint8Vector", np.uint8), ("Uint16Vector", np.uint16), ("Int32Vector", np.int32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sparse:
    """A tensor in compressed rows along its last axis, `block` values at a time."""

    values: Array
    starts: NDArray[np.int64]
    """Where each row begins among the blocks that are stored, and where the last one ends."""
    places: NDArray[np.int64]
    """Which block of its row each is."""
    block: int

    @property
    def size(self) -> int:
        """What it takes in bytes."""
        return self.values.nbytes + sum(len(one) * _kind(one)[1]().itemsize for one in (self.starts, self.places))


def store_sparse(data: bytes) -> bytes:
    """Return a TFLite file with those weights sparse that are smaller so; the same bytes where none is.

    Weights of convolutions and dense layers count, if only one operator takes them. `data` must have passed
    `tflite_file.parse`.

    Raises:
        ConverterMissingError: if ai-edge-litert, whose schema is used, is not installed.
    """
    file, model = tflite_file.parse(data, "the model"), unpacked(data)
    graph = model.subgraphs[0]
    chosen = _chosen(file, model)
    if not chosen:
        return data
    code = _code(model)
    densified = {at: _add(model, graph, at, sparse, code) for at, sparse in chosen.items()}
    operators = []
    for op in graph.operators:
        operators += [densified[int(at)] for at in op.inputs if int(at) in densified]
        operators.append(op)
    graph.operators = operators
    return packed(model)


def _chosen(file: tflite_file.TFLiteFile, model: Any) -> dict[int, _Sparse]:  # noqa: ANN401  # the schema has no types
    """Return the tensors of the first graph that are smaller sparse, in that form."""
    tensors = model.subgraphs[0].tensors
    buffers = collections.Counter(one.buffer for graph in model.subgraphs for one in graph.tensors)
    taken = collections.Counter(one.index for op in file.main.ops for one in op.inputs if one is not None)
    found = {}
    for op in file.main.ops:
        tensor = _weights(op)
        if tensor is None or taken[tensor.index] > 1 or tensor.index in file.main.outputs:
            continue
        stored = tensors[tensor.index]
        raw = model.buffers[stored.buffer].data
        if raw is None or buffers[stored.buffer] > 1 or stored.sparsity is not None:
            continue
        dense = np.frombuffer(bytes(raw), _TYPES[tensor.dtype]).reshape(tensor.stored_shape)
        small = _smallest(dense)
        scales = len(tensor.quantization.scale) if tensor.quantization else 0
        if small.size + _AROUND_BYTES + _SCALE_BYTES * scales < dense.nbytes:
            found[tensor.index] = small
    return found


def _weights(op: Op) -> Tensor | None:
    """Return the weights of an operator that a DENSIFY may stand before.

    In int8 that is a DEQUANTIZE, or a convolution that is all int8: XNNPACK in LiteRT 2.3 does not take others.
    """
    tensor = op.inputs[_PLACES[op.name]] if op.name in _PLACES else None
    if tensor is None or tensor.dtype not in _TYPES or not tensor.data_bytes or len(tensor.stored_shape) < _MATRIX:
        return None
    if any(tensor.quantization.zero_point if tensor.quantization else ()):
        return None
    whole = op.name == "CONV_2D" and op.inputs[0] is not None and op.inputs[0].dtype == "int8"
    return tensor if tensor.dtype != "int8" or op.name == "DEQUANTIZE" or whole else None


def _smallest(dense: Array) -> _Sparse:
    rows = dense.reshape(-1, dense.shape[-1])
    ways = []
    for block in (one for one in _BLOCKS if rows.shape[1] % one == 0):
        blocks = rows.reshape(len(rows), -1, block)
        there = (blocks != 0).any(axis=2)
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        ways.append(_Sparse(values=blocks[there], starts=starts, places=np.nonzero(there)[1], block=block))
    return min(ways, key=lambda one: one.size)


def _code(model: Any) -> int:  # noqa: ANN401  # the generated schema has no types
    """Return the place of DENSIFY among the operator codes, a new one."""
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DENSIFY
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _add(model: Any, graph: Any, at: int, sparse: _Sparse, code: int) -> Any:  # noqa: ANN401
    """Add a sparse tensor that keeps the data of a dense one, and return the operator between them."""
    from ai_edge_litert import schema_py_generated as schema

    dense = graph.tensors[at]
    tensor = copy.copy(dense)
    tensor.name = dense.name + b"/sparse"
    tensor.sparsity = _parameters(dense.shape, sparse)
    graph.tensors.append(tensor)
    model.buffers[tensor.buffer].data = np.frombuffer(sparse.values.tobytes(), np.uint8)
    dense.buffer = 0  # the schema's empty one
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = code, [len(graph.tensors) - 1], [at]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.DensifyOptions, schema.DensifyOptionsT()
    return op


def _parameters(shape: Any, sparse: _Sparse) -> Any:  # noqa: ANN401
    from ai_edge_litert import schema_py_generated as schema

    made, rank = schema.SparsityParametersT(), len(shape)
    made.dimMetadata = [_dense(int(size)) for size in shape[:-1]]
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    last.arraySegments, last.arraySegmentsType = _vector(sparse.starts)
    last.arrayIndices, last.arrayIndicesType = _vector(sparse.places)
    made.dimMetadata.append(last)
    made.traversalOrder = list(range(rank))
    if sparse.block > 1:
        made.traversalOrder.append(rank)
        made.blockMap = [rank - 1]
        made.dimMetadata.append(_dense(sparse.block))
    return made


def _dense(size: int) -> Any:  # noqa: ANN401
    from ai_edge_litert import schema_py_generated as schema

    one = schema.DimensionMetadataT()
    one.format, one.denseSize = schema.DimensionType.DENSE, size
    return one


def _vector(numbers: NDArray[np.int64]) -> tuple[Any, int]:
    from ai_edge_litert import schema_py_generated as schema

    name, kind = _kind(numbers)
    vector = getattr(schema, f"{name}T")()
    vector.values = numbers.astype(kind)
    return vector, getattr(schema.SparseIndexVector, name)


def _kind(numbers: NDArray[np.int64]) -> tuple[str, type[np.integer[Any]]]:
    largest = int(numbers.max(initial=0))
    return next(one for one in _INDEX_TYPES if largest <= np.iinfo(one[1]).max)
