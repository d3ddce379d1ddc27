"""The durable part of updates: `state.json`, two generations with their checksums."""

from pathlib import Path

from edgekit_agent.durable import DISK, Files, StateFile
from edgekit_agent.errors import ProtocolError
from edgekit_agent.update.records import Records

FILE = "state.json"


class Store:
    """Keeps the records in the agent's state folder."""

    def __init__(self, folder: Path, files: Files = DISK) -> None:
        """Take the folder, which exists."""
        self._file = StateFile(folder / FILE, files=files)

    def load(self) -> tuple[Records, str | None]:
        """Return what was saved last, and why it may be something older or nothing."""
        kept = self._file.load()
        if kept.value is None:
            return Records(), kept.doubt
        try:
            return Records.from_json(kept.value), kept.doubt
        except ProtocolError as exc:
            return Records(), f"'{FILE}' is of no form this version reads: {exc}"

    def save(self, records: Records) -> None:
        """Replace what was saved.

        Raises:
            OSError: if it cannot be written; what was saved before is still there.
        """
        self._file.save(records.to_json())
