"""Devices that publish over a real broker and keep what is not acknowledged."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgekit_agent.protocol import Ack, Kind, Report, device_topic


class Publisher:
    """Some devices on one connection; `acked` has what each was told."""

    def __init__(self, port: int, make: Callable[..., Report], devices: int) -> None:
        """Connect."""
        self.make, self.names = make, [f"dev-{number:03d}" for number in range(devices)]
        self.acked = dict.fromkeys(self.names, 0)
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "devices", protocol=paho.MQTTv5)
        self.client.max_queued_messages_set(0)
        self.client.on_connect = self._connected
        self.client.on_message = self._acknowledged
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _connected(self, *_: Any) -> None:
        self.client.subscribe("ek/1/default/+/ack")

    def _acknowledged(self, _client: Any, _data: Any, message: Any) -> None:
        device = message.topic.split("/")[3]
        self.acked[device] = max(self.acked[device], Ack.from_bytes(message.payload).seq)

    def send(self, seq: int, *, only: str | None = None, **fields: Any) -> None:
        """Every device, or one, sends a report."""
        for name in self.names if only is None else [only]:
            report = self.make(seq=seq, ts_ms=int(time.time() * 1000), **fields)
            self.client.publish(device_topic("default", name, Kind.TELE), report.to_bytes(), qos=1)

    def all_told(self, seq: int) -> bool:
        """Whether every device was told of all up to this number."""
        return all(told >= seq for told in self.acked.values())

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def publisher(make_report: Callable[..., Report]) -> Callable[..., Any]:
    """Devices on a broker's port, as a block."""

    @contextmanager
    def publishing(port: int, devices: int = 10) -> Iterator[Publisher]:
        made = Publisher(port, make_report, devices)
        try:
            yield made
        finally:
            made.close()

    return publishing


@pytest.fixture
def ingest(url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ingest processes; they are ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(
        port: int, number: int = 0, *, client: str = "auto", shared: bool = False, **more: float
    ) -> subprocess.Popen[str]:
        broker = {"host": "127.0.0.1", "port": port, "tls": False, "username": None, "password": None}
        settings = {
            "store": url,
            "broker": {**broker, "ca": None, "cert": None, "key": None},
            "source": f"ingest-{number}",
            "client_id": f"ek-ingest-{number}",
            "shared": shared,
            "client": client,
            **more,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "edgekit.fleet.ingest"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told == {"connected": True, "trouble": None}
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(20)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until something is so."""

    def wait(question: Callable[[], bool], limit_s: float = 60.0) -> None:
        end = time.monotonic() + limit_s
        while not question():
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.05)

    return wait
