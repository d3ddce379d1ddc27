"""A repository with its keys and a device's store, and what tests do with both."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from edgekit.repo import Added, KeyFolder, NewRelease, add, publish
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.fetch.messages import FetchAnswer, FetchRequest
from edgekit_agent.fetch.run import run
from edgekit_agent.protocol import Reason

PASSPHRASE = b"a passphrase for tests"


@dataclass
class Shop:
    """Both ends: what the publisher has, and what a device has."""

    folder: Path
    url: str = ""

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def store(self) -> Path:
        return self.folder / "device"

    @property
    def keys(self) -> KeyFolder:
        return KeyFolder(self.folder / "keys", lambda _role: PASSPHRASE)

    def add(self, version: str, content: bytes, counter: int | None = None, hardware: tuple[str, ...] = ()) -> Added:
        """Sign a bundle and do not publish it yet."""
        bundle = self.folder / "kws.ekb"
        bundle.write_bytes(content)
        wanted = NewRelease(name="kws", version=version, counter=counter, hardware=hardware)
        return add(self.repository, bundle, self.keys, wanted)

    def release(self, version: str, content: bytes) -> Added:
        """Sign a bundle and publish it."""
        added = self.add(version, content)
        publish(self.repository, self.keys)
        return added

    def request(self, target: str, **changes: object) -> FetchRequest:
        """Return a request of this device, without pauses a test would wait for."""
        asked = FetchRequest(
            op="fetch", store=str(self.store), repository=self.url or self.repository.as_uri(), target=target,
            reserve_bytes=0, window_s=5.0,
        )  # fmt: skip
        return replace(asked, **changes)  # type: ignore[arg-type]

    def fetch(self, target: str, now: datetime | None = None, **changes: object) -> FetchAnswer:
        """Fetch in this process."""
        return run(self.request(target, **changes), now=now)

    def refused(self, target: str, reason: Reason, now: datetime | None = None, /, **changes: object) -> FetchError:
        """Assert that a fetch is refused for this reason, and what is installed stays.

        What is trusted stays too where the metadata is refused; with other reasons it may be newer than before.
        """
        parts = ("trust", "blobs") if reason.startswith("metadata-") else ("blobs",)
        before = self.installed(*parts)
        with pytest.raises(FetchError) as caught:
            self.fetch(target, now, **changes)
        assert caught.value.reason is reason, str(caught.value)
        assert self.installed(*parts) == before
        return caught.value

    def installed(self, *parts: str) -> dict[str, str]:
        """Return the content of what the device has: all but downloads that were broken off."""
        return {
            str(path.relative_to(self.store)): hashlib.sha256(path.read_bytes()).hexdigest()
            for part in parts
            for path in sorted((self.store / part).rglob("*"))
            if path.is_file()
        }

    def again(self) -> "Shop":
        """Return a copy of all of it as it is now."""
        copy = self.folder.with_name(f"{self.folder.name}-{len(list(self.folder.parent.iterdir()))}")
        shutil.copytree(self.folder, copy, symlinks=True)
        return Shop(copy)

    def content(self, answer: FetchAnswer) -> bytes:
        """Return the target that was fetched."""
        assert answer.path is not None
        return Path(answer.path).read_bytes()
