"""A PostgreSQL of our own for the tests: a cluster in a folder, on 127.0.0.1, ended afterwards."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_S = 60.0


def _tool(name: str) -> str | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((str(folder / name) for folder in folders if (folder / name).is_file()), None) or shutil.which(name)


def _as_nobody() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    entry = next((pwd.getpwnam(name) for name in ("postgres", "nobody") if _exists(name)), None)
    if entry is None:
        pytest.skip("needs an unprivileged user to run PostgreSQL as")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _exists(name: str) -> bool:
    import pwd

    with contextlib.suppress(KeyError):
        pwd.getpwnam(name)
        return True
    return False


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Run a cluster in a new folder; give the URL of its database `postgres`."""
    initdb, server = _tool("initdb"), _tool("postgres")
    if initdb is None or server is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    who = _as_nobody()
    data = folder / "data"
    data.mkdir()
    if who:
        os.chown(data, int(str(who["user"])), int(str(who["group"])))
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(data)}
    common = {"env": environment, "cwd": data, "stdin": subprocess.DEVNULL, **who}
    made = [initdb, "-D", str(data), "-A", "trust", "-U", "edgekit", "-E", "UTF8", "--no-sync"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **common)  # type: ignore[call-overload]  # keyword table
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off"]
    log = folder / "postgresql.log"
    with log.open("wb") as told:
        process = subprocess.Popen([server, "-D", str(data), *options], stdout=told, stderr=told, **common)  # type: ignore[call-overload]  # keyword table
    try:
        _wait(port, process)
        yield f"postgresql://edgekit@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # at once: SIGTERM would wait for whoever is connected
        process.wait(30)


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    import pg8000.dbapi

    end = time.monotonic() + START_S
    while True:
        try:
            pg8000.dbapi.connect("edgekit", host="127.0.0.1", port=port, database="postgres").close()
        except (pg8000.dbapi.Error, OSError):
            assert process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < end, "PostgreSQL did not start"
            time.sleep(0.1)
        else:
            return
