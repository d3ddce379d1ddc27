"""Named arrays over a stream socket: a line of JSON that describes them, then their bytes; nothing is unpickled."""

import json
import socket
from collections.abc import Mapping

import numpy as np

from edgekit_agent.runtimes.base import Array

MAX_HEAD_BYTES = 1 << 20
MAX_BODY_BYTES = 1 << 32


class BrokenPipeDataError(Exception):
    """What came is no message."""


def send(end: socket.socket, arrays: Mapping[str, Array]) -> None:
    """Send one message.

    Raises:
        OSError: if the other side is gone.
    """
    ready = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = [[name, one.dtype.str, list(arrays[name].shape)] for name, one in ready.items()]
    end.sendall(json.dumps(head).encode() + b"\n")
    for one in ready.values():
        if one.nbytes:
            end.sendall(one.reshape(-1).view(np.uint8).data)


class Reader:
    """Receives messages from one end of a socket."""

    def __init__(self, end: socket.socket) -> None:
        """Take the end; it is not closed."""
        self._file = end.makefile("rb")

    def receive(self) -> dict[str, Array] | None:
        """Return the next message, None where the other side is gone or has ended.

        Raises:
            BrokenPipeDataError: if it is none.
        """
        try:
            head = self._file.readline(MAX_HEAD_BYTES)
            if not head.endswith(b"\n"):
                return None
            return {str(name): self._array(kind, shape) for name, kind, shape in json.loads(head)}
        except (ValueError, TypeError, KeyError) as exc:
            raise BrokenPipeDataError(f"what came is no message: {exc}") from exc
        except (OSError, EOFError):
            return None

    def _array(self, kind: str, shape: list[int]) -> Array:
        made = np.empty(shape, np.dtype(kind))
        if made.dtype.hasobject or made.nbytes > MAX_BODY_BYTES:
            raise ValueError(f"an array of {kind} {shape}")
        whole = made.reshape(-1).view(np.uint8)
        done = 0
        while done < len(whole):
            count = self._file.readinto(whole[done:].data)
            if not count:
                raise EOFError
            done += count
        return made

    def close(self) -> None:
        """Close the file made of the end."""
        self._file.close()
