"""The number of a connection's birth: 1, 2, 3, ... over restarts."""

from pathlib import Path

from edgekit_agent.durable import StateFile

_MAX_BIRTH = 2**53


class Births:
    """Counts births in a folder; the number only has to differ from that of the last will."""

    def __init__(self, folder: Path) -> None:
        """Read the last number; a broken or missing counter starts again at 1."""
        self._file = StateFile(folder / "birth.json")
        last = (self._file.load().value or {}).get("birth")
        self.last: int = last if type(last) is int and 0 < last < _MAX_BIRTH else 0

    def next(self) -> int:
        """Return the next number and keep it.

        Raises:
            OSError: if it cannot be kept; `last` has it all the same.
        """
        self.last += 1
        self._file.save({"birth": self.last})
        return self.last
