"""The last lines of the agent's log and of its workers, for who asks from afar; secrets are never in them."""

import logging
import re
from collections import deque
from collections.abc import Mapping, Sequence

from edgekit_agent.actions import WorkerId
from edgekit_agent.commands import CommandError, check_names, whole_number
from edgekit_agent.protocol import Reason

KEPT, DEFAULT = 1000, 100
MOST_LINE = 500
MOST_BYTES = 64 * 1024
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^@\s/]+@")
"""A password in a URL, as a camera's. It begins where a match can, so that a long line takes no longer than it is."""
_HIDDEN = "***"
_LEAST_SECRET = 4
"""Shorter secrets would hide parts of ordinary words; they are no secrets."""


class LogTail(logging.Handler):
    """Keeps the last lines of the log."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        """Take what is never to be told, such as the broker's password."""
        super().__init__()
        self.setFormatter(logging.Formatter("ts=%(asctime)s lvl=%(levelname)s %(message)s"))
        self._secrets = [one for one in secrets if len(one) >= _LEAST_SECRET]
        self._lines: deque[str] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's lines."""
        try:
            self._lines.extend(self.safe(self.format(record).splitlines()))
        except Exception:  # noqa: BLE001  # what a handler does with a record that cannot be formatted
            self.handleError(record)

    def safe(self, lines: Sequence[str]) -> list[str]:
        """Return lines without secrets, each no longer than is told."""
        found = []
        for line in lines:
            shown = _PASSWORD.sub(rf"\1:{_HIDDEN}@", line)
            for secret in self._secrets:
                shown = shown.replace(secret, _HIDDEN)
            found.append(shown[:MOST_LINE])
        return found

    def last(self, count: int) -> list[str]:
        """Return the agent's last lines, the newest last."""
        return list(self._lines)[-count:]


def log_tail(
    tail: LogTail, workers: Mapping[WorkerId, Sequence[str]], arguments: Mapping[str, object]
) -> dict[str, object]:
    """Carry out the command `log-tail`: `lines` of the agent's log, and of all workers or those of `model`.

    Args:
        tail: of the agent.
        workers: their last lines on stderr.
        arguments: of the command.

    Raises:
        CommandError: if an argument is wrong.
    """
    check_names(arguments, ("lines", "model"))
    count, model = whole_number(arguments, "lines", DEFAULT, KEPT), arguments.get("model")
    told = {worker: lines for worker, lines in workers.items() if model in {None, worker.model}}
    if model is not None and not told:
        raise CommandError(Reason.COMMAND_INVALID, f"no worker of a model '{str(model)[:64]}' is running")
    budget = MOST_BYTES // (1 + len(told))
    return {
        "log": _within(tail.last(count), budget),
        "workers": {str(worker): _within(tail.safe(list(lines)[-count:]), budget) for worker, lines in told.items()},
    }


def _within(lines: Sequence[str], most_bytes: int) -> list[str]:
    """Return the newest lines that fit."""
    kept: list[str] = []
    for line in reversed(lines):
        most_bytes -= len(line.encode()) + 4
        if most_bytes < 0:
            break
        kept.append(line)
    return kept[::-1]
