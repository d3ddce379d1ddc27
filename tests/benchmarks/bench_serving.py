"""Print what serving adds to an inference, beside other servers: `python -m tests.benchmarks.bench_serving [SECONDS]`.

One model of 150 kB input (int8, 224x224x3) and next to nothing to compute, the same runtime everywhere, one client,
one request at a time, a connection that stays. All are asked in turns within one run, so that a noisy machine
disturbs all alike; the overhead is the median over the turns of (p50 of a row - p50 of the bare inference).

`EDGEKIT_SERVING_PYTHON` names an interpreter with the others: fastapi, uvicorn[standard], mlserver, ai-edge-litert.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekit.fleet._brokers import free_port
from edgekit_agent import feeds, runtimes
from edgekit_agent.client import Client
from tests.agent.serving import Served

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "data" / "photo" / "photo_int8.tflite"
PAGE = ROOT / "docs" / "benchmarks" / "serving.md"
BURST_S = 0.15
MAX_BURST = 60
Burst = Callable[[int], list[float]]


def timed(once: Callable[[int], object]) -> Burst:
    """Return what times so many calls, in seconds."""

    def burst(count: int) -> list[float]:
        taken = []
        for number in range(count):
            start = time.perf_counter()
            once(number)
            taken.append(time.perf_counter() - start)
        return taken

    return burst


def posting(
    port: int, path: str, bodies: list[bytes], headers: dict[str, str], check: Callable[[bytes], None]
) -> Burst:
    """Return what times requests over one HTTP connection; the first answer is checked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def once(number: int) -> bytes:
        try:
            connection.request("POST", path, bodies[number % len(bodies)], headers)
            answer = connection.getresponse()
        except OSError:  # idle for too long: the first of a turn, which does not count
            connection.close()
            connection.request("POST", path, bodies[number % len(bodies)], headers)
            answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path} answered {answer.status}: {content[:200]!r}")
        return content

    check(once(0))
    return timed(once)


def listening(port: int, process: "subprocess.Popen[Any]", patience_s: float = 60.0) -> None:
    """Wait until a server listens."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not listen on {port}")


@contextlib.contextmanager
def running(command: list[str], **more: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Run a process until the end of the block."""
    process = subprocess.Popen(command, **more)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


