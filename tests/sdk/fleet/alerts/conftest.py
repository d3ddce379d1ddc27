"""A store, reports in it, and real receivers of alerts."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edgekit.fleet.store import Arrived
from edgekit.fleet.wire import decode_report
from edgekit_agent.protocol import Report

NOW_MS = 1_800_000_000_000


@pytest.fixture
def report(make_report: Callable[..., Report]) -> Callable[..., Arrived]:
    """A report of a device that took `ms` for each of ten inferences."""
    numbers = iter(range(1, 10_000))

    def make(device: str, ms: float, at_ms: int, **fields: Any) -> Arrived:
        made = make_report((ms / 1000,) * 10, seq=next(numbers), boot=device, ts_ms=at_ms, **fields)
        return Arrived("default", device, at_ms, decode_report(made.to_bytes()))

    return make


class Receiver:
    """What a web hook got; `status` is what it answers."""

    def __init__(self, address: str) -> None:
        """Listen at an address."""
        self.url = address
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The messages."""
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real HTTP server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.got.append((dict(self.headers.items()), body))
            self.send_response(hook.status)
            if 300 <= hook.status < 400:
                self.send_header("Location", f"{hook.url}elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Receiver(f"http://127.0.0.1:{server.server_port}/hook/")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hook
    server.shutdown()
    server.server_close()
    thread.join()
