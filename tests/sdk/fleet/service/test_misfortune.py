"""What an unlucky or hostile user meets: one clear sentence and the right exit code, and a service that comes back."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from edgekit.fleet._brokers import free_port, running
from edgekit.fleet.remote import FleetServer
from edgekit.fleet.store import open_store

pytestmark = pytest.mark.slow
WAIT_S = 90.0
NOWHERE = "mqtt://127.0.0.1:1"


def fleet(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def refused(code: int, told: str, *words: str, **variables: str) -> None:
    """See that a command ends with a code and one sentence, with hints at most."""
    done = fleet(*words, **variables)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert lines[0].startswith("error: "), done.stderr
    assert told in lines[0], done.stderr
    assert all(line.startswith("hint: ") for line in lines[1:]), done.stderr


def serving(folder: Path, *more: str) -> tuple[str, ...]:
    return ("serve", "--data", str(folder), "--listen", "127.0.0.1:0", "--broker", NOWHERE, *more)


@contextlib.contextmanager
def service(folder: Path, broker: str = NOWHERE) -> Iterator[Any]:
    """Run the service."""
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "serve", "--json", "--data", str(folder)]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--broker", broker], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        yield process, document["url"]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Leave no process behind when the block fails."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


def eventually(question: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not question():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.2)


# --- the store


def test_a_store_that_is_garbage_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    file.write_bytes(os.urandom(50_000))
    before = file.read_bytes()
    for words in (serving(tmp_path), ("user", "ls", "--data", str(tmp_path))):
        refused(3, "cannot be used: file is not a database", *words)
    assert file.read_bytes() == before


def test_a_store_of_which_the_middle_is_garbage_is_told(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    open_store(f"sqlite:///{file}").close()
    content = bytearray(file.read_bytes())
    content[100 : len(content)] = os.urandom(len(content) - 100)  # the head is sound
    file.write_bytes(content)
    refused(3, "cannot be used", *serving(tmp_path))


def test_a_store_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'fleet.db'}") as store, store.engine.begin() as connection:
        connection.execute(text("INSERT INTO migrations VALUES ('9999-later', 1)"))
    for words in (serving(tmp_path), ("token", "ls", "--data", str(tmp_path))):
        refused(3, "was used by a newer version of EdgeKit: it has '9999-later'", *words)


def test_a_store_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    folder = tmp_path / "mistyped"
    for words in (("token", "ls"), ("user", "ls"), ("token", "revoke", "x"), ("user", "remove", "x")):
        refused(4, f"there is no store '{folder / 'fleet.db'}'", *words, "--data", str(folder))
    assert not folder.exists()


def test_a_database_server_that_is_away_is_told(tmp_path: Path) -> None:
    for url in ("postgresql://127.0.0.1:1/fleet", "postgresql://ann:secret@127.0.0.1:1/fleet"):
        done = fleet(*serving(tmp_path, "--store", url))
        assert done.returncode == 5
        assert done.stderr.startswith("error: the store postgresql://")
        assert "secret" not in done.stderr


# --- the folder and the address


def test_a_folder_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    refused(4, f"the service's folder '{file}' cannot be used: File exists", *serving(file))
    refused(4, "cannot be used: Not a directory", *serving(file / "below"))


def test_a_folder_that_is_read_only_is_told(small_disk: Callable[..., Path]) -> None:
    folder = small_disk(size="4m", more=",ro")
    refused(4, "Read-only file system", *serving(folder))
    refused(4, "Read-only file system", "token", "create", "x", "--data", str(folder))


def test_a_disk_without_room_is_told_at_the_start(small_disk: Callable[..., Path]) -> None:
    folder = small_disk(size="2m")
    fill(folder)
    refused(4, "disk is full", *serving(folder))
    refused(4, "disk is full", "token", "create", "x", "--data", str(folder))


def test_a_second_service_on_a_folder_is_refused_and_harms_nobody(tmp_path: Path) -> None:
    with service(tmp_path) as (process, url):
        refused(4, f"another fleet service runs on '{tmp_path}'", *serving(tmp_path))
        assert process.poll() is None
        with FleetServer(url) as asked:
            assert asked.ask("GET", "/healthz")["edgekit"]


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("serve", "--data", str(tmp_path), "--broker", NOWHERE, "--listen", f"127.0.0.1:{port}")
        refused(5, f"cannot listen on 127.0.0.1:{port}: Address already in use", *words)


# --- while it serves


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of its own in memory."""
    mounted: list[Path] = []

    def mount(size: str, more: str = "") -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}{more}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs to be allowed to mount a tmpfs")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def fill(folder: Path) -> None:
    """Leave no room."""
    with (folder / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fills_up_while_it_serves_loses_nothing(small_disk: Callable[..., Path]) -> None:
    """Nothing is acknowledged that is not stored; who asks is told why, and all goes on once there is room."""
    folder = small_disk(size="6m")
    with running(engine="mosquitto") as broker, service(folder, broker.url) as (_, url):
        token = (folder / "token").read_text().strip()
        mine = {"EDGEKIT_FLEET_SERVER": url, "EDGEKIT_FLEET_TOKEN": token}

        def trouble() -> dict[str, str]:
            with FleetServer(url, token=token) as asked:
                parts = asked.ask("GET", "/healthz")["parts"]
            return {name: part["trouble"] for name, part in parts.items() if part["trouble"]}

        def listed() -> int:
            return int(json.loads(fleet("ls", "--json", **mine).stdout)["count"])

        command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "simulate", "--json", "--broker", broker.url]
        options = ["-n", "10", "--window", "1", "--heartbeat", "2", "--drain", "20"]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as devices, ended(devices):
            eventually(lambda: listed() == 10)
            fill(folder)
            eventually(lambda: "full" in trouble().get("ingest-0", "") and "full" in trouble().get("store", ""))
            told = "the store does not answer at the moment"
            refused(5, told, "config", "set", "telemetry.window_s=2", "-f", "device=sim-00001", **mine)
            refused(5, told, "rollout", "create", "kws==2.0.0", **mine)
            assert listed() == 10  # looking goes on
            (folder / "fill").unlink()
            eventually(lambda: not trouble())  # parts come back with growing pauses
            devices.send_signal(signal.SIGINT)
            summary = json.loads(devices.communicate(timeout=120)[0])
        assert (summary["lost"], summary["acked"] + summary["waiting"]) == (0, summary["made"])
        total = json.loads(fleet("counters", "--json", **mine).stdout)["total"]
        assert total["rejected"] == 0
        with open_store(f"sqlite:///{folder / 'fleet.db'}") as store:
            stopped = "SELECT COUNT(*) FROM events WHERE code = 'agent-stopped'"
            with store.engine.connect() as connection:
                stored = connection.execute(text("SELECT COUNT(*) FROM reports")).scalar()
                assert summary["made"] >= (stored or 0) >= summary["acked"] > 0
                counted: Callable[[], int] = lambda: int(connection.execute(text(stopped)).scalar() or 0)  # noqa: E731
                eventually(lambda: counted() == 10)


