"""Runs of other people's models: a loop inside one may go on for longer than anyone waits."""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from edgekit_converters.errors import DeadlineError

RUN_S = 120.0
"""How long one run of a model on one batch may take."""
_STOP_S = 5.0

Answer = TypeVar("Answer")


class _Runner:
    """A thread that does one thing after the other: to start one for every run of a small model costs more than it."""

    def __init__(self) -> None:
        self.asked = queue.SimpleQueue[Callable[[], Any]]()
        self.answers = queue.SimpleQueue[tuple[Any, BaseException | None]]()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            run = self.asked.get()
            try:
                self.answers.put((run(), None))
            except BaseException as exc:  # noqa: BLE001  # it is raised again, where it is waited for
                self.answers.put((None, exc))
            del run


class _Own(threading.local):
    """The idle runner of the thread that asks: a run may ask for runs itself."""

    runner: _Runner | None = None


_own = _Own()


def in_time(run: Callable[[], Answer], stop: Callable[[], None] = lambda: None) -> Answer:
    """Return what a run of a model gives.

    It runs in another thread. When it takes too long it is asked to `stop`; where a library has no way to, the thread
    is left behind: in a job, whose process ends soon.

    Raises:
        DeadlineError: if it takes longer than `RUN_S`.
        Exception: as the run raises it.
    """
    runner, _own.runner = _own.runner, None  # until it has answered: who stops waiting never gets a stale answer
    if runner is None or not runner.thread.is_alive():  # a forked process has none of its threads
        runner = _Runner()
    runner.asked.put(run)
    answer: Answer
    try:
        answer, failure = runner.answers.get(timeout=RUN_S)
    except queue.Empty:
        stop()
        with contextlib.suppress(queue.Empty):
            runner.answers.get(timeout=_STOP_S)
        raise DeadlineError(f"one run of the model had not ended after {RUN_S:g} s") from None
    _own.runner = runner
    if failure is not None:
        raise failure
    return answer
