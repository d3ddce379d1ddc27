"""The few parts of a `.tflite` file that are read here, with the standard library: a flatbuffer of `schema.fbs`.

Every offset is checked against the file's length, because the older library does not verify a file and crashes.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes._flatbuffer import Table
from edgekit_agent.runtimes._tflite_schema import verify

_IDENTIFIER = b"TFL3"
_HEADER_BYTES = 8
# fields by their number in schema.fbs
_SUBGRAPHS, _SIGNATURES = 2, 7  # of Model
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
        verify(content)
    except (IndexError, struct.error, RecursionError) as exc:
        raise ModelError(f"model '{model}' is truncated or damaged: a part of it lies outside the file") from exc
    return content


def ports(content: bytes) -> tuple[list[Port], list[Port]]:
    """Return inputs and outputs of the first graph, in its order, named by the signature where there is one.

    Raises:
        ModelError: if the file is broken.
    """
    try:
        model = Table.root(content)
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


def _signed(maps: list[Table]) -> dict[int, str]:
    return {one.scalar(_MAP_TENSOR, "I"): one.text(_MAP_NAME) for one in reversed(maps)}


def _port(tensor: Table, name: str | None) -> Port:
    quantization = tensor.table(_QUANTIZATION)
    return Port(
        name=tensor.text(_NAME) if name is None else name,
        scale=quantization.numbers(_SCALE, "f") if quantization else (),
        zero_point=quantization.numbers(_ZERO_POINT, "q") if quantization else (),
        axis=quantization.scalar(_AXIS, "i") if quantization else 0,
    )
