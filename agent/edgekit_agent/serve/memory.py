"""The memory that an application and a worker share: a memfd that cannot shrink, and tensors in it."""

import fcntl
import mmap
import os
from collections.abc import Sequence
from typing import Self

import numpy as np

from edgekit_agent.errors import ProtocolError
from edgekit_agent.runtimes.base import Array, TensorSpec
from edgekit_agent.serve.wire import ALIGN, Shapes, offsets

_KEPT = 256


class Memory:
    """A mapped memfd. It may grow; arrays that look at what was mapped before stay what they are."""

    def __init__(self, handle: int, most: int) -> None:
        """Map a memfd of at most `most` bytes; the descriptor is ours from here.

        Reading what a file has lost is a SIGBUS that nobody can catch: one that could shrink is not taken.

        Raises:
            ProtocolError: if it is no such memory.
        """
        self.handle, self._most = handle, most
        try:
            self._check()
            self.map = self._mapped()
        except BaseException:
            os.close(handle)
            raise

    @classmethod
    def make(cls, size: int, most: int) -> Self:
        """Return a new one of so many zero bytes, which may grow up to `most`.

        Raises:
            OSError: if there is no room.
        """
        handle = os.memfd_create("edgekit", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(handle, size)
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        except BaseException:
            os.close(handle)
            raise
        return cls(handle, most)

    def _check(self) -> None:
        try:
            seals = fcntl.fcntl(self.handle, fcntl.F_GET_SEALS)
        except OSError as exc:
            raise ProtocolError("the memory is no memfd that can be sealed") from exc
        if not seals & fcntl.F_SEAL_SHRINK:
            raise ProtocolError("the memory is not sealed against shrinking (F_SEAL_SHRINK)")
        if os.fstatvfs(self.handle).f_bsize != mmap.PAGESIZE:
            raise ProtocolError("the memory is of huge pages, which may be missing when they are touched")

    def _mapped(self) -> mmap.mmap:
        size = os.fstat(self.handle).st_size
        if not 0 < size <= self._most:
            raise ProtocolError(f"the memory has {size} bytes, not 1 to {self._most}")
        try:
            return mmap.mmap(self.handle, size)
        except (OSError, ValueError) as exc:
            raise ProtocolError(f"the memory cannot be mapped: {exc}") from exc

    def grow(self, size: int) -> None:
        """Make it so many bytes long, and map it anew.

        Raises:
            OSError: if there is no room.
            ProtocolError: if it must not be as long.
        """
        if size > self._most:
            raise ProtocolError(f"the memory would have {size} bytes, more than {self._most}")
        os.ftruncate(self.handle, size)
        self.map = self._mapped()

    def follow(self) -> None:
        """Map it anew where the other side has made it longer.

        Raises:
            ProtocolError: if it is longer than it may be.
        """
        if os.fstat(self.handle).st_size > len(self.map):
            self.map = self._mapped()

    def close(self) -> None:
        """Let go of it; it is unmapped when nothing looks at it any more."""
        os.close(self.handle)


class Views:
    """Arrays that look at tensors in a memory; those looked at before are kept."""

    def __init__(self, memory: Memory, specs: Sequence[TensorSpec]) -> None:
        """Take the memory and the tensors' names and types."""
        self._memory, self._specs = memory, specs
        self._kept: dict[tuple[int, Shapes], list[Array]] = {}

    def at(self, place: int, shapes: Shapes) -> list[Array]:
        """Return the tensors of these shapes that stand there.

        Raises:
            ProtocolError: if they do not stand within the memory at a multiple of 64 bytes.
        """
        found = self._kept.get((place, shapes))
        if found is not None:
            return found
        starts, length = offsets(self._specs, shapes)
        if place + length > len(self._memory.map):
            self._memory.follow()
        if place % ALIGN or place + length > len(self._memory.map):
            raise ProtocolError(f"tensors at {place} to {place + length} are not within the memory, or not aligned")
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        found = self._kept[place, shapes] = [
            np.ndarray(shape, spec.dtype, self._memory.map, place + start)
            for spec, shape, start in zip(self._specs, shapes, starts, strict=True)
        ]
        return found
