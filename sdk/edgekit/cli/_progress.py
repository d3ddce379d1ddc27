"""Show events of long work on stderr: a spinner on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Progress(StrEnum):
    """What `--progress` takes."""

    AUTO = "auto"
    ON = "on"
    PLAIN = "plain"
    OFF = "off"


@contextmanager
def show(how: Progress) -> Iterator[Callable[[object], None]]:
    """Give a callback for events with `stage` and `detail`; what it shows is gone or closed afterwards."""
    if how is Progress.OFF:
        yield lambda _event: None
    elif how is Progress.ON or (how is Progress.AUTO and sys.stderr.isatty()):
        with _spinner() as callback:
            yield callback
    else:
        start = time.monotonic()
        yield lambda event: print(f"[{time.monotonic() - start:5.1f} s] {_line(event)}", file=sys.stderr, flush=True)


@contextmanager
def _spinner() -> Iterator[Callable[[object], None]]:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def update(event: object) -> None:
            if getattr(event, "stage", "") == "watch":
                bar.stop()  # what is watched has a display of its own
            else:
                bar.update(task, description=_line(event))

        yield update


def _line(event: object) -> str:
    stage, detail = getattr(event, "stage", ""), getattr(event, "detail", "")
    return f"{stage}: {detail}" if detail else str(stage)
