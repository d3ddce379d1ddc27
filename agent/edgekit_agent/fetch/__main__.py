"""`python -m edgekit_agent.fetch`: one request on stdin, progress and one answer on stdout, each a line of JSON.

Exit code 0 when it is done, 3 when it is refused; anything else is a crash.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from edgekit_agent.errors import AgentError, ProtocolError
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.fetch.messages import FetchAnswer, FetchProgress, FetchRequest
from edgekit_agent.parent import die_with
from edgekit_agent.protocol import MAX_MESSAGE_BYTES, Message, Reason

REFUSED = 3
PROGRESS_S = 1.0
_AGAIN_S = 1.0


def main() -> None:
    """Run it."""
    answer = _answer_to(sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1))
    _say("answer", answer)
    sys.exit(0 if answer.status == "ok" else REFUSED)


def _answer_to(text: bytes) -> FetchAnswer:
    try:
        request = FetchRequest.from_bytes(text)
        _end_after(request.deadline_s)
        return _operation(request.op)(request)
    except FetchError as exc:
        return FetchAnswer(status="refused", reason=exc.reason, detail=str(exc))
    except AgentError as exc:
        return FetchAnswer(status="refused", reason=Reason.COMMAND_REFUSED, detail=str(exc))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _operation(name: str) -> Callable[[FetchRequest], FetchAnswer]:
    if name == "install":
        from edgekit_agent.fetch import install

        return install.run
    if name not in {"check", "fetch"}:
        raise ProtocolError(f"'{name}' is no operation: check, fetch, install")
    try:
        from edgekit_agent.fetch.run import run
    except ImportError as exc:
        raise FetchError(Reason.UPDATER_MISSING, f"{exc}; it comes with edgekit-agent[update]") from exc
    return partial(run, on_progress=_Shown())


def _end_after(deadline_s: float) -> None:
    """Raise in the middle of whatever is being done when the time is over, and again in case something swallows it."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise FetchError(Reason.DEADLINE_PASSED, f"not done after {deadline_s:g} s")

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(deadline_s, 0.001), _AGAIN_S)


class _Shown:
    """Tells the parent how far it is, and so finds out when the parent is gone."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PROGRESS_S

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_S
            _say("progress", FetchProgress(done=done, total=total))


def _say(kind: str, message: Message) -> None:
    line: dict[str, Any] = {kind: message.to_json()}
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    die_with(os.getppid())  # an agent that starts again must not find the store in use
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no copy of its memory is left on the device's disk
    main()
