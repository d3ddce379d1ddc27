"""What the device trusts and has seen of a repository: one small file, replaced whole.

`trust/root.json` is the root of trust the device was set up with; nothing here writes it. `trust/seen.json` holds the
newest metadata accepted since, so that older metadata is refused. It begins anew when the device is set up with
another root.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_agent.durable import write_durably
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.protocol import Reason

PINNED = "root.json"
SEEN = "seen.json"
MAX_PINNED_BYTES = 512_000
MAX_SEEN_BYTES = 32 << 20
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Metadata files as they came; the root is trusted, and the others when they verify against it."""

    root: bytes
    timestamp: bytes | None = None
    snapshot: bytes | None = None
    targets: bytes | None = None


class TrustStore:
    """The folder `trust` of the agent's state."""

    def __init__(self, folder: Path) -> None:
        """Take the folder."""
        self._folder = folder

    def load(self) -> Trust:
        """Return what is trusted now.

        A record that is damaged is passed over: trust begins anew at the pinned root, and updates stay possible.

        Raises:
            FetchError: if the device was set up without a root.
        """
        pinned = self._pinned()
        seen = self._seen()
        if seen is None or seen.get("pinned") != _name_of(pinned):
            return Trust(root=pinned)
        files = {name: _bytes_of(seen.get(name)) for name in ("root", "timestamp", "snapshot", "targets")}
        return Trust(
            root=files["root"] or pinned,
            timestamp=files["timestamp"],
            snapshot=files["snapshot"],
            targets=files["targets"],
        )

    def keep(self, trust: Trust) -> None:
        """Trust this from now on.

        Raises:
            FetchError: if the device was set up without a root.
            OSError: if it cannot be written; what was trusted stays.
        """
        if self.load() == trust:
            return
        record: dict[str, object] = {"schema": SCHEMA, "pinned": _name_of(self._pinned()), "root": trust.root.decode()}
        for name, content in (
            ("timestamp", trust.timestamp),
            ("snapshot", trust.snapshot),
            ("targets", trust.targets),
        ):
            record[name] = None if content is None else content.decode()
        write_durably(self._folder / SEEN, json.dumps(record).encode())

    def _pinned(self) -> bytes:
        path = self._folder / PINNED
        try:
            with path.open("rb") as file:
                return file.read(MAX_PINNED_BYTES)
        except OSError as exc:
            raise FetchError(Reason.TRUST_MISSING, f"cannot read '{path}': {exc.strerror}") from exc

    def _seen(self) -> dict[str, Any] | None:
        try:
            with (self._folder / SEEN).open("rb") as file:
                found = json.loads(file.read(MAX_SEEN_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and found.get("schema") == SCHEMA else None


def _name_of(pinned: bytes) -> str:
    return hashlib.sha256(pinned).hexdigest()


def _bytes_of(text: object) -> bytes | None:
    return text.encode() if isinstance(text, str) else None
