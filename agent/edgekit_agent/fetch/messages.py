"""What the fetch process is asked on stdin and says on stdout: one JSON document a line. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit_agent.protocol import Message, Release


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest(Message):
    """An update to look at (`check`), to get (`fetch`), or to unpack into a slot (`install`).

    Without a `target` it is the newest one of `model` (and `version`) for this device. `slot` is the folder that
    `install` fills with the bundle of that `sha256`.

    `store` is the agent's state folder, with the pinned root in `trust/root.json`. `repository` is a URL: http, https
    or file. `model`, `version`, `sha256` are what was announced: where given, the signed metadata must say the same.
    `counter` is the installed model's release counter; `hardware` what the device answers to. `deadline_s` is for the
    whole process; fewer than `min_bytes_per_s` over `window_s` end a download. `reserve_bytes` stay free on the disk.
    `allow_hosts` are hosts a redirect may lead to; `ca`, `cert` and `key` are PEM files for https.
    """

    op: str
    store: str
    repository: str = ""
    target: str | None = None
    slot: str | None = None
    model: str | None = None
    version: str | None = None
    sha256: str | None = None
    hardware: tuple[str, ...] = ()
    counter: int = 0
    max_bytes: int = 1 << 30
    reserve_bytes: int = 16 << 20
    deadline_s: float = 3600.0
    min_bytes_per_s: int = 256
    window_s: float = 30.0
    allow_hosts: tuple[str, ...] = ()
    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress(Message):
    """How many bytes of the target are there; at most one a second."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCounts(Message):
    """Where a target's blocks came from: taken from a target in the store, found in a download broken off, fetched."""

    total: int
    reused: int = 0
    resumed: int = 0
    fetched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchAnswer(Message):
    """The last line: what was found or fetched, or the reason code why not.

    `path` is the whole, verified target in the store, or None after a `check` of one that is not there. `metadata` has
    the version of each role that is trusted now. `fetched_bytes` counts the target's bytes that came from the
    repository.
    """

    status: str
    reason: str | None = None
    detail: str | None = None
    target: str | None = None
    path: str | None = None
    sha256: str | None = None
    length: int | None = None
    release: Release | None = None
    metadata: Mapping[str, int] | None = None
    blocks: BlockCounts | None = None
    fetched_bytes: int = 0
