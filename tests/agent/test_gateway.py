"""The Open Inference Protocol over HTTP: real connections to a real worker."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent import feeds, runtimes
from edgekit_agent.config import ServeConfig
from edgekit_agent.runtimes.base import TensorSpec
from tests.agent.serving import Served

pytest.importorskip("h11", reason="needs h11: pip install 'edgekit-agent[serve]'")

from edgekit_agent.gateway import http as gateway_http
from edgekit_agent.gateway import server as gateway_server
from edgekit_agent.gateway.errors import HttpError
from edgekit_agent.gateway.server import Server, is_here
from edgekit_agent.gateway.tensors import parse, render

MAX_BODY = 1 << 20
SCRIPT = {
    "inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [-1, 2], "dtype": "float32"}],
}


class Gateway:
    """A running gateway in this process, and the folder of its models."""

    def __init__(self, folder: Path) -> None:
        """Listen on a free port of loopback."""
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.served: list[Served] = []
        self._thread = threading.Thread(target=Server(self.listener, folder, MAX_BODY).run)
        self._thread.start()

    def serve(self, name: str, model: Path, **limits: int) -> Served:
        """Start a worker for a model."""
        self.served.append(Served(self.folder, model, ServeConfig(**limits), name))
        self.served[-1].start()
        return self.served[-1]

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Ask over a connection of its own; a JSON answer is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, sent, headers or {})
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if "json" in told.get("content-type", "") else content, told

    def raw(self, sent: bytes = b"") -> socket.socket:
        """Return a bare connection on which this was sent."""
        end = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        end.sendall(sent)
        return end

    def close(self) -> None:
        """End the workers and the listener."""
        for one in self.served:
            one.close()
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.listener.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Gateway]:
    """One gateway with a scripted model `m` and the small real ones."""
    folder = tmp_path_factory.mktemp("gateway")
    script = folder / "m.null"
    script.write_text(json.dumps(SCRIPT))
    made = Gateway(folder / "run")
    made.serve("m", script, max_batch=4)
    made.serve("single", script)
    for name in ("conv_int8", "length"):
        made.serve(name, repository / "tests" / "data" / "models" / f"{name}.tflite")
    yield made
    made.close()


@pytest.fixture
def slow(gateway: Gateway, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serves a scripted model of any latency beside the others."""
    made: list[Served] = []

    def make(name: str, latency_ms: float, **limits: int) -> Served:
        model = tmp_path / f"{name}.null"
        model.write_text(json.dumps({**SCRIPT, "latency_ms": [latency_ms]}))
        made.append(gateway.serve(name, model, **limits))
        return made[-1]

    yield make
    for one in made:
        gateway.served.remove(one)
        one.close()


def x(data: Any = (1, 2, 3, 6), **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": list(data), **more}]}


# --- what is here


def test_the_server_and_its_models_say_what_they_are(gateway: Gateway) -> None:
    status, server, _ = gateway.ask("GET", "/v2")
    assert (status, server["name"], server["extensions"]) == (
        200,
        "edgekit-agent",
        ["binary_tensor_data", "infer_stream"],
    )
    assert gateway.ask("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert gateway.ask("GET", "/v2/health/ready")[:2] == (200, {"live": True, "ready": True})
    assert gateway.ask("GET", "/v2/models/m/ready")[:2] == (200, {"name": "m", "ready": True})
    status, model, _ = gateway.ask("GET", "/v2/models/m/versions/0")
    assert (status, model) == (
        200,
        {
            "name": "m",
            "versions": ["0"],
            "platform": "null",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        },
    )


def test_a_model_whose_worker_is_away_is_not_ready(gateway: Gateway, slow: Callable[..., Served]) -> None:
    served = slow("away", 1)
    served.kill(served.workers[0])
    assert gateway.ask("GET", "/v2/models/away/ready")[:2] == (503, {"name": "away", "ready": False})
    assert gateway.ask("GET", "/v2/health/ready")[:2] == (503, {"live": True, "ready": False})


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/", 404, "nothing at /"),
        ("GET", "/v2/models/nobody", 404, "no model 'nobody'"),
        ("GET", "/v2/models/..%2Fm", 404, "no model '../m'"),
        ("GET", "/v2/models/m%00", 404, "no model 'm"),
        ("GET", "/v2/models/control", 404, "no model 'control'"),
        ("GET", f"/v2/models/{300 * 'm'}", 404, "no model 'mmm"),
        ("GET", "/v2/models/m/versions/9", 404, "has version 0 and not 9"),
        ("GET", "/v2/models/m/infer", 405, "takes POST"),
        ("POST", "/v2", 405, "takes GET"),
        ("POST", "/v2/models/nobody/infer", 404, "no model 'nobody'"),
        ("POST", "/v2/models/m/versions/9/infer", 404, "has version 0 and not 9"),
    ],
)
def test_what_is_not_here_is_said_in_a_sentence(
    gateway: Gateway, method: str, path: str, status: int, words: str
) -> None:
    found, body, _ = gateway.ask(method, path, x() if method == "POST" else None)
    assert found == status
    assert words in body["error"]


