"""What an application and a worker say to each other over a model's socket (UNIX, SEQPACKET). Standard library only.

The worker says `Hello` (JSON). The application answers `{"v": 1}` with the descriptor of its memory beside it
(SCM_RIGHTS). From then on it sends requests and gets a reply for each, in any order. Tensors never go through the
socket: they stand in the memory, one after the other, each at a multiple of 64 bytes, inputs where the request says
and outputs where it says. Moments are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from edgekit_agent.errors import ModelError, ProtocolError
from edgekit_agent.runtimes.base import TensorSpec

VERSION = 1
ALIGN = 64
MAX_HELLO = 1 << 17
MAX_TEXT = 1000
MAX_TENSORS, MAX_RANK = 64, 16
ITEM_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
        "float16": 2, "float32": 4, "float64": 8,
    }
)  # fmt: skip
"""The types a tensor in the memory may have."""

_REQUEST = struct.Struct("<6Q")  # as `Request` has them, without the sizes
_REPLY = struct.Struct("<QQ")  # id, status

_KEPT = 256

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]


class Status(IntEnum):
    """How a request ended; OK is followed by the outputs' sizes, the others by a sentence."""

    OK = 0
    BUSY = 1
    """The queue is full; nothing was run."""
    EXPIRED = 2
    """The deadline had passed before it was run."""
    BAD = 3
    """The request is wrong."""
    FAILED = 4
    """The runtime could not do it."""
    SHORT = 5
    """The outputs do not fit where they may stand; followed by the outputs' sizes."""
    GOAWAY = 6
    """No reply: the worker ends, and what it has not answered is to be sent to its successor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a worker serves. A first dimension of -1 is the batch: of all inputs the same, at most `max_batch`."""

    model: str
    version: str
    runtime: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int = 1
    max_bytes: int = 1 << 26
    """The most memory that an application may bring."""
    queue: int = 1
    """How many requests may wait; more at a time are answered `busy`."""

    def __post_init__(self) -> None:
        """Check what could make an application ask for too much.

        Raises:
            ModelError: if there are too many tensors, or tensors of a type that has no place in the memory.
        """
        for spec in (*self.inputs, *self.outputs):
            if spec.dtype not in ITEM_BYTES:
                raise ModelError(f"tensor '{spec.name}' is {spec.dtype}, and only numbers can be served")
            if len(spec.shape) > MAX_RANK:
                raise ModelError(f"tensor '{spec.name}' has more than {MAX_RANK} dimensions")
        if max(len(self.inputs), len(self.outputs)) > MAX_TENSORS:
            raise ModelError(f"the model has more than {MAX_TENSORS} inputs or outputs")

    def to_bytes(self) -> bytes:
        """Return the message."""
        return json.dumps({"v": VERSION, **asdict(self)}).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> "Hello":
        """Read the message.

        Raises:
            ProtocolError: if it is none, of another version, or says why the worker takes no more applications.
        """
        try:
            body = json.loads(message)
            if body.pop("v") != VERSION:
                raise ProtocolError("the worker speaks another version of the protocol")
            inputs, outputs = ([_spec(one) for one in body.pop(side)] for side in ("inputs", "outputs"))
            return cls(**body, inputs=tuple(inputs), outputs=tuple(outputs))
        except (ValueError, KeyError, TypeError, AttributeError, ModelError) as exc:
            raise ProtocolError(f"the worker's greeting cannot be read: {exc}") from exc

    @property
    def free(self) -> tuple[tuple[int, int], ...]:
        """The free dimensions of the inputs as (input, dimension): a request says their sizes in this order."""
        return free_of(self.inputs)

    def shapes(self, sizes: Sequence[int]) -> Shapes:
        """Return the inputs' shapes at these sizes of the free dimensions."""
        left = iter(sizes)
        return tuple(tuple(next(left) if own == -1 else own for own in spec.shape) for spec in self.inputs)


