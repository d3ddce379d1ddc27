"""The few parts of an `.onnx` file that are read here, with the standard library: protobuf messages of `onnx.proto`.

ONNX Runtime tells neither the scales of quantized inputs and outputs, nor the names of free dimensions before it has
loaded the whole model. Weights are skipped, not read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edgekit_agent.errors import ModelError

# fields by their number in onnx.proto
_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT = 1, 5, 11  # of GraphProto
_TAKES, _GIVES, _OP_TYPE, _ATTRIBUTE = 1, 2, 4, 5  # of NodeProto
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TENSOR = 1, 3, 5  # of AttributeProto
_TENSOR_KIND, _TENSOR_FLOATS, _TENSOR_INTS, _TENSOR_NAME, _TENSOR_RAW = 2, 4, 5, 8, 9  # of TensorProto
_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_NAME = 2, 1, 2, 1, 2  # down to a dimension's name
# of TensorProto.DataType: how a number lies in raw_data
_KINDS = {1: "f", 2: "B", 3: "b", 4: "H", 5: "h", 6: "i", 10: "e"}
_HALF = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # how a field lies in the file
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
_MAX_SCALES_BYTES = 1 << 20
"""What is larger is no scale of an input or output."""
_DEFAULT_AXIS = 1  # of QuantizeLinear and DequantizeLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a quantized tensor stores: real = (stored - zero_point) * scale, one pair or one a channel along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """What the file tells: `batches` are the names of inputs' free first dimensions."""

    batches: frozenset[str]
    taken: dict[str, Grid]
    """By name, of what DequantizeLinear and nothing else takes."""
    given: dict[str, Grid]
    """By name, of what QuantizeLinear gives."""


@dataclass(slots=True)
class _Node:
    op: str = ""
    takes: list[str] = field(default_factory=list)
    gives: list[str] = field(default_factory=list)
    axis: int = _DEFAULT_AXIS
    constant: tuple[float, ...] | None = None


def read(model: Path) -> OnnxFile:
    """Read an `.onnx` file.

    Raises:
        ModelError: if it cannot be read, is something else, or was cut.
    """
    try:
        with model.open("rb") as file:
            return _read(file, model.stat().st_size)
    except OSError as exc:
        raise ModelError(f"model '{model}' cannot be read: {exc.strerror}") from exc
    except (ValueError, struct.error) as exc:
        raise ModelError(f"model '{model}' is not an ONNX file or is truncated") from exc


def _read(file: BinaryIO, size: int) -> OnnxFile:
    batches, constants, nodes = set[str](), dict[str, tuple[float, ...]](), list[_Node]()
    for number, graph in _fields(file, size):
        for inner, length in _fields(file, file.tell() + graph) if number == _GRAPH else ():
            if inner == _NODE:
                nodes.append(_node(file, length))
            elif inner == _INPUT:
                batches.add(_first_dimension(file, length))
            elif inner == _INITIALIZER and length < _MAX_SCALES_BYTES:
                name, values = _tensor(file, length)
                constants[name] = values
    constants |= {node.gives[0]: node.constant for node in nodes if node.constant is not None and node.gives}
    return _told(frozenset(batches - {""}), constants, nodes)


def _told(batches: frozenset[str], constants: dict[str, tuple[float, ...]], nodes: list[_Node]) -> OnnxFile:
    takers: dict[str, list[_Node]] = {}
    for node in nodes:
        for name in node.takes:
            takers.setdefault(name, []).append(node)
    taken, given = {}, {}
    for name, ends in takers.items():
        grids = {
            _grid(one, constants) if one.op == "DequantizeLinear" and one.takes[0] == name else None for one in ends
        }
        if len(grids) == 1 and (grid := grids.pop()) is not None:
            taken[name] = grid
    for node in nodes:
        if node.op == "QuantizeLinear" and node.gives and (grid := _grid(node, constants)) is not None:
            given[node.gives[0]] = grid
    return OnnxFile(batches=batches, taken=taken, given=given)