def test_a_broker_that_comes_late_is_found(tmp_path: Path) -> None:
    port = free_port()
    with service(tmp_path, f"mqtt://127.0.0.1:{port}") as (process, url):
        mine = {"EDGEKIT_FLEET_SERVER": url, "EDGEKIT_FLEET_DATA": str(tmp_path)}
        refused(2, "there is no device 'nobody'", "show", "nobody", **mine)
        with running(engine="mosquitto", port=port) as broker:
            words = ("-n", "2", "--window", "1", "--for", "4", "--drain", "20", "--json")
            summary = json.loads(fleet("simulate", "--broker", broker.url, *words).stdout)
            assert summary["acked_by"] == "host"
            assert summary["acked"] > 0 == summary["lost"]
        assert process.poll() is None


# --- commands


@pytest.mark.parametrize(
    ("code", "told", "words"),
    [
        (5, "does not answer: Connection refused", ("ls", "--server", "http://127.0.0.1:1")),
        (5, "does not answer: Connection refused", ("deploy", "kws==1", "--server", "http://127.0.0.1:1")),
        (5, "does not answer: Connection refused", ("alerts", "ls", "--server", "http://127.0.0.1:1")),
        (2, "is not of the form http", ("ls", "--server", "ftp://127.0.0.1")),
        (2, "in the clear", ("ls", "--server", "http://192.0.2.1")),
        (2, "is not of the form MODEL==VERSION", ("deploy", "kws")),
        (5, "broker mqtt://127.0.0.1:1: ", ("simulate", "-n", "1", "--for", "1", "--broker", NOWHERE)),
        (5, "Connection refused", ("watch", "--broker", NOWHERE)),
        (2, "is not of the form HOST:PORT", ("serve", "--listen", "here")),
        (2, "is open to the network", ("serve", "--listen", "0.0.0.0:0")),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_a_command_that_cannot_do_its_work_says_so(
    tmp_path: Path, code: int, told: str, words: tuple[str, ...]
) -> None:
    more = ("--data", str(tmp_path)) if words[0] == "serve" else ()
    refused(code, told, *words, *more, EDGEKIT_FLEET_TOKEN="x" * 40)


def test_wrong_input_is_refused_by_a_service_that_is_there(tmp_path: Path) -> None:
    with service(tmp_path) as (_, url):
        mine = {"EDGEKIT_FLEET_SERVER": url, "EDGEKIT_FLEET_DATA": str(tmp_path)}
        for line in ("ls", "events", "query", "config set log_level=debug", "rollout create a==1"):
            refused(2, "filter", *line.split(), "--filter", "sit=lab", **mine)
        for line in ("show nobody", "logs nobody", "forget nobody", "bench abc/nobody --model m"):
            refused(2, "nobody", *line.split(), **mine)
        for word in ("show", "pause", "abort"):
            refused(2, "there is no rollout 'none'", "rollout", word, "none", **mine)
        refused(5, "does not know this token", "ls", **{**mine, "EDGEKIT_FLEET_TOKEN": "wrong" * 8})
        refused(2, "no device fits", "rollout", "create", "kws==2", **mine)
