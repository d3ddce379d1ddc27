"""Commands of the host: each is carried out once, in its time, or answered with the reason why not.

What has been carried out is remembered over restarts by its id, because a retained or repeated message brings an old
command again.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgekit_agent.actions import Now
from edgekit_agent.durable import Keeper
from edgekit_agent.errors import AgentError, ProtocolError
from edgekit_agent.logline import logline
from edgekit_agent.protocol import Command, Reason, Result, sentence

_log = logging.getLogger(__name__)

MOST_BYTES = 16 * 1024
MOST_KEPT = 256
"""Ids that are remembered; of those that come again later `exp` is over, unless the clock goes back too."""
LONGEST_MS = 24 * 3600 * 1000
_SHOWN = 64


class CommandError(AgentError):
    """A command is not carried out; `reason` is told with the sentence."""

    def __init__(self, reason: Reason, text: str) -> None:
        """Take both."""
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """A result on its way to the host."""

    command: str
    result: Result


class Job(Protocol):
    """A command that takes its time; only one goes on at a time."""

    def poll(self, now: Now) -> list[Result]:
        """Return what there is to tell since the last call; the last one has another status than `running`."""
        ...

    def stop(self) -> None:
        """Leave off."""
        ...


Do = Callable[[Mapping[str, object]], Mapping[str, object]]
"""Answers at once; raises CommandError."""
Begin = Callable[[Mapping[str, object], float], Job]
"""Begins a job that has to be done by a moment on the steady clock; raises CommandError."""


class Commands:
    """Carries out commands; no I/O beside the file that remembers them."""

    def __init__(self, file: Keeper, at_once: Mapping[str, Do], jobs: Mapping[str, Begin]) -> None:
        """Take the operations by name.

        Args:
            file: remembers what was carried out.
            at_once: those that are answered at once and change nothing.
            jobs: those that take their time.
        """
        self._file, self._at_once, self._jobs = file, at_once, jobs
        kept = (file.load().value or {}).get("done", [])
        self._done: OrderedDict[str, bool] = OrderedDict()
        for one in kept if isinstance(kept, list) else []:
            if isinstance(one, list) and [type(part) for part in one] == [str, bool]:
                self._done[one[0]] = one[1]
        self._job: tuple[str, Job] | None = None

    def start(self) -> list[Answer]:
        """Return answers to commands that were under way when the agent ended."""
        cut_off = [command for command, done in self._done.items() if not done]
        for command in cut_off:
            self._remember(command, done=True)
        return [
            _failed(command, Reason.COMMAND_INTERRUPTED, sentence(Reason.COMMAND_INTERRUPTED)) for command in cut_off
        ]

    @property
    def busy(self) -> bool:
        """Whether a job goes on."""
        return self._job is not None

    def received(self, command: str, payload: bytes, now: Now) -> list[Answer]:
        """Carry out a command as it came, and return what there is to answer.

        Args:
            command: its id, of the topic.
            payload: empty where a retained command was taken back: that says nothing.
            now: the moment.
        """
        if not payload:
            return []
        try:
            return self._carry_out(command, self._checked(command, payload, now), now)
        except CommandError as exc:
            _log.warning("%s", logline({"event": exc.reason.value, "id": command, "text": str(exc)}))
            return [Answer(command, Result(status="refused", reason=exc.reason.value, text=str(exc)))]

    def tick(self, now: Now) -> list[Answer]:
        """Return what a job has to tell."""
        if self._job is None:
            return []
        command, job = self._job
        results = job.poll(now)
        if results and results[-1].status != "running":
            self._job = None
            self._remember(command, done=True)
        return [Answer(command, result) for result in results]

    def stop(self) -> list[Answer]:
        """Leave off because the agent ends."""
        if self._job is None:
            return []
        (command, job), self._job = self._job, None
        job.stop()
        self._remember(command, done=True)
        return [_failed(command, Reason.COMMAND_INTERRUPTED, sentence(Reason.COMMAND_INTERRUPTED))]

    def _checked(self, command: str, payload: bytes, now: Now) -> tuple[Command, float]:
        """Return the command and until when it has to be done, on the steady clock."""
        if len(payload) > MOST_BYTES:
            raise CommandError(Reason.COMMAND_TOO_LARGE, f"it has {len(payload)} bytes, the limit is {MOST_BYTES}")
        try:
            asked = Command.from_bytes(payload)
        except ProtocolError as exc:
            raise CommandError(Reason.COMMAND_INVALID, str(exc)) from exc
        if command in self._done:
            raise CommandError(Reason.COMMAND_REPEATED, sentence(Reason.COMMAND_REPEATED))
        if asked.expires_ms is None:
            raise CommandError(Reason.COMMAND_INVALID, "a command needs 'exp', until when it is wanted")
        left_ms = asked.expires_ms - now.ms
        if left_ms <= 0:
            raise CommandError(Reason.COMMAND_EXPIRED, f"its time was over {-left_ms / 1000:.0f} s ago")
        if left_ms > LONGEST_MS:
            raise CommandError(
                Reason.COMMAND_INVALID, "'exp' is more than a day ahead, or this device's clock is not set"
            )
        return asked, now.s + left_ms / 1000

    def _carry_out(self, command: str, checked: tuple[Command, float], now: Now) -> list[Answer]:
        asked, end_s = checked
        if asked.operation in self._at_once:
            result = self._at_once[asked.operation](asked.arguments)
            self._remember(command, done=True)
            return [Answer(command, Result(status="done", result=result))]
        if asked.operation not in self._jobs:
            known = ", ".join((*self._at_once, *self._jobs))
            text = f"'{asked.operation[:_SHOWN]}' is not one of: {known}"
            raise CommandError(Reason.COMMAND_UNKNOWN, text)
        if self._job is not None:
            raise CommandError(Reason.COMMAND_BUSY, "another command is being carried out")
        # before it begins: a job that ends the device must not be begun again by its next start
        if not self._remember(command, done=False):
            del self._done[command]
            raise CommandError(Reason.DISK_FULL, "that it was carried out could not be written down")
        try:
            self._job = command, self._jobs[asked.operation](asked.arguments, end_s)
        except CommandError:
            self._remember(command, done=True)
            raise
        return [Answer(command, Result(status="running", progress=0.0)), *self.tick(now)]

    def _remember(self, command: str, *, done: bool) -> bool:
        self._done[command] = done
        while len(self._done) > MOST_KEPT:
            self._done.popitem(last=False)
        try:
            self._file.save({"done": [list(one) for one in self._done.items()]})
        except (OSError, ValueError) as exc:
            _log.warning("%s", logline({"event": "state-not-kept", "reason": str(exc)}))
            return False
        return True


def _failed(command: str, reason: Reason, text: str) -> Answer:
    return Answer(command, Result(status="failed", reason=reason.value, text=text))


def whole_number(arguments: Mapping[str, object], name: str, default: int, most: int) -> int:
    """Return a whole number between 1 and `most` of a command's arguments.

    Raises:
        CommandError: if it is none.
    """
    value: Any = arguments.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise CommandError(Reason.COMMAND_INVALID, f"'{name}' is not a whole number between 1 and {most}")
    return int(value)


def check_names(arguments: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Refuse arguments that are not known.

    Raises:
        CommandError: naming the first.
    """
    for name in arguments:
        if name not in known:
            raise CommandError(Reason.COMMAND_INVALID, f"argument '{name[:_SHOWN]}' is not one of: {', '.join(known)}")
