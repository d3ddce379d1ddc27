"""A store with reports in it, and the service's page on a port."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn

from edgekit.fleet import wire
from edgekit.fleet.api import create_app
from edgekit.fleet.store import Arrived, DeviceKey, Store
from edgekit.fleet.wire import decode_report
from edgekit_agent.protocol import Kind, Report

TOKEN = "ekt_" + "t" * 40

Fill = Callable[..., None]


@pytest.fixture
def fill(store: Store, make_report: Callable[..., Report]) -> Fill:
    """Have a device report: `fill("dev-1", seq=3, values=(0.001,), at_ms=…)`; by default now."""

    def add(device: str = "dev-1", *, site: str = "default", at_ms: int | None = None, **fields: object) -> None:
        at = int(time.time() * 1000) if at_ms is None else at_ms
        report = make_report(**{"ts_ms": at, **fields})
        store.reports.add([Arrived(site, device, at, decode_report(report.to_bytes()))])

    return add


@pytest.fixture
def known(store: Store) -> Callable[..., DeviceKey]:
    """Have a device say what it is, and be there."""

    def add(
        device: str = "dev-1", site: str = "default", board: str = "Raspberry Pi 5", presence: str = "online"
    ) -> DeviceKey:
        key = DeviceKey(site, device)
        described = {"agent": "1.0.0", "hardware": {"board": board}, "runtimes": {}, "labels": {"room": "lab"}}
        raw = json.dumps(described).encode()
        info = wire.decode(Kind.INFO, raw)
        assert isinstance(info, wire.Info)
        now_ms = int(time.time() * 1000)
        store.devices.put_info(key, info, raw, now_ms)
        store.devices.put_state(key, wire.State(state="online", birth=1, boot="b1", heartbeat_s=10.0), now_ms)
        store.devices.put_presence(key, presence, "birth", now_ms)
        return key

    return add


@pytest.fixture
def served(store: Store) -> Iterator[str]:
    """The service's own server over the store; its address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(64)
        server = uvicorn.Server(uvicorn.Config(create_app(store, token=TOKEN), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
