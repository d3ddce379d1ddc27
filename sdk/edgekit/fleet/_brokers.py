"""A broker on this machine, for trying things out: mosquitto when it is installed, else iotcore's rumqttd.

Both listen on 127.0.0.1 only and let everybody in: no security boundary.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from edgekit.errors import DeviceError, EnvironmentMissingError, UsageError

HOST = "127.0.0.1"
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.05
TRIES = 50
_LISTENERS = range(20_000, 32_768)
_SBIN = "/usr/sbin:/usr/local/sbin"

_MOSQUITTO = """\
# written by edgekit fleet broker; loopback only, no access control
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {data}/
autosave_interval 5
max_queued_messages 100000
{user}
"""

_LISTENER = """\
[{version}.1]
name = "{version}-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
  [{version}.1.connections]
  connection_timeout_ms = 60000
  max_payload_size = 4194304
  max_inflight_count = 500
  dynamic_filters = true
"""
_ROUTER = """\
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
"""


class Broker(Protocol):
    """A running broker."""

    engine: str
    url: str

    def alive(self) -> bool:
        """Whether it still runs."""
        ...


class MosquittoProcess:
    """Eclipse Mosquitto as a child process, which ends with this one also when this one is killed."""

    engine = "mosquitto"

    def __init__(self, executable: str, settings: Path, log: Path) -> None:
        """Start it with a configuration; what it says is appended to `log`."""
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "edgekit_agent.parent", str(os.getpid()), executable, "-c", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for us: we end it after the clients have left
            )

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End it and wait."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def explain(self, error: DeviceError) -> None:
        """Add what it said last to an error."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        if lines:
            error.add_note(f"mosquitto's last line: {lines[-1]}")


class MosquittoBroker(MosquittoProcess):
    """One that lets everybody in."""

    def __init__(self, executable: str, port: int, data: Path) -> None:
        """Start it; it keeps retained messages and sessions in `data`."""
        self.url = f"mqtt://{HOST}:{port}"
        # as root it would change to a user who may not read the folder
        user = "user root" if _is_root() else ""
        settings = data / "mosquitto.conf"
        settings.write_text(_MOSQUITTO.format(port=port, host=HOST, data=data, user=user))
        super().__init__(executable, settings, data / "mosquitto.log")
        try:
            _wait_until_it_accepts(port, self.alive)
        except DeviceError as exc:
            self.stop()
            self.explain(exc)
            raise


class IotcoreBroker:
    """rumqttd out of the `iotcore` wheel, which runs it in a child process of its own.

    MQTT 5 and 3.1.1 need a port each; the one handed out speaks 5, because shared subscriptions
    deliver nothing on the other.
    """

    engine = "iotcore"

    def __init__(self, port: int, data: Path) -> None:
        """Start it; it keeps nothing over a restart."""
        from iotcore import Broker as Rumqttd

        self.url = f"mqtt://{HOST}:{port}"
        listeners = (("v5", port), ("v4", free_port()))
        text = _ROUTER + "".join(_LISTENER.format(version=name, host=HOST, port=each) for name, each in listeners)
        settings = data / "rumqttd.toml"
        settings.write_text(text)
        self._broker: Any = Rumqttd(config_path=str(settings))
        try:
            self._broker.start()
        except (OSError, RuntimeError) as exc:
            raise DeviceError(f"the broker did not start on {self.url}: {exc}") from exc

    def alive(self) -> bool:
        """Whether it still runs."""
        return bool(self._broker.is_running)

    def stop(self) -> None:
        """End it and wait."""
        with contextlib.suppress(RuntimeError, OSError):
            self._broker.stop()


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def find_mosquitto() -> str | None:
    """Return mosquitto's path, looking in the system folders that a user's PATH leaves out too."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SBIN)


def has_iotcore() -> bool:
    """Whether the iotcore wheel is installed."""
    from importlib.util import find_spec

    return find_spec("iotcore") is not None


ENGINES = MappingProxyType({"mosquitto": lambda: find_mosquitto() is not None, "iotcore": has_iotcore})


def choose_engine(wanted: str = "auto") -> str:
    """Return the engine to use: the one wanted, or the first that is here.

    Raises:
        UsageError: if there is no such engine.
        EnvironmentMissingError: if it, or any, is not installed.
    """
    if wanted not in {"auto", *ENGINES}:
        raise UsageError(f"there is no broker engine '{wanted}'; there are: auto, {', '.join(ENGINES)}")
    for name, here in ENGINES.items():
        if wanted in {"auto", name} and here():
            return name
    error = EnvironmentMissingError("no broker is installed" if wanted == "auto" else f"{wanted} is not installed")
    error.add_note("apt-get install mosquitto, or pip install 'edgekit-sdk[broker]'")
    raise error


@contextlib.contextmanager
def running(port: int = 0, engine: str = "auto", data: Path | None = None) -> Iterator[Broker]:
    """Run a broker on 127.0.0.1 for as long as the block lasts.

    Args:
        port: the port, or 0 for a free one.
        engine: `auto`, `mosquitto` or `iotcore`.
        data: folder for its configuration and what it keeps; None is a temporary one.

    Raises:
        DeviceError: if the port is taken or it does not start.
        EnvironmentMissingError: if no broker is installed.
    """
    chosen = choose_engine(engine)
    if port:
        _check_free(port)
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekit-broker-")))
        folder.mkdir(parents=True, exist_ok=True)
        broker: MosquittoBroker | IotcoreBroker
        if chosen == "mosquitto":
            broker = MosquittoBroker(find_mosquitto() or "mosquitto", port or free_port(), folder.resolve())
        else:
            broker = IotcoreBroker(port or free_port(), folder.resolve())
        stack.callback(broker.stop)
        yield broker


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            error = DeviceError(f"port {port} on {HOST} cannot be had: {exc.strerror}")
            error.add_note("choose another with --port, or --port 0 for any free one")
            raise error from exc


def free_port() -> int:
    """Return a port that was free a moment ago.

    It is of none that systems lend to outgoing connections (from 32768 up), where there is one: what listens on it
    finds it free again when it is started anew.
    """
    for port in secrets.SystemRandom().sample(_LISTENERS, TRIES):
        with contextlib.suppress(UsageError):
            _check_free(port)
            return port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _wait_until_it_accepts(port: int, alive: Any) -> None:  # noqa: ANN401  # a question
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        if _accepts(port):
            return
        if not alive():
            break
        time.sleep(POLL_S)
    raise DeviceError(f"the broker did not start on mqtt://{HOST}:{port}")
