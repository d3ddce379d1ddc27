"""Progress of a conversion, as the caller's callback gets it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A stage that begins: `done` of `total` steps are behind it."""

    stage: str
    detail: str = ""
    done: int = 0
    total: int = 0


OnEvent = Callable[[Event], None]


def written_to(path: Path | None) -> OnEvent:
    """Return a callback that adds each event as a line to a file, as a job tells them; None tells nobody."""

    def write(event: Event) -> None:
        if path is not None:
            with path.open("a") as file:
                file.write(json.dumps(asdict(event)) + "\n")

    return write


class Told:
    """The other end of `written_to`: events of a file, handed on as they come."""

    def __init__(self, path: Path, on_event: OnEvent) -> None:
        """Begin with a file that need not be there yet."""
        self.path, self._on_event, self._seen = path, on_event, 0

    def hand_on(self) -> None:
        """Hand on what is new, up to the last whole line."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._seen)
            lines = file.read().split(b"\n")
        for line in lines[:-1]:
            self._seen += len(line) + 1
            self._on_event(Event(**json.loads(line)))
