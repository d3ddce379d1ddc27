"""Asks the repository by itself whether there is something newer, on devices that are not told."""

from collections.abc import Callable
from dataclasses import replace

from edgekit_agent.actions import Now
from edgekit_agent.fetch.launch import FetchProcess
from edgekit_agent.fetch.messages import FetchAnswer, FetchRequest
from edgekit_agent.update.records import Wanted

Offer = Callable[[str, Wanted, int], None]


class Poller:
    """One model after the other, each `every_s`; an update on its way goes first."""

    def __init__(self, models: tuple[str, ...], every_s: float, now: Now) -> None:
        """Take the models' names; the first is asked for after one interval."""
        self._models, self._every_s = models, every_s
        self._next_at = now.s + every_s
        self._waiting: list[str] = []
        self.process: FetchProcess | None = None
        self._name = ""

    def tick(self, idle: bool, request_of: Callable[[str], FetchRequest | None], now: Now) -> None:  # a state
        """Ask for the next model when it is time, or leave off for an update."""
        if not idle:
            self.close()
            return
        if now.s >= self._next_at:
            self._next_at, self._waiting = now.s + self._every_s, list(self._models)
        if self.process is None and self._waiting:
            self._name = self._waiting.pop(0)
            request = request_of(self._name)
            if request is not None:
                self.process = FetchProcess(replace(request, op="check"))

    def answer(self, v: int) -> tuple[str, Wanted, int] | None:
        """Return what was found: the model, what to want of it as of desired version `v`, its release counter."""
        if self.process is None or not self.process.poll():
            return None
        found = self.process.answer
        self.close()
        return None if found is None or found.release is None else (self._name, _wanted(found, v), _counter(found))

    def next_time(self) -> float:
        """Return when to ask next, on the steady clock."""
        return self._next_at

    def close(self) -> None:
        """Leave off."""
        if self.process is not None:
            self.process.close()
            self.process = None


def _wanted(found: FetchAnswer, v: int) -> Wanted:
    version = found.release.version if found.release is not None else ""
    return Wanted(v=v, version=version, target=found.target, sha256=found.sha256)


def _counter(found: FetchAnswer) -> int:
    return found.release.release_counter if found.release is not None else 0