# --- inference


def test_json_in_json_out(gateway: Gateway) -> None:
    status, answer, _ = gateway.ask("POST", "/v2/models/m/infer", {"id": "seven", **x()})
    assert (status, answer) == (
        200,
        {
            "model_name": "m",
            "model_version": "0",
            "id": "seven",
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 3.0]}],
        },
    )


def test_nested_lists_are_taken_too(gateway: Gateway) -> None:
    assert gateway.ask("POST", "/v2/models/m/infer", x([[1, 2, 3, 6]]))[1]["outputs"][0]["data"] == [3.0, 3.0]


def test_binary_in_and_out_is_what_the_bare_runtime_gives(gateway: Gateway, models: Path) -> None:
    session = runtimes.choose(models / "conv_int8.tflite").load(models / "conv_int8.tflite")
    (spec,) = session.inputs
    for (array,) in feeds.synthetic(session.inputs, seed=2, count=3):
        parameters = {"binary_data_size": array.nbytes}
        tensor = {"name": spec.name, "shape": list(array.shape), "datatype": "INT8", "parameters": parameters}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        status, body, headers = gateway.ask(
            "POST", "/v2/models/conv_int8/infer", head + array.tobytes(),
            {"Inference-Header-Content-Length": str(len(head))},
        )  # fmt: skip
        length = int(headers["inference-header-content-length"])
        (told,) = json.loads(body[:length])["outputs"]
        assert (status, told["datatype"]) == (200, "INT8")
        answer = np.frombuffer(body[length:], np.int8).reshape(told["shape"])
        np.testing.assert_array_equal(answer, session.invoke([array])[0])
        assert told["parameters"] == {"binary_data_size": answer.nbytes}
        raw = gateway.ask(
            "POST", "/v2/models/conv_int8/infer", array.tobytes(), {"Inference-Header-Content-Length": "0"}
        )
        assert raw[1][int(raw[2]["inference-header-content-length"]) :] == answer.tobytes()


def test_only_the_outputs_wanted_come_each_as_wanted(gateway: Gateway, models: Path) -> None:
    session = runtimes.choose(models / "length.tflite").load(models / "length.tflite")
    (arrays,) = feeds.synthetic(session.inputs, seed=2, count=1)
    names = [spec.name for spec in session.outputs]
    inputs = [
        {"name": spec.name, "shape": list(array.shape), "datatype": "FP32", "data": array.tolist()}
        for spec, array in zip(session.inputs, arrays, strict=True)
    ]
    wanted = [{"name": names[-1], "parameters": {"binary_data": True}}, {"name": names[0]}]
    _, body, headers = gateway.ask("POST", "/v2/models/length/infer", {"inputs": inputs, "outputs": wanted})
    length = int(headers["inference-header-content-length"])
    told = json.loads(body[:length])["outputs"]
    expected = session.invoke(arrays)
    assert [one["name"] for one in told] == [names[-1], names[0]]
    assert body[length:] == expected[-1].tobytes()
    np.testing.assert_array_equal(np.array(told[1]["data"], np.float32), expected[0].ravel())


