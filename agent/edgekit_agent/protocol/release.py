"""What a repository's signed metadata says of a target, and the names a target may have."""

import re
from dataclasses import dataclass

from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol.codec import Message

# Every part starts with a letter or digit, so none is "..", and no name leads out of a folder or into a hidden file.
_PART = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
_TARGET = re.compile(rf"{_PART}(/{_PART}){{0,3}}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")
SIGNED_AT = "edgekit-signed-at"
"""The field of signed metadata with the time of signing, ISO 8601: no device takes its clock for earlier than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRef(Message):
    """Which block index belongs to a target: the file `blocks/<sha256>` of the repository."""

    sha256: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Message):
    """The custom part of a target's signed metadata.

    `release_counter` grows with every version of a model: a device takes none that is lower than what it has.
    `hw_ids` names the hardware it is for; none means any.
    """

    schema: int = 1
    model: str
    version: str
    release_counter: int
    hw_ids: tuple[str, ...] = ()
    blocks: IndexRef

    def fits(self, hardware: tuple[str, ...]) -> bool:
        """Return whether it is for a device that answers to these hardware ids."""
        return not self.hw_ids or bool(set(self.hw_ids) & set(hardware))

    def check(self) -> None:
        """Check what the types do not say.

        Raises:
            ProtocolError: naming the field that is wrong.
        """
        if not _NAME.fullmatch(self.model):
            raise ProtocolError(f"the model name '{self.model}' is not like [a-z0-9._-], at most 64")
        if not re.fullmatch(_PART, self.version):
            raise ProtocolError(f"the version '{self.version}' is not like [A-Za-z0-9._+-], at most 64")
        if self.release_counter < 0:
            raise ProtocolError(f"the release counter {self.release_counter} is below 0")
        if not SHA256.fullmatch(self.blocks.sha256) or self.blocks.length < 0:
            raise ProtocolError("the block index is not named by a SHA-256 and a length")


def check_target(name: str) -> str:
    """Return a target's name, like `kws/1.2.0/kws.ekb`.

    Raises:
        ProtocolError: if a part is empty, hidden, leads elsewhere or holds other than `[A-Za-z0-9._+-]`.
    """
    if not _TARGET.fullmatch(name):
        raise ProtocolError(f"'{name[:200]}' is no target's name: up to four parts of [A-Za-z0-9._+-], joined by '/'")
    return name


def stored_as(name: str, sha256: str) -> str:
    """Return where a target lies below `targets/`: its hash stands before the file's name (consistent snapshots)."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{sha256}.{file}"
