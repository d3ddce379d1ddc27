"""The walk over a TFLite flatbuffer; every wrong offset or index ends in an exception `tflite_file.parse` knows."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from edgekit_converters.foreign import missing
from edgekit_converters.tflite_file import ITEM_BITS, Op, Quantization, Signature, Subgraph, Tensor, TFLiteFile

Table = Any  # the generated schema has no types

_LAST_PLACEHOLDER = 127  # "look into the newer, wider field" in the older field of an operator code
_NO_TENSOR = -1
_MAX_RANK = 16


def schema() -> Table:
    """Return the generated flatbuffer schema.

    Raises:
        ConverterMissingError: if ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as exc:
        raise missing("ai-edge-litert", "tflite") from exc
    return schema_py_generated


class Parser:
    """One pass over a file's bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._schema = schema()
        # A vector element takes at least four bytes: a file that makes us visit more than this lies about its size.
        self._budget = len(data)
        self._model: Table = self._schema.Model.GetRootAs(data, 0)
        self._types = _names(self._schema.TensorType)
        self._ops = _names(self._schema.BuiltinOperator)

    def file(self) -> TFLiteFile:
        """Describe the whole file."""
        model = self._model
        self._buffers = [self._buffer(one) for one in self._each(model.BuffersLength(), model.Buffers)]
        self._codes = [self._code(one) for one in self._each(model.OperatorCodesLength(), model.OperatorCodes)]
        graphs = tuple(self._subgraph(one) for one in self._each(model.SubgraphsLength(), model.Subgraphs))
        if not graphs:
            raise ValueError("it holds no graph")
        # Options, sparsity and other tables are not described here, but whoever rewrites or loads the file reads them.
        self._schema.ModelT.InitFromObj(model)
        signatures = [
            self._signature(one, graphs) for one in self._each(model.SignatureDefsLength(), model.SignatureDefs)
        ]
        return TFLiteFile(
            size_bytes=len(self._data),
            version=int(model.Version()),
            description=_text(model.Description()),
            subgraphs=graphs,
            signatures=tuple(signatures),
            metadata=tuple(self._metadata(one) for one in self._each(model.MetadataLength(), model.Metadata)),
        )

    def _each(self, length: int, get: Callable[[int], Table]) -> Iterator[Table]:
        self._spend(length)
        for index in range(length):
            one = get(index)
            if not 0 <= one._tab.Pos < len(self._data):  # noqa: SLF001  # the schema's only way to say where
                raise ValueError("an offset points outside the file")
            yield one

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise ValueError("its lists are longer than the file")

    def _buffer(self, buffer: Table) -> int:
        offset, size = int(buffer.Offset()), int(buffer.Size())
        if offset > 1:  # large files keep the data behind the flatbuffer
            if offset + size > len(self._data):
                raise ValueError("a buffer lies outside the file")
            return size
        return 0 if buffer.DataIsNone() else len(buffer.DataAsNumpy())

    def _metadata(self, metadata: Table) -> str:
        if not 0 <= int(metadata.Buffer()) < len(self._buffers):
            raise ValueError(f"its metadata names a buffer {metadata.Buffer()} that the file does not have")
        return _text(metadata.Name())

    def _code(self, code: Table) -> str:
        older, newer = int(code.DeprecatedBuiltinCode()), int(code.BuiltinCode())
        number = newer if older >= _LAST_PLACEHOLDER else max(older, newer)
        name = self._ops.get(number, f"OP_{number}")
        return f"CUSTOM:{_text(code.CustomCode())}" if name == "CUSTOM" else name

    def _subgraph(self, graph: Table) -> Subgraph:
        tensors = tuple(
            self._tensor(index, one) for index, one in enumerate(self._each(graph.TensorsLength(), graph.Tensors))
        )
        return Subgraph(
            name=_text(graph.Name()),
            tensors=tensors,
            ops=tuple(
                self._op(index, one, tensors)
                for index, one in enumerate(self._each(graph.OperatorsLength(), graph.Operators))
            ),
            inputs=tuple(self._index(at, tensors) for at in self._numbers(graph.InputsIsNone(), graph.InputsAsNumpy)),
            outputs=tuple(
                self._index(at, tensors) for at in self._numbers(graph.OutputsIsNone(), graph.OutputsAsNumpy)
            ),
        )

    def _numbers(self, absent: bool, get: Callable[[], Any]) -> list[Any]:
        if absent:
            return []
        values = get()
        self._spend(len(values))
        return list(values.tolist())

    def _index(self, at: int, tensors: tuple[Tensor, ...]) -> int:
        if not 0 <= at < len(tensors):
            raise ValueError(f"it names a tensor {at} that it does not have")
        return at

    def _tensor(self, index: int, tensor: Table) -> Tensor:
        stored = tuple(self._numbers(tensor.ShapeIsNone(), tensor.ShapeAsNumpy))
        free = self._numbers(tensor.ShapeSignatureIsNone(), tensor.ShapeSignatureAsNumpy) or stored
        if len(stored) > _MAX_RANK or len(free) != len(stored) or any(size < 0 for size in stored):
            raise ValueError(f"tensor {index} has an impossible shape")
        dtype, buffer = self._types.get(int(tensor.Type())), int(tensor.Buffer())
        if dtype is None:
            raise ValueError(f"tensor {index} has an unknown type")
        if not 0 <= buffer < max(len(self._buffers), 1):
            raise ValueError(f"tensor {index} names a buffer {buffer} that the file does not have")
        data_bytes = self._buffers[buffer] if self._buffers else 0
        bits = ITEM_BITS.get(dtype)
        if data_bytes and bits and tensor.Sparsity() is None and data_bytes != (prod(stored) * bits + 7) // 8:
            raise ValueError(f"tensor {index} has {data_bytes} bytes of data, which is not what its shape takes")
        return Tensor(
            index=index,
            name=_text(tensor.Name()),
            shape=tuple(None if size < 0 else size for size in free),
            stored_shape=stored,
            dtype=dtype,
            quantization=self._quantization(tensor.Quantization()),
            buffer=buffer,
            data_bytes=data_bytes,
        )

    def _quantization(self, quantization: Table) -> Quantization | None:
        if quantization is None or quantization.ScaleIsNone() or not quantization.ScaleLength():
            return None
        return Quantization(
            scale=tuple(self._numbers(absent=False, get=quantization.ScaleAsNumpy)),
            zero_point=tuple(self._numbers(quantization.ZeroPointIsNone(), quantization.ZeroPointAsNumpy)),
            axis=int(quantization.QuantizedDimension()),
        )

    def _op(self, index: int, op: Table, tensors: tuple[Tensor, ...]) -> Op:
        name = self._codes[int(op.OpcodeIndex())]
        inputs, outputs = (
            tuple(None if at == _NO_TENSOR else tensors[self._index(at, tensors)] for at in numbers)
            for numbers in (
                self._numbers(op.InputsIsNone(), op.InputsAsNumpy),
                self._numbers(op.OutputsIsNone(), op.OutputsAsNumpy),
            )
        )
        swapped = name == "BATCH_MATMUL" and self._left_is_transposed(op)
        return Op(index=index, name=name, inputs=inputs, outputs=outputs, macs=_macs(name, inputs, outputs, swapped))

    def _left_is_transposed(self, op: Table) -> bool:
        table = op.BuiltinOptions()
        if table is None:
            return False
        options = self._schema.BatchMatMulOptions()
        options.Init(table.Bytes, table.Pos)
        return bool(options.AdjX())

    def _signature(self, signature: Table, graphs: tuple[Subgraph, ...]) -> Signature:
        at = int(signature.SubgraphIndex())
        if not 0 <= at < len(graphs):
            raise ValueError(f"a signature names a graph {at} that the file does not have")
        tensors = graphs[at].tensors
        inputs, outputs = (
            tuple((_text(one.Name()), self._index(int(one.TensorIndex()), tensors)) for one in self._each(length, get))
            for length, get in (
                (signature.InputsLength(), signature.Inputs),
                (signature.OutputsLength(), signature.Outputs),
            )
        )
        return Signature(key=_text(signature.SignatureKey()), subgraph=at, inputs=inputs, outputs=outputs)


def _macs(
    name: str, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor | None, ...], left_is_transposed: bool
) -> int | None:
    """Count multiply-accumulates from shapes.

    Filters are [out, h, w, in], depthwise [1, h, w, out], in three dimensions [d, h, w, in, out].
    """
    shapes = [one.stored_shape if one else () for one in inputs]
    times, each = outputs[0].elements if outputs and outputs[0] else 0, None
    match name, shapes:
        case "CONV_2D", [_, filters, *_]:
            each = prod(filters[1:])
        case "DEPTHWISE_CONV_2D", [_, filters, *_]:
            each = prod(filters[1:3])
        case "CONV_3D", [_, filters, *_]:
            each = prod(filters[:-1])
        case "TRANSPOSE_CONV", [_, filters, image, *_]:
            times, each = prod(image), prod(filters[:3])
        case "FULLY_CONNECTED", [_, filters, *_]:
            each = filters[-1]
        case "BATCH_MATMUL", [left, _, *_]:
            each = left[-2 if left_is_transposed else -1]
    return None if each is None else times * each


def _names(enum: type) -> dict[int, str]:
    numbers = {number: name for name, number in vars(enum).items() if isinstance(number, int)}
    return {number: name.lower() if enum.__name__ == "TensorType" else name for number, name in numbers.items()}


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", errors="replace")
