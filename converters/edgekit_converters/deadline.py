"""Runs of other people's models: a loop inside one may go on for longer than anyone waits."""

import threading
from collections.abc import Callable
from typing import TypeVar

from edgekit_converters.errors import DeadlineError

RUN_S = 120.0
"""How long one run of a model on one batch may take."""
_STOP_S = 5.0

Answer = TypeVar("Answer")


def in_time(run: Callable[[], Answer], stop: Callable[[], None] = lambda: None) -> Answer:
    """Return what a run of a model gives.

    It runs in a thread of its own. When it takes too long it is asked to `stop`; where a library has no way to, the
    thread is left behind: in a job, whose process ends soon.

    Raises:
        DeadlineError: if it takes longer than `RUN_S`.
        Exception: as the run raises it.
    """
    answers: list[Answer] = []
    failures: list[BaseException] = []

    def noted() -> None:
        try:
            answers.append(run())
        except BaseException as exc:  # noqa: BLE001  # it is raised again, where it is waited for
            failures.append(exc)

    runner = threading.Thread(target=noted, daemon=True)
    runner.start()
    runner.join(RUN_S)
    if runner.is_alive():
        stop()
        runner.join(_STOP_S)
        raise DeadlineError(f"one run of the model had not ended after {RUN_S:g} s")
    if failures:
        raise failures[0]
    return answers[0]