def test_a_stream_answers_each_sample_with_an_event(gateway: Gateway) -> None:
    rows = 9
    body = {"inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": list(range(4 * rows))}]}
    status, content, headers = gateway.ask("POST", "/v2/models/single/infer_stream", body)
    assert (status, headers["content-type"], headers["transfer-encoding"]) == (200, "text/event-stream", "chunked")
    events = [json.loads(line.removeprefix(b"data: ")) for line in content.strip().split(b"\n\n")]
    assert [event["parameters"]["sample"] for event in events] == list(range(rows))
    assert [event["outputs"][0]["data"][0] for event in events] == [4 * row + 1.5 for row in range(rows)]


def test_an_error_in_a_stream_is_its_last_event_and_the_model_goes_on(gateway: Gateway, tmp_path: Path) -> None:
    model = tmp_path / "faulty.null"
    model.write_text(json.dumps({**SCRIPT, "faults": {"2": "raise"}}))
    gateway.serve("faulty", model)
    body = {"inputs": [{"name": "x", "shape": [3, 4], "datatype": "FP32", "data": list(range(12))}]}
    _, content, _ = gateway.ask("POST", "/v2/models/faulty/infer_stream", body)
    events = [json.loads(line.removeprefix(b"data: ")) for line in content.strip().split(b"\n\n")]
    assert "the script raises here" in events[-1]["error"]
    assert len(events) == 3
    assert gateway.ask("POST", "/v2/models/faulty/infer", x())[0] == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "no JSON object"),
        (b"[" * 100_000, "not JSON"),
        ({}, "inputs is missing"),
        ({"inputs": [3]}, "an input is no JSON object"),
        ({"inputs": []}, "input 'x' is missing"),
        ({"inputs": [{"name": "z"}]}, "'z' is no input"),
        ({"inputs": x()["inputs"] * 2}, "given twice"),
        (x(datatype="INT8"), "takes FP32 and INT8 was given"),
        (x(datatype=["FP32"]), "takes FP32"),
        (x(shape=[1, 5]), "takes ?x4 and 1x5 was given"),
        (x(shape=[4]), "takes ?x4 and 4 was given"),
        (x(shape=[-1, 4]), "takes ?x4 and -1x4 was given"),
        (x(shape=[1e9, 4]), "takes ?x4"),
        (x(shape="1x4"), "shape of input 'x' is missing or no list"),
        (x([1, 2, 3]), "has 3 numbers and its shape 4"),
        (x([1, 2, [3], 4]), "no list of numbers"),
        (x(["a", "b", "c", "d"]), "not all FP32"),
        (x([1, 2, 3, None]), "not all FP32"),
        (x([True, False, True, True]), "not all FP32"),
        ({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32"}]}, "missing or no list"),
        (x(parameters={"binary_data_size": 16}), "has 16 bytes, not 16 with 0 there"),
        (x(parameters={"binary_data_size": -1}), "has 16 bytes, not -1"),
        (x(parameters=7), "no JSON object"),
        ({**x(), "outputs": [{"name": "q"}]}, "'q' is no output"),
        ({**x(), "outputs": [{}]}, "name of an output is missing"),
        ({**x(), "id": 7}, "id is not text"),
        ({**x(), "parameters": {"timeout": "soon"}}, "timeout is no number"),
        ({**x(), "parameters": {"timeout": -5}}, "timeout is no number"),
        (x(list(range(20)), shape=[5, 4]), "batch of at most 4"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(gateway: Gateway, body: Any, words: str) -> None:
    status, answer, _ = gateway.ask("POST", "/v2/models/m/infer", body)
    assert status == 400
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("data", "words"),
    [([1.5] * 192, "not all INT8"), ([128] + [0] * 191, "within INT8"), ([10**30] * 192, "not all INT8")],
    ids=["fraction", "too-large", "huge"],
)
def test_numbers_are_neither_rounded_nor_wrapped(gateway: Gateway, data: list[float], words: str) -> None:
    tensor = {"name": "image", "shape": [1, 8, 8, 3], "datatype": "INT8", "data": data}
    status, answer, _ = gateway.ask("POST", "/v2/models/conv_int8/infer", {"inputs": [tensor]})
    assert (status, words in answer["error"]) == (400, True)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Inference-Header-Content-Length": "x"}, "no whole number"),
        ({"Inference-Header-Content-Length": "99999"}, "the body has"),
        ({"Inference-Timeout-Ms": "0"}, "not between"),
        ({"Inference-Timeout-Ms": "-1"}, "no whole number"),
    ],
)
def test_a_wrong_header_is_refused_in_a_sentence(gateway: Gateway, headers: dict[str, str], words: str) -> None:
    status, answer, _ = gateway.ask("POST", "/v2/models/m/infer", x(), headers)
    assert (status, words in answer["error"]) == (400, True)


