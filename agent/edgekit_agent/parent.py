"""A process that ends with the one that started it, however that one ends."""

import contextlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, and leave if the parent is gone already.

    Who becomes another user loses it and has to ask again.
    """
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def main() -> None:
    """Become another program that ends with the process that started this: `parent PID PROGRAM [ARGUMENT...]`."""
    die_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # the starter names it


if __name__ == "__main__":
    main()
