"""How commands that run until they are stopped end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer


@contextmanager
def sigterm_ends() -> Iterator[None]:
    """Let SIGTERM end the block as its own end would: everything is closed and the exit code is 0."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise typer.Exit(0)

    # a terminal that is closed sends SIGHUP: no child may stay behind then either
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