# --- deadlines and back-pressure


def test_a_deadline_that_passes_is_504(gateway: Gateway, slow: Callable[..., Served]) -> None:
    slow("late", 400)
    for body, headers in (({**x(), "parameters": {"timeout": 50_000}}, {}), (x(), {"Inference-Timeout-Ms": "50"})):
        assert gateway.ask("POST", "/v2/models/late/infer", body, headers)[0] == 504
    assert gateway.ask("POST", "/v2/models/late/infer", x())[0] == 200


def test_a_full_queue_is_429_with_a_time_to_come_back(gateway: Gateway, slow: Callable[..., Served]) -> None:
    slow("full", 300, queue=1)
    gateway.ask("POST", "/v2/models/full/infer", x())
    found: list[tuple[int, str | None]] = []

    def ask() -> None:
        status, _, headers = gateway.ask("POST", "/v2/models/full/infer", x())
        found.append((status, headers.get("retry-after")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {(200, None), (429, "1")}


# --- limits of HTTP


POST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\n"


def answered(end: socket.socket) -> bytes:
    content = b""
    with end:
        try:
            while chunk := end.recv(65536):
                content += chunk
        except ConnectionResetError:
            pass
    return content


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"400"),
        (b"GET /v2\r\n\r\n", b"400"),
        (b"GET /v2 HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (POST + b"Content-Length: 9999999999\r\n\r\n", b"413"),
        (POST + b"Content-Length: -1\r\n\r\n", b"400"),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", b"501"),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n1", b"415"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (
            POST + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"10000\r\n" + b"a" * 65536 + b"\r\n" + 17 * (b"10000\r\n" + b"a" * 65536 + b"\r\n"),
            b"413",
        ),
    ],
    ids=[
        "tls", "no-version", "no-host", "large-head", "large-body", "negative", "two-lengths", "encoding", "compressed",
        "bad-chunk", "many-chunks",
    ],
)  # fmt: skip
def test_what_is_no_request_of_ours_is_answered_and_ended(gateway: Gateway, sent: bytes, status: bytes) -> None:
    assert answered(gateway.raw(sent)).split(b" ")[1] == status


def test_requests_share_a_connection_also_in_one_write(gateway: Gateway) -> None:
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert answered(gateway.raw(one + one + last)).count(b"HTTP/1.1 200 OK") == 3


def test_a_body_is_asked_for_before_it_is_sent(gateway: Gateway) -> None:
    body = json.dumps(x()).encode()
    with gateway.raw(POST + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)) as end:
        assert end.recv(65536).startswith(b"HTTP/1.1 100")
        end.sendall(body)
        assert end.recv(65536).startswith(b"HTTP/1.1 200")


def test_chunked_bodies_are_taken(gateway: Gateway) -> None:
    body = json.dumps(x()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:])) + b"0\r\n\r\n"
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"200 OK" in answered(gateway.raw(head + chunks))


@pytest.mark.parametrize(
    "sent",
    [b"GET /v2 HT", POST + b"Content-Length: 100\r\n\r\n{"],
    ids=["head", "body"],
)
def test_a_slow_request_is_ended(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(gateway_http, "HEAD_S", 0.5)
    begin = time.monotonic()
    end = gateway.raw(sent)
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.1):
            try:
                end.sendall(b"a")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    content = answered(end)
    stop.set()
    thread.join()
    assert b" 408 " in content
    assert time.monotonic() - begin < 30


