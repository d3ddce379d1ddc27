"""What a TFLite file holds, read without trusting it.

Nothing here runs the model or hands the bytes to native code: every offset, index and length of
the flatbuffer is checked in Python, so a broken or hostile file is an error and not a crash.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgekit_converters.errors import ModelFileError

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
"""The signature EdgeKit writes and prefers."""

# Bytes a value, for types whose constants can be checked against their shape; int4 and int2 are packed.
ITEM_BITS = {
    "float32": 32, "float16": 16, "bfloat16": 16, "float64": 64, "int64": 64, "int32": 32, "uint32": 32, "uint64": 64,
    "int16": 16, "uint16": 16, "int8": 8, "uint8": 8, "int4": 4, "int2": 2, "bool": 8, "complex64": 64,
    "complex128": 128,
}  # fmt: skip
_QUANTIZED_TYPES = frozenset({"int2", "int4", "int8", "uint8", "int16"})
_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
_PACKED = frozenset({"int2", "int4"})  # quantized for sure: with a scale a block there is no `quantization`


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """real = (stored - zero_point) * scale; one pair, or one a slice along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor; `shape` has None where a dimension is free, `stored_shape` the size the file gives it (1)."""

    index: int
    name: str
    shape: tuple[int | None, ...]
    stored_shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    buffer: int
    data_bytes: int
    """Bytes of constant data in the file; 0 for what is computed."""

    @property
    def elements(self) -> int:
        """Number of values, free dimensions counted as the file stores them."""
        return prod(self.stored_shape)

    @property
    def is_weight(self) -> bool:
        """Whether it is a learnt constant: shapes, axes and other plain integers are not."""
        learnt = self.dtype in _FLOATS or self.dtype in _PACKED or self.quantization is not None
        return self.data_bytes > 0 and learnt


Named = tuple[tuple[str, Tensor], ...]
"""Tensors under their public names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator; `macs` is None where they cannot be said from the shapes."""

    index: int
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    macs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgraph:
    """A graph of the file; the first one is the model, others belong to control flow."""

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A named entry: pairs of public name and tensor index."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TFLiteFile:
    """A described TFLite file."""

    size_bytes: int
    version: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    metadata: tuple[str, ...]

    @property
    def main(self) -> Subgraph:
        """The model's own graph."""
        return self.subgraphs[0]

    @property
    def ops(self) -> tuple[Op, ...]:
        """Every operator, those of control flow's graphs after the model's own."""
        return tuple(op for graph in self.subgraphs for op in graph.ops)

    @property
    def parameters(self) -> int:
        """Number of learnt values, shared buffers counted once."""
        weights = {tensor.buffer: tensor for graph in self.subgraphs for tensor in graph.tensors if tensor.is_weight}
        return sum(tensor.elements for tensor in weights.values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run with free dimensions at 1; control flow's graphs count once."""
        return sum(op.macs or 0 for op in self.ops)

    @property
    def quantized(self) -> bool:
        """Whether some values are already stored in fewer than 32 bits."""
        return any(
            (tensor.quantization is not None and tensor.dtype in _QUANTIZED_TYPES)
            or (tensor.data_bytes > 0 and (tensor.dtype == "float16" or tensor.dtype in _PACKED))
            for graph in self.subgraphs
            for tensor in graph.tensors
        )

    @property
    def signature(self) -> Signature | None:
        """The signature that stands for the model: `serving_default`, or the only one of its graph."""
        usable = [one for one in self.signatures if one.subgraph == 0]
        named = [one for one in usable if one.key == SIGNATURE]
        return named[0] if named else usable[0] if len(usable) == 1 else None

    @property
    def public_inputs(self) -> Named:
        """Inputs in the file's order, under the signature's names where there is one."""
        return self._public(self.main.inputs, self.signature.inputs if self.signature else ())

    @property
    def public_outputs(self) -> Named:
        """Outputs in the file's order, under the signature's names where there is one."""
        return self._public(self.main.outputs, self.signature.outputs if self.signature else ())

    def _public(self, order: tuple[int, ...], pairs: tuple[tuple[str, int], ...]) -> Named:
        tensors = self.main.tensors
        if sorted(index for _, index in pairs) == sorted(order):
            return tuple((name, tensors[index]) for index in dict.fromkeys(order) for name, at in pairs if at == index)
        return tuple((tensors[index].name or f"tensor_{index}", tensors[index]) for index in order)


def read(path: Path) -> TFLiteFile:
    """Read and check a TFLite file.

    Raises:
        ModelFileError: if it is missing, not TFLite, truncated or inconsistent.
        ConverterMissingError: if ai-edge-litert, whose schema is used, is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelFileError(f"cannot read '{path}': {exc.strerror}") from exc
    return parse(data, str(path))


def parse(data: bytes, what: str) -> TFLiteFile:
    """Check the bytes of a TFLite file and describe them; `what` names them in errors.

    Raises:
        ModelFileError: if they are not TFLite, truncated or inconsistent.
        ConverterMissingError: if ai-edge-litert, whose schema is used, is not installed.
    """
    from edgekit_converters._tflite_parser import Parser

    if data[4:8] != IDENTIFIER:
        raise ModelFileError(f"'{what}' is not a TFLite model: it does not carry the mark '{IDENTIFIER.decode()}'")
    try:
        return Parser(data).file()
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError) as exc:
        raise ModelFileError(f"the TFLite model '{what}' is truncated or damaged: {exc}") from exc
