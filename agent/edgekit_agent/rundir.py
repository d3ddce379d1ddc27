"""The folder of sockets for other processes on the device, and sockets in it whatever its length."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

CONTROL = "control.sock"
SYSTEM = Path("/run/edgekit")


def default_folder() -> Path:
    """Return where an agent that is told nothing has its sockets.

    What the service manager has made for it; for root `/run/edgekit`; else the user's own, or where there is none
    a folder of a name that only this user may make there.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return SYSTEM
    return _of_user()


def known_folders() -> tuple[Path, ...]:
    """Return where an agent's sockets may be, for a client that is told nothing."""
    return tuple(dict.fromkeys((default_folder(), SYSTEM, _of_user())))


def _of_user() -> Path:
    own = os.environ.get("XDG_RUNTIME_DIR")
    return Path(own, "edgekit") if own else Path(f"/run/user/{os.geteuid()}/edgekit")


def listen(path: Path, mode: int, backlog: int = 16, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket that listens at a path, in place of what an ended process has left there.

    Args:
        path: may be longer than the 107 bytes a socket's address has room for (unix(7)).
        mode: who may connect.
        backlog: connections that may wait.
        kind: of the socket.

    Raises:
        OSError: if it cannot be made, or another process listens there.
    """
    if _answers(path, kind):
        raise OSError(errno.EADDRINUSE, "another process listens there", str(path))
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    made = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        with _address(path) as address:
            made.bind(address)
            # nobody can connect before it listens: no moment at which the mode is wrong
            os.chmod(address, mode)  # noqa: PTH101  # an address, not a path to keep
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made


def _answers(path: Path, kind: int) -> bool:
    with contextlib.suppress(OSError), connect(path, 1.0, kind):
        return True
    return False


def connect(path: Path, timeout_s: float, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a connection to a socket at a path of any length.

    Raises:
        OSError: if nobody listens there.
    """
    made = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        made.settimeout(timeout_s)
        with _address(path) as address:
            made.connect(address)
    except OSError:
        made.close()
        raise
    return made


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give a short name of a path, by way of its folder's descriptor."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