def _grid(node: _Node, constants: dict[str, tuple[float, ...]]) -> Grid | None:
    """Return what a node says of its tensor; None where its scale is computed or stored elsewhere."""
    known = [constants.get(name) for name in node.takes[1:3] if name]
    if not known or None in known or not known[0]:
        return None
    scale = known[0]
    zero = known[1] if len(known) > 1 and known[1] else (0,) * len(scale)
    return Grid(scale=scale, zero_point=tuple(int(one) for one in zero), axis=node.axis)


def _node(file: BinaryIO, size: int) -> _Node:
    node = _Node()
    for number, length in _fields(file, file.tell() + size):
        if number == _TAKES:
            node.takes.append(_text(file, length))
        elif number == _GIVES:
            node.gives.append(_text(file, length))
        elif number == _OP_TYPE:
            node.op = _text(file, length)
        elif number == _ATTRIBUTE and length < _MAX_SCALES_BYTES:
            _attribute(file, length, node)
    return node


def _attribute(file: BinaryIO, size: int, node: _Node) -> None:
    name, tensor, whole = "", None, 0
    for number, value in _fields(file, file.tell() + size):
        if number == _ATTRIBUTE_NAME:
            name = _text(file, value)
        elif number == _ATTRIBUTE_INT:
            whole = value
        elif number == _ATTRIBUTE_TENSOR:
            tensor = _tensor(file, value)[1]
    if name == "axis":
        node.axis = whole - (1 << 64) if whole >> 63 else whole
    elif name == "value" and tensor is not None:
        node.constant = tensor


def _tensor(file: BinaryIO, size: int) -> tuple[str, tuple[float, ...]]:
    """Return a tensor's name and numbers; none where they are of a kind no scale has, or stored elsewhere."""
    name, kind, raw, floats, whole = "", 0, b"", b"", list[int]()
    for number, value in _fields(file, file.tell() + size):
        if number == _TENSOR_NAME:
            name = _text(file, value)
        elif number == _TENSOR_KIND:
            kind = value
        elif number == _TENSOR_RAW:
            raw = file.read(value)
        elif number == _TENSOR_FLOATS:
            floats += file.read(value)
        elif number == _TENSOR_INTS:
            end = file.tell() + value
            while file.tell() < end:
                whole.append(_varint(file))
    if kind not in _KINDS:
        return name, ()
    if whole:
        # stored as 32 bits each; of halves the bits
        raw = struct.pack(f"<{len(whole)}{'H' if kind == _HALF else 'i'}", *map(_signed, whole))
        return name, struct.unpack(f"<{len(whole)}{'e' if kind == _HALF else 'i'}", raw)
    data = raw or floats
    return name, struct.unpack(f"<{len(data) // struct.calcsize(_KINDS[kind])}{_KINDS[kind]}", data)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _first_dimension(file: BinaryIO, size: int) -> str:
    """Return the name of an input's first dimension, if it has one."""
    path = (_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_NAME)
    for wanted in path:
        for number, length in _fields(file, file.tell() + size):
            if number == wanted:
                size = length
                break
        else:
            return ""
    return _text(file, size)


def _text(file: BinaryIO, size: int) -> str:
    return file.read(size).decode()


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield each field's number with its value, or, the file standing at its first byte, its length.

    Raises:
        ValueError: if a field is not whole.
    """
    while (at := file.tell()) < end:
        key = _varint(file)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            yield number, _varint(file)
            continue
        length = _varint(file) if kind == _BYTES else _FIXED_BYTES.get(kind, -1)
        start = file.tell()
        if not number or length < 0 or start + length > end:
            raise ValueError(f"no field at byte {at}")
        if kind == _BYTES:
            yield number, length
        file.seek(start + length)


def _varint(file: BinaryIO) -> int:
    value = 0
    for place in range(_MAX_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << 7 * place
        if byte[0] < 128:  # noqa: PLR2004  # the highest bit says that another follows
            return value
    raise ValueError("a number is cut")
