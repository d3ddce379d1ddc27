"""A file system in memory that can lose its power: it lists every state that may be found after each operation.

What may survive: a file's data is sure after `sync` of the file, a name (new, renamed or removed) after `sync_folder`.
Of everything since then any part may be there, in any order: each name's change or not; each write whole, not at all,
torn at some byte, or as zeros (the length is there and the data is not).
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from errno import ENOENT, ENOSPC
from pathlib import Path

from edgekit_agent.durable import Files

MOST_STATES = 2_000_000


@dataclass(frozen=True)
class Write:
    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Cut:
    inode: int
    size: int


@dataclass(frozen=True)
class Sync:
    inode: int


@dataclass(frozen=True)
class Name:
    """Give names to inodes, or take them away (None), all at once."""

    changes: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class SyncFolder:
    folder: str


@dataclass(frozen=True)
class Mark:
    """From here on something has been promised."""

    what: object


Change = Write | Cut
Operation = Change | Sync | Name | SyncFolder | Mark


@dataclass
class MemoryFiles(Files):
    """Files in memory, and a log of what was done; `room` is the bytes until the disk is full."""

    room: int | None = None
    log: list[Operation] = field(default_factory=list)
    data: dict[int, bytearray] = field(default_factory=dict)
    tree: dict[str, int] = field(default_factory=dict)
    broken_sync: bool = False
    _handles: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def holding(cls, files: Mapping[str, bytes]) -> "MemoryFiles":
        """Make one that holds these, safely."""
        one = cls()
        for number, (name, content) in enumerate(files.items()):
            one.data[number], one.tree[name] = bytearray(content), number
        return one

    def contents(self) -> dict[str, bytes]:
        return {name: bytes(self.data[inode]) for name, inode in self.tree.items()}

    def mark(self, what: object) -> None:
        self.log.append(Mark(what))

    def used(self) -> int:
        return sum(len(self.data[inode]) for inode in set(self.tree.values()))

    def create(self, path: Path, mode: int) -> int:  # noqa: ARG002  # the port's arguments
        if self.room is not None and self.used() >= self.room:
            raise OSError(ENOSPC, "No space left on device")
        name = str(path)
        inode = self.tree.get(name)
        if inode is None:
            inode = len(self.data)
            self.data[inode] = bytearray()
            self.tree[name] = inode
            self.log.append(Name(((name, inode),)))
        else:
            del self.data[inode][:]
            self.log.append(Cut(inode, 0))
        handle = 1000 + len(self._handles)
        self._handles[handle] = (inode, 0)
        return handle

    def write(self, handle: int, data: bytes) -> None:
        inode, offset = self._handles[handle]
        free = len(data) if self.room is None else max(0, self.room - self.used())
        kept = data[:free]
        if kept:
            self.log.append(Write(inode, offset, kept))
            self.data[inode][offset : offset + len(kept)] = kept
            self._handles[handle] = (inode, offset + len(kept))
        if len(kept) < len(data):
            raise OSError(ENOSPC, "No space left on device")

    def truncate(self, handle: int, size: int) -> None:
        inode, _ = self._handles[handle]
        del self.data[inode][size:]
        self.log.append(Cut(inode, size))
        self._handles[handle] = (inode, size)

    def sync(self, handle: int) -> None:
        if self.broken_sync:
            raise OSError(5, "Input/output error")
        self.log.append(Sync(self._handles[handle][0]))

    def close(self, handle: int) -> None:
        pass

    def rename(self, source: Path, target: Path) -> None:
        inode = self._inode(source)
        del self.tree[str(source)]
        self.tree[str(target)] = inode
        self.log.append(Name(((str(source), None), (str(target), inode))))

    def remove(self, path: Path) -> None:
        self._inode(path)
        del self.tree[str(path)]
        self.log.append(Name(((str(path), None),)))

    def make_folder(self, path: Path) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        self.log.append(SyncFolder(str(path)))

    def read(self, path: Path, size: int, offset: int = 0) -> bytes:
        return bytes(self.data[self._inode(path)][offset : offset + size])

    def names(self, folder: Path) -> list[str]:
        return sorted(Path(name).name for name in self.tree if Path(name).parent == folder)

    def _inode(self, path: Path) -> int:
        if str(path) not in self.tree:
            raise FileNotFoundError(ENOENT, "No such file or directory", str(path))
        return self.tree[str(path)]


@dataclass(frozen=True)
class CrashState:
    """What may be on the disk, and the last promise that was made before the power went."""

    files: Mapping[str, bytes]
    promised: object


def crash_states(
    log: list[Operation], start: Mapping[str, bytes] | None = None, *, every_byte: int = 16
) -> Iterator[CrashState]:
    """Yield each distinct state after each prefix of the operations.

    A write of up to `every_byte` bytes is torn at each of them, a larger one at three.
    """
    seen: set[tuple[frozenset[tuple[str, bytes]], object]] = set()
    for length in range(len(log) + 1):
        for state in _after(log[:length], start or {}, every_byte):
            key = (frozenset(state.files.items()), state.promised)
            if key not in seen:
                seen.add(key)
                assert len(seen) <= MOST_STATES
                yield state


def _after(log: list[Operation], start: Mapping[str, bytes], every_byte: int) -> Iterator[CrashState]:
    disk = _Disk({name: number for number, name in enumerate(start)}, dict(enumerate(start.values())))
    for operation in log:
        disk.do(operation)
    for chosen in itertools.product((True, False), repeat=len(disk.names)):
        tree = dict(disk.sure_names)
        for one in itertools.compress(disk.names, chosen):
            _rename(tree, one)
        inodes = sorted(set(tree.values()))
        outcomes = [
            _contents(disk.sure_data.get(inode, b""), disk.changes.get(inode, []), every_byte) for inode in inodes
        ]
        for contents in itertools.product(*outcomes):
            found = dict(zip(inodes, contents, strict=True))
            yield CrashState({name: found[inode] for name, inode in tree.items()}, disk.promised)


@dataclass
class _Disk:
    """What is sure, and what is not yet."""

    sure_names: dict[str, int]
    sure_data: dict[int, bytes]
    names: list[Name] = field(default_factory=list)
    changes: dict[int, list[Change]] = field(default_factory=dict)
    promised: object = None

    def do(self, operation: Operation) -> None:
        match operation:
            case Mark(what):
                self.promised = what
            case Name():
                self.names.append(operation)
            case SyncFolder():
                for one in self.names:
                    _rename(self.sure_names, one)
                self.names = []
            case Sync(inode):
                for change in self.changes.pop(inode, []):
                    self.sure_data[inode] = _whole(self.sure_data.get(inode, b""), change)
            case Write(inode) | Cut(inode):
                self.changes.setdefault(inode, []).append(operation)


def _rename(tree: dict[str, int], operation: Name) -> None:
    for name, inode in operation.changes:
        if inode is None:
            tree.pop(name, None)
        else:
            tree[name] = inode


def _whole(content: bytes, change: Change) -> bytes:
    if isinstance(change, Cut):
        return content[: change.size].ljust(change.size, b"\0")
    return (
        content[: change.offset].ljust(change.offset, b"\0") + change.data + content[change.offset + len(change.data) :]
    )


def _contents(content: bytes, changes: list[Change], every_byte: int) -> set[bytes]:
    """Return what a file may hold when none of these changes was flushed."""
    found = {content}
    for change in changes:
        new = set()
        for before in found:
            new |= {before, _whole(before, change)}
            if isinstance(change, Write):
                size = len(change.data)
                cuts = range(1, size) if size <= every_byte else (1, size // 2, size - 1)
                new |= {_whole(before, Write(0, change.offset, change.data[:cut])) for cut in cuts}
                new.add(_whole(before, Write(0, change.offset, bytes(size))))
        found = new
    return found
