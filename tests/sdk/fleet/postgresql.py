"""A PostgreSQL of our own for the tests: Debian's package, a cluster in a folder, on 127.0.0.1, ended afterwards.

A test gets a database that is copied from one whose tables are made: that takes a twentieth of a second.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edgekit.fleet.store import open_store

START_S = 60.0
ON_SQLITE_ALONE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For tests that wait for other things than a store, or in which it is not reached."""
USER = "edgekit"
_TEMPLATE = "made"
# What a power cut would take is a test's. What the server has told is committed stays when the server is killed.
_OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=200", "autovacuum=off", "jit=off")


class Server:
    """A cluster that runs; `stop`, `crash` and `start` are for tests of what uses it."""

    def __init__(self, folder: Path) -> None:
        """Make a cluster in an empty folder."""
        self._folder, self._data = folder, folder / "data"
        self._numbers = count(1)
        self._initdb, self._server = (_tool(name) for name in ("initdb", "postgres"))
        self._who = _as_nobody()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._make()

    def prepare(self) -> None:
        """Make the database that those of the tests are copied from."""
        self._administer(f"CREATE DATABASE {_TEMPLATE}")
        open_store(self.url(_TEMPLATE)).close()

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of a new database whose tables are made; it is gone afterwards."""
        name = f"fleet_{next(self._numbers)}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        try:
            yield self.url(name)
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def disconnect(self, database: str) -> int:
        """Cut all connections to a database off; return how many."""
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
        return int(self._administer(cut, database)[0][0])

    def start(self) -> None:
        """Start it, with what it has."""
        given = [part for option in _OPTIONS for part in ("-c", option)]
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", *given]
        with (self._folder / "postgresql.log").open("ab") as told:
            self._process = self._run([self._server, "-D", str(self._data), *options], told)
        self._wait()

    def stop(self) -> None:
        """End it at once: connections are cut off, what is under way is undone."""
        self._process.send_signal(signal.SIGINT)  # SIGTERM would wait for whoever is connected
        self._process.wait(30)

    def crash(self) -> None:
        """End it as a crash does: nothing is tidied up, it recovers when it starts again."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    # --- the cluster

    def _make(self) -> None:
        self._data.mkdir()
        if self._who:
            os.chown(self._data, int(self._who["user"]), int(self._who["group"]))
        command = [self._initdb, "-D", str(self._data), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync"]
        told = subprocess.run([self._initdb, "--help"], capture_output=True, text=True, check=True).stdout
        if "--icu-locale" in told:  # texts in the order of a language, as most clusters have them; from 15 on
            command += ["--locale-provider=icu", "--icu-locale=en-US"]
        with (self._folder / "initdb.log").open("wb") as log:
            made = self._run(command, log)
        assert made.wait(120) == 0, (self._folder / "initdb.log").read_text()[-2000:]

    def _run(self, command: list[str], told: Any) -> "subprocess.Popen[bytes]":
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._data)}
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, env=environment, cwd=self._data, **self._who
        )

    def _wait(self) -> None:
        import pg8000.dbapi

        end = time.monotonic() + START_S
        while True:
            try:
                self._administer("SELECT 1")
            except (pg8000.dbapi.Error, OSError):
                assert self._process.poll() is None, (self._folder / "postgresql.log").read_text()[-2000:]
                assert time.monotonic() < end, "PostgreSQL did not start"
                time.sleep(0.05)
            else:
                return

    def _administer(self, statement: str, *values: str) -> list[Any]:
        import pg8000.dbapi

        place = {"host": "127.0.0.1", "port": self.port, "database": "postgres"}
        with contextlib.closing(pg8000.dbapi.connect(USER, **place)) as connection:
            connection.autocommit = True
            with contextlib.closing(connection.cursor()) as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall()) if cursor.description else []


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Run a server in a folder of its own."""
    # not pytest's own folder: an unprivileged user may not go through it, and other runs reset what it is allowed
    with tempfile.TemporaryDirectory(prefix="edgekit-postgresql-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = Server(folder)
        server.start()
        try:
            server.prepare()
            yield server
        finally:
            server.stop()


def _tool(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next((str(folder / name) for folder in folders if (folder / name).is_file()), None) or shutil.which(name)
    if found is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    return found


def _as_nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip("needs an unprivileged user to run PostgreSQL as")
