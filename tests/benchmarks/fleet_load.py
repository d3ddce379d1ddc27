"""Many devices' reports over raw sockets, as fast as the broker takes them: a load that costs little itself.

`python -m tests.benchmarks.fleet_load PORT DEVICES REPORTS`: each device a connection, each report QoS 1, at most
`WINDOW` unacknowledged by the broker a device; unlike real devices it sends nothing twice.
"""

import random
import select
import socket
import struct
import sys
import time

import mqtt5

from edgekit_agent.protocol import ExpHistogram, Kind, Latency, Report, device_topic

WINDOW = 4
SAMPLES = 600
STAGES_S = {"pre": 0.001, "infer": 0.02, "post": 0.0005, "e2e": 0.022}


def make_report(seed: int, **fields: object) -> Report:
    """Return a report of 600 inferences as an agent sends it every ten seconds."""
    rng = random.Random(seed)  # noqa: S311  # figures, no secrets
    stages = {
        name: ExpHistogram.of([rng.lognormvariate(0.0, 0.2) * typical for _ in range(SAMPLES)], 4)
        for name, typical in STAGES_S.items()
    }
    known = {
        "ts_ms": int(time.time() * 1000),
        "boot": "5b1c0a7e93d24f60",
        "seq": 1,
        "model": "kws",
        "version": "1.2.0",
        "artifact": "sha256:" + "a5" * 32,
        "runtime": "ai-edge-litert 2.3.0",
        "executed_on": ("CPU",),
        "window_s": 10.0,
        "inferences": SAMPLES,
        "cpu_percent": 3.5,
        "rss_bytes": 41_000_000,
        "temperature_c": 51.5,
    }
    return Report(**{**known, "latency": Latency(**stages), **fields})  # type: ignore[arg-type]  # a table of fields


class Device:
    """A connection that publishes one device's reports, all alike but for their number."""

    def __init__(self, port: int, name: str, seed: int) -> None:
        """Connect."""
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(mqtt5.ConnectPacket(name, clean_start=True, keep_alive=0).write())
        self.socket.recv(1024)
        self.waiting, self.seq = 0, 0
        body = make_report(seed, seq=7_777_777).to_bytes()
        self._head, _, self._tail = body.partition(b"7777777")
        topic = device_topic("default", name, Kind.TELE).encode()
        self._topic = struct.pack(">H", len(topic)) + topic

    def send(self, count: int) -> None:
        """Send the next reports."""
        out = bytearray()
        for _ in range(count):
            self.seq += 1
            number = struct.pack(">H", self.seq % 65_535 + 1)
            body = b"".join((self._topic, number, b"\0", self._head, str(self.seq).encode(), self._tail))
            out += b"\x32" + _length(len(body)) + body
        self.waiting += count
        self.socket.sendall(out)

    def taken(self) -> int:
        """Return how many acknowledgements came: of four bytes each, or two more where nobody listens."""
        data, count, at = self.socket.recv(65_536), 0, 0
        while at + 1 < len(data):
            count += data[at] == 0x40  # PUBACK
            at += 2 + data[at + 1]
        self.waiting -= count
        return count


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, low = size >> 7, size & 0x7F
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def main() -> None:
    """Send all reports and end."""
    port, count, reports = (int(text) for text in sys.argv[1:])
    devices = [Device(port, f"dev-{number:05d}", number) for number in range(count)]
    by_socket = {device.socket.fileno(): device for device in devices}
    poll = select.epoll()
    for number in by_socket:
        poll.register(number, select.EPOLLIN)
    each = [reports // count + (number < reports % count) for number in range(count)]
    left = {device.socket.fileno(): total for device, total in zip(devices, each, strict=True)}
    done = 0
    for number, device in by_socket.items():
        first = min(WINDOW, left[number])
        left[number] -= first
        device.send(first)
    while done < reports:
        for number, _ in poll.poll(5.0):
            device = by_socket[number]
            done += device.taken()
            more = min(WINDOW - device.waiting, left[number])
            if more > 0:
                left[number] -= more
                device.send(more)


if __name__ == "__main__":
    main()
