"""The few parts of a `.tflite` file that are read here, with the standard library: a flatbuffer of `schema.fbs`.

Every offset is checked against the file's length, because the older library does not verify a file and crashes.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent.errors import ModelError

_IDENTIFIER = b"TFL3"
_HEADER_BYTES = 8
_MAX_ITEMS = 1 << 20
# fields by their number in schema.fbs
_SUBGRAPHS, _BUFFERS, _SIGNATURES = 2, 4, 7  # of Model
_TENSORS, _INPUTS, _OUTPUTS = 0, 1, 2  # of SubGraph
_NAME, _QUANTIZATION = 3, 4  # of Tensor
_SCALE, _ZERO_POINT, _AXIS = 2, 3, 6  # of QuantizationParameters
_MAP_NAME, _MAP_TENSOR = 0, 1  # of TensorMap; SignatureDef has its inputs as 0 and its outputs as 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output as the file describes it."""

    name: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


def checked(model: Path) -> bytes:
    """Return the file's bytes if it looks like a whole TFLite file.

    Raises:
        ModelError: if it cannot be read, is something else, or was cut.
    """
    try:
        content = model.read_bytes()
    except OSError as exc:
        raise ModelError(f"model '{model}' cannot be read: {exc.strerror}") from exc
    root = int.from_bytes(content[:4], "little")
    if content[4:_HEADER_BYTES] != _IDENTIFIER or not _HEADER_BYTES <= root < len(content) - 4:
        raise ModelError(f"model '{model}' is not a TFLite file or is truncated")
    try:
        for buffer in _Table(content, root).tables(_BUFFERS):
            buffer.span(0)
    except (IndexError, struct.error) as exc:
        raise ModelError(f"model '{model}' is truncated: a tensor's data lies outside the file") from exc
    return content


def ports(content: bytes) -> tuple[list[Port], list[Port]]:
    """Return inputs and outputs of the first graph, in its order, named by the signature where there is one.

    Raises:
        ModelError: if the file is broken.
    """
    try:
        model = _Table(content, int.from_bytes(content[:4], "little"))
        graph = model.tables(_SUBGRAPHS)[0]
        tensors = graph.tables(_TENSORS)
        signatures = model.tables(_SIGNATURES)
        found = []
        for side, members in enumerate((_INPUTS, _OUTPUTS)):
            names = _signed(signatures[0].tables(side)) if len(signatures) == 1 else {}
            found.append([_port(tensors[index], names.get(index)) for index in graph.numbers(members, "i")])
    except (IndexError, struct.error, UnicodeDecodeError) as exc:
        raise ModelError("a TFLite file's inputs and outputs cannot be read") from exc
    inputs, outputs = found
    return inputs, outputs


def _signed(maps: "list[_Table]") -> dict[int, str]:
    return {one.scalar(_MAP_TENSOR, "I"): one.text(_MAP_NAME) for one in reversed(maps)}


def _port(tensor: "_Table", name: str | None) -> Port:
    quantization = tensor.table(_QUANTIZATION)
    return Port(
        name=tensor.text(_NAME) if name is None else name,
        scale=quantization.numbers(_SCALE, "f") if quantization else (),
        zero_point=quantization.numbers(_ZERO_POINT, "q") if quantization else (),
        axis=quantization.scalar(_AXIS, "i") if quantization else 0,
    )


class _Table:
    """A table of a flatbuffer; reading outside the file raises IndexError or struct.error."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content, self._at = content, at

    def _number(self, at: int, kind: str) -> int:
        if at < 0:
            raise IndexError
        number: int = struct.unpack_from(f"<{kind}", self._content, at)[0]
        return number

    def _field(self, field: int) -> int | None:
        vtable = self._at - self._number(self._at, "i")
        entry = vtable + 4 + 2 * field
        offset = self._number(entry, "H") if entry < vtable + self._number(vtable, "H") else 0
        return self._at + offset if offset else None

    def span(self, field: int, size: int = 1) -> tuple[int, int]:
        """Return where a vector's items of `size` bytes begin and how many there are."""
        at = self._field(field)
        if at is None:
            return 0, 0
        start = at + self._number(at, "I")
        count = self._number(start, "I")
        if start + 4 + count * size > len(self._content):
            raise IndexError
        return start + 4, count

    def scalar(self, field: int, kind: str) -> int:
        """Return a number, 0 where it is left out."""
        at = self._field(field)
        return 0 if at is None else self._number(at, kind)

    def numbers(self, field: int, kind: str) -> tuple[int, ...]:
        """Return a vector of numbers."""
        start, count = self.span(field, struct.calcsize(f"<{kind}"))
        return struct.unpack_from(f"<{count}{kind}", self._content, start)

    def text(self, field: int) -> str:
        """Return a string."""
        start, count = self.span(field)
        return self._content[start : start + count].decode()

    def table(self, field: int) -> "_Table | None":
        """Return a table, if it is there."""
        at = self._field(field)
        return None if at is None else _Table(self._content, at + self._number(at, "I"))

    def tables(self, field: int) -> "list[_Table]":
        """Return a vector of tables."""
        start, count = self.span(field, 4)
        if count > _MAX_ITEMS:
            raise IndexError
        places = (start + 4 * number for number in range(count))
        return [_Table(self._content, place + self._number(place, "I")) for place in places]