def _spec(values: dict[str, Any]) -> TensorSpec:
    for name in ("shape", "scale", "zero_point"):
        values[name] = tuple(values[name])
    return TensorSpec(**values)


def free_of(specs: Sequence[TensorSpec]) -> tuple[tuple[int, int], ...]:
    """Return the free dimensions as (tensor, dimension)."""
    return tuple((at, axis) for at, spec in enumerate(specs) for axis, size in enumerate(spec.shape) if size == -1)


def offsets(specs: Sequence[TensorSpec], shapes: Sequence[Shape]) -> tuple[tuple[int, ...], int]:
    """Return where tensors of these shapes stand, from where the first does, and where the last ends, in bytes."""
    places, end = [], 0
    for spec, shape in zip(specs, shapes, strict=True):
        start = -(-end // ALIGN) * ALIGN
        places.append(start)
        end = start + math.prod(shape) * ITEM_BYTES[spec.dtype]
    return tuple(places), end


class Request(NamedTuple):
    """One request as it stands on the wire; a deadline of 0 is none, an id of 0 is no request's.

    `sizes` are those of the free dimensions of the inputs.
    """

    id: int
    sent_ns: int
    deadline_ns: int
    inputs_at: int
    outputs_at: int
    room: int
    sizes: tuple[int, ...] = ()


class Requests:
    """Packs and unpacks requests to a model: all have one length."""

    def __init__(self, free: int) -> None:
        """Take how many dimensions are free."""
        self._sizes = struct.Struct(f"<{free}q")
        self.length = _REQUEST.size + self._sizes.size

    def pack(self, request: Request) -> bytes:
        """Return the message."""
        return _REQUEST.pack(*request[:-1]) + self._sizes.pack(*request.sizes)

    def unpack(self, message: bytes) -> Request:
        """Read the message, which has `length` bytes."""
        return Request._make((*_REQUEST.unpack_from(message), self._sizes.unpack_from(message, _REQUEST.size)))


class Replies:
    """Packs and unpacks replies of a model."""

    def __init__(self, outputs: Sequence[TensorSpec]) -> None:
        """Take the model's outputs: the number of their dimensions is that of the sizes in a reply."""
        self._ranks = [len(spec.shape) for spec in outputs]
        self._seen: dict[bytes, Shapes] = {}
        self._sizes = struct.Struct(f"<{sum(self._ranks)}q")
        self.length = _REPLY.size + max(MAX_TEXT, self._sizes.size)

    def sizes(self, number: int, shapes: Sequence[Shape], status: Status = Status.OK) -> bytes:
        """Return the reply to a request that was run."""
        return _REPLY.pack(number, status) + self._sizes.pack(*(size for shape in shapes for size in shape))

    @staticmethod
    def words(number: int, status: Status, text: str) -> bytes:
        """Return the reply to a request that was not, or could not be."""
        return _REPLY.pack(number, status) + text.encode()[:MAX_TEXT]

    def unpack(self, message: bytes) -> tuple[int, Status, Shapes | str]:
        """Return the request's id, how it ended, and the outputs' shapes or a sentence.

        Raises:
            ProtocolError: if it is no reply.
        """
        try:
            number, code = _REPLY.unpack_from(message)
            status, rest = Status(code), message[_REPLY.size :]
            if status not in {Status.OK, Status.SHORT}:
                return number, status, rest.decode(errors="replace")
            return number, status, self._seen.get(rest) or self._shapes(rest)
        except (struct.error, ValueError) as exc:
            raise ProtocolError(f"the worker's reply cannot be read: {exc}") from exc

    def _shapes(self, packed: bytes) -> Shapes:
        """Read the outputs' sizes, and keep them: they are nearly always the same."""
        left = iter(self._sizes.unpack(packed))
        shapes = tuple(tuple(next(left) for _ in range(rank)) for rank in self._ranks)
        if len(self._seen) >= _KEPT:
            self._seen.clear()
        self._seen[packed] = shapes
        return shapes