def test_idle_connections_are_ended_without_a_word(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_http, "IDLE_S", 0.2)
    assert answered(gateway.raw()) == b""


def test_connections_above_the_limit_are_turned_away_and_the_rest_served(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_server, "MAX_CONNECTIONS", 3)
    other = Gateway(gateway.folder)
    ends = [other.raw() for _ in range(3)]
    time.sleep(0.2)
    assert b" 503 " in answered(other.raw())
    ends[0].sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ends[0].recv(4096).startswith(b"HTTP/1.1 200")
    for end in ends:
        end.close()
    other.close()


@settings(max_examples=150, deadline=None)
@given(sent=st.binary(max_size=400))
def test_garbage_never_ends_the_gateway(gateway: Gateway, sent: bytes) -> None:
    with gateway.raw(sent) as end:
        end.shutdown(socket.SHUT_WR)
        answered(end)
    assert gateway.ask("GET", "/v2/health/live")[0] == 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "shape", "data", "inputs"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(["id", "inputs", "outputs", "parameters"]), _JSON).map(
        lambda d: json.dumps(d).encode()
    ),
    length=st.none() | st.integers(0, 300),
)
def test_any_body_is_read_or_refused(body: bytes, length: int | None) -> None:
    specs = (TensorSpec(name="x", shape=(-1, 4), dtype="float32"), TensorSpec(name="n", shape=(1,), dtype="int8"))
    for inputs in (specs, specs[:1], specs[1:]):
        with contextlib.suppress(HttpError):
            parse(memoryview(body), length, inputs)


@pytest.mark.parametrize("kind", ["float32", "float16", "float64", "int8", "uint8", "int64", "uint64", "bool"])
def test_numbers_come_back_as_they_went(kind: str) -> None:
    values = np.array([0, 1, 1, 0] if kind == "bool" else [0, 1, 100, 3]).astype(kind).reshape(2, 2)
    spec = TensorSpec(name="x", shape=(2, 2), dtype=kind)
    asked = parse(memoryview(b'{"inputs": []}'), None, ())
    length, (head,) = render(asked, {"x": values}, "m", "1")
    assert length is None
    told = json.loads(head)["outputs"]
    again = parse(memoryview(json.dumps({"inputs": told}).encode()), None, (spec,)).inputs["x"]
    assert again.dtype == kind
    np.testing.assert_array_equal(again, values)


def test_what_json_cannot_carry_is_said_and_goes_as_bytes() -> None:
    values = np.array([[np.nan, np.inf]], np.float32)
    with pytest.raises(HttpError, match="binary_data"):
        render(parse(memoryview(b'{"inputs": []}'), None, ()), {"y": values}, "m", "1")
    asked = parse(memoryview(b'{"inputs": [], "parameters": {"binary_data_output": true}}'), None, ())
    assert render(asked, {"y": values}, "m", "1")[1][1] == values.tobytes()


# --- who may ask


@pytest.mark.parametrize(
    ("authority", "here"),
    [
        ("localhost", True), ("LOCALHOST.:8000", True), ("127.0.0.1:8000", True), ("127.9.9.9", True),
        ("[::1]:8000", True),
        ("example.com", False), ("example.com:8000", False), ("localhost.example.com", False), ("10.0.0.1", False),
        ("127.0.0.1.example.com", False), ("[::2]", False), ("", False), ("a b", False), ("localhost:x", False),
    ],
)  # fmt: skip
def test_only_names_of_loopback_are_here(authority: str, here: bool) -> None:
    assert is_here(authority) is here


@pytest.mark.parametrize(
    "headers", [{"Host": "attacker.example"}, {"Origin": "http://attacker.example"}, {"Origin": "null"}]
)
def test_pages_of_other_sites_may_not_ask(gateway: Gateway, headers: dict[str, str]) -> None:
    assert gateway.ask("GET", "/v2/models/m", headers=headers)[0] == 403
    assert gateway.ask("GET", "/v2/models/m", headers={"Origin": "http://localhost:3000"})[0] == 200