class Rows:
    """Who is asked, by the names in the table."""

    def __init__(self, until: contextlib.ExitStack, folder: Path) -> None:
        """Start a worker; `until` ends what is started."""
        self._until, self._folder = until, folder
        session = runtimes.get("ai-edge-litert").load(MODEL)
        self.arrays = [arrays[0] for arrays in feeds.synthetic(session.inputs, seed=0)]
        self.expected = session.invoke([self.arrays[0]])[0].tobytes()
        self.bursts: dict[str, Burst] = {
            "bare inference": timed(lambda number: session.invoke([self.arrays[number % len(self.arrays)]]))
        }
        self.notes: list[str] = []
        self.served = Served(folder / "run", MODEL)
        until.callback(self.served.close)
        self.served.start()

    def socket(self) -> None:
        """The UNIX socket; the array is copied into the shared memory first."""
        client = self._until.enter_context(Client("m", folder=self.served.folder))

        def once(number: int) -> Any:
            client.inputs["image"][...] = self.arrays[number % len(self.arrays)]
            return client.infer()["scores"]

        self._same(once(0).tobytes())
        self.bursts["EdgeKit, UNIX socket"] = timed(once)

    def gateway(self) -> None:
        """The agent's HTTP: bytes, and JSON."""
        port = free_port()
        arguments = ["127.0.0.1", str(port), str(self.served.folder), str(64 << 20), str(os.getpid())]
        self._start([sys.executable, "-P", "-m", "edgekit_agent.gateway", *arguments], port)
        path = "/v2/models/m/infer"
        raw = {"Inference-Header-Content-Length": "0"}
        size = len(self.expected)
        self.bursts["EdgeKit, HTTP, binary"] = posting(
            port, path, self._raw(), raw, lambda body: self._same(body[-size:])
        )
        tensor = {"name": "image", "shape": [1, 224, 224, 3], "datatype": "INT8"}
        bodies = [json.dumps({"inputs": [{**tensor, "data": one.ravel().tolist()}]}).encode() for one in self.arrays]
        self.bursts["EdgeKit, HTTP, JSON"] = posting(
            port, path, bodies, {}, lambda body: self._numbers(json.loads(body)["outputs"][0]["data"])
        )

    def fastapi(self, python: str) -> None:
        """FastAPI on uvicorn with uvloop and httptools: bytes, and JSON."""
        port = free_port()
        script = ROOT / "tests" / "benchmarks" / "serving_fastapi.py"
        self._start([python, "-P", str(script), str(MODEL), str(port)], port, env=_clean())
        self.bursts["FastAPI, uvicorn, binary"] = posting(port, "/binary", self._raw(), {}, self._same)
        bodies = [json.dumps({"data": one.ravel().tolist()}).encode() for one in self.arrays]
        self.bursts["FastAPI, uvicorn, JSON"] = posting(
            port, "/json", bodies, {}, lambda body: self._numbers(json.loads(body)["data"])
        )

    def mlserver(self, python: str) -> None:
        """MLServer in one process: gRPC with bytes from its own client, and REST with JSON."""
        folder = self._folder / "mlserver"
        (folder / "m").mkdir(parents=True)
        http_port, grpc_port, metrics_port = free_port(), free_port(), free_port()
        ports = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
        settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
        (folder / "settings.json").write_text(json.dumps(settings))
        model = {"name": "m", "implementation": "serving_mlserver.TFLiteModel", "parameters": {"uri": str(MODEL)}}
        (folder / "m" / "model-settings.json").write_text(json.dumps(model))
        script = ROOT / "tests" / "benchmarks" / "serving_mlserver.py"
        shutil.copy(script, folder / "serving_mlserver.py")
        command = [python, "-c", "from mlserver.cli import main; main()", "start", str(folder)]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._start(command, grpc_port, http_port, env={**_clean(), "PYTHONPATH": str(folder)}, **silent)
        client = self._until.enter_context(
            running(
                [python, "-P", str(script), "client", str(grpc_port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_clean(),
            )
        )  # fmt: skip

        assert client.stdin is not None
        assert client.stdout is not None
        to, of = client.stdin, client.stdout

        def burst(count: int) -> list[float]:
            to.write(f"{count}\n")
            to.flush()
            taken: list[float] = json.loads(of.readline())
            return taken

        self.bursts["MLServer, gRPC, binary"] = burst
        tensor = {"name": "image", "shape": [1, 224, 224, 3], "datatype": "INT8"}
        bodies = [json.dumps({"inputs": [{**tensor, "data": one.ravel().tolist()}]}).encode() for one in self.arrays]
        self.bursts["MLServer, REST, JSON"] = posting(
            http_port, "/v2/models/m/infer", bodies, {"Content-Type": "application/json"},
            lambda body: self._numbers(json.loads(body)["outputs"][0]["data"]),
        )  # fmt: skip

    def _start(self, command: list[str], *ports: int, **more: Any) -> None:
        """Start a server and wait until it listens."""
        process = self._until.enter_context(running(command, **more))
        for port in ports:
            listening(port, process)

    def _raw(self) -> list[bytes]:
        return [one.tobytes() for one in self.arrays]

    def _same(self, answer: bytes) -> None:
        assert answer == self.expected, "another answer than the bare inference"

    def _numbers(self, answer: list[int]) -> None:
        self._same(bytes(one % 256 for one in answer))


def _clean() -> dict[str, str]:
    """Return an environment without this checkout's packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def measure(rows: Rows, seconds: float) -> dict[str, list[list[float]]]:
    """Ask all in turns, and return each row's bursts."""
    counts = {}
    for name, burst in rows.bursts.items():
        burst(3)
        counts[name] = max(2, min(MAX_BURST, int(BURST_S / statistics.median(burst(5)))))
    found: dict[str, list[list[float]]] = {name: [] for name in rows.bursts}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for worker in rows.served.workers:
            worker.messages()  # as the supervisor does: a worker waits when nobody takes what it says
        for name, burst in rows.bursts.items():
            burst(1)  # the others' data fills the caches
            found[name].append(burst(counts[name]))
    return found


def table(found: dict[str, list[list[float]]]) -> list[str]:
    """Return the rows of the page."""
    bare = [statistics.median(burst) for burst in found["bare inference"]]
    over = {
        name: statistics.median(statistics.median(burst) - one for burst, one in zip(bursts, bare, strict=True))
        for name, bursts in found.items()
    }
    ours = over["EdgeKit, UNIX socket"]
    lines = [
        "| | p50 µs | p90 µs | p99 µs | over the bare inference, µs | times the socket's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, bursts in found.items():
        ordered = sorted(one for burst in bursts for one in burst)
        shares = [1e6 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.9, 0.99)]
        figures = " | ".join(f"{value:,.0f}" for value in shares)
        tail = " | | |" if name == "bare inference" else f" | {1e6 * over[name]:,.0f} | {over[name] / ours:.1f} |"
        lines.append(f"| {name} | {figures}{tail}")
    return lines


def page(found: dict[str, list[list[float]]], notes: list[str], seconds: float) -> str:
    """Return the page."""
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), "?")  # fmt: skip
    where = (
        f"{datetime.now(UTC):%Y-%m-%d}, {cpu}, {os.cpu_count()} cores, {seconds:.0f} s, load {os.getloadavg()[0]:.1f}."
    )
    intro = (__doc__ or "").partition("\n\n")[2].partition("\n\n`EDGEKIT")[0]
    runs = min(len(bursts) for bursts in found.values())
    parts = [
        "# Serving",
        f"Written by `python -m tests.benchmarks.bench_serving`. {intro}",
        where + f" {runs} turns.",
        "\n".join(table(found)),
    ]
    return "\n\n".join([*parts, *notes]) + "\n"


def main() -> None:
    """Measure, print, and write the page."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    others = os.environ.get("EDGEKIT_SERVING_PYTHON")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as until:
        rows = Rows(until, Path(folder))
        rows.socket()
        rows.gateway()
        if others is None:
            rows.notes.append("FastAPI and MLServer were not asked: `EDGEKIT_SERVING_PYTHON` was not set.")
        else:
            rows.fastapi(others)
            rows.mlserver(others)
        if shutil.which("ovms") is None:
            rows.notes.append(
                "OpenVINO Model Server is not here: it comes as a container or an archive, not as a Python package."
            )
        found = measure(rows, seconds)
        text = page(found, rows.notes, seconds)
    print(text)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
