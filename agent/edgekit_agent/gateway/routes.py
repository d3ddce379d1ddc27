"""The paths of the Open Inference Protocol (v2) and what each does."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from edgekit_agent import __version__
from edgekit_agent.client import Client, ModelChanged, Pending
from edgekit_agent.gateway.errors import MAPPED, TOLD, HttpError, of
from edgekit_agent.gateway.http import HttpConnection, HttpRequest
from edgekit_agent.gateway.models import Models
from edgekit_agent.gateway.tensors import MAX_TIMEOUT_S, NAMES, Asked, parse, render
from edgekit_agent.runtimes.base import Array, TensorSpec
from edgekit_agent.serve.wire import Hello

TIMEOUT_S = 30.0
PATIENCE_S = 10.0
EXTENSIONS = ("binary_tensor_data", "infer_stream")
JSON_LENGTH, TIMEOUT = "inference-header-content-length", "inference-timeout-ms"
_JSON = [("Content-Type", "application/json")]
_MODEL = r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"


class Routes:
    """Answers requests; used by many threads at a time."""

    def __init__(self, models: Models) -> None:
        """Take the models."""
        self._models = models
        self._table: tuple[tuple[str, re.Pattern[str], Callable[..., None]], ...] = (
            ("GET", re.compile(r"/v2/?"), self._server),
            ("GET", re.compile(r"/v2/health/live"), self._live),
            ("GET", re.compile(r"/v2/health/ready"), self._ready),
            ("GET", re.compile(_MODEL), self._metadata),
            ("GET", re.compile(f"{_MODEL}/ready"), self._model_ready),
            ("POST", re.compile(f"{_MODEL}/infer"), self._infer),
            ("POST", re.compile(f"{_MODEL}/infer_stream"), self._stream),
        )

    def answer(self, request: HttpRequest, to: HttpConnection) -> None:
        """Answer a request.

        Raises:
            HttpError: what to answer instead, where no answer has begun.
            Gone: if the other side has gone.
        """
        path = request.target.partition("?")[0]
        allowed = []
        for method, pattern, handler in self._table:
            found = pattern.fullmatch(path)
            if found and request.method in {method, "HEAD" if method == "GET" else method}:
                named = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
                try:
                    handler(request, to, **named)
                except MAPPED as exc:
                    raise of(exc) from exc
                return
            if found:
                allowed.append(method)
        if allowed:
            raise HttpError(405, f"{path[:100]} takes {allowed[0]}", [("Allow", allowed[0])])
        raise HttpError(404, f"there is nothing at {path[:100]}")

    # --- what is here

    def _server(self, _request: HttpRequest, to: HttpConnection) -> None:
        _tell(to, {"name": "edgekit-agent", "version": __version__, "extensions": EXTENSIONS})

    def _live(self, _request: HttpRequest, to: HttpConnection) -> None:
        _tell(to, {"live": True})

    def _ready(self, _request: HttpRequest, to: HttpConnection) -> None:
        ready = all(self._models.ready(name) for name in self._models.names())
        _tell(to, {"live": True, "ready": ready}, 200 if ready else 503)

    def _model_ready(self, _request: HttpRequest, to: HttpConnection, model: str, version: str | None = None) -> None:
        ready = self._models.ready(model)
        if ready:
            _check(self._models.hello(model), version)
        _tell(to, {"name": model, "ready": ready}, 200 if ready else 503)

    def _metadata(self, _request: HttpRequest, to: HttpConnection, model: str, version: str | None = None) -> None:
        hello = self._models.hello(model)
        _check(hello, version)
        _tell(
            to,
            {
                "name": model,
                "versions": [hello.version],
                "platform": hello.runtime.partition(" ")[0],
                "inputs": [_described(spec) for spec in hello.inputs],
                "outputs": [_described(spec) for spec in hello.outputs],
            },
        )

    # --- inference

    def _infer(self, request: HttpRequest, to: HttpConnection, model: str, version: str | None = None) -> None:
        for attempt in (1, 2):
            with self._models.client(model, PATIENCE_S) as client:
                _check(client.hello, version)
                asked = _asked(request, client)
                try:
                    answer = _put(client, asked.inputs).submit(deadline_s=asked.timeout_s).result()
                except ModelChanged:  # the client knows the new inputs now, and the request may fit them
                    if attempt == 2:  # noqa: PLR2004  # the last
                        raise
                    continue
                _check(client.hello, version)
                length, pieces = render(asked, answer, model, client.hello.version)
            headers = _JSON if length is None else _binary(length)
            to.answer(200, pieces, headers)
            return

    def _stream(self, request: HttpRequest, to: HttpConnection, model: str, version: str | None = None) -> None:
        """Answer each sample of the inputs with an event of its own, as soon as it is there."""
        with self._models.client(model, PATIENCE_S) as client:
            _check(client.hello, version)
            specs = [replace(spec, shape=(-1, *spec.shape[1:])) for spec in client.hello.inputs if spec.shape]
            if len(specs) != len(client.hello.inputs):
                raise HttpError(400, f"model '{model}' takes a number without dimensions: it has no samples to stream")
            asked = replace(_asked(request, client, specs), binary=False)
            if any(asked.outputs.values()):
                raise HttpError(400, "a stream of events carries no binary data")
            results = _results(client, asked)
            first = next(results)  # what is wrong with the first is told by the status
            to.begin("text/event-stream")
            try:
                for number, answer in enumerate(_again(first, results)):
                    _, pieces = render(asked, answer, model, client.hello.version, {"sample": number})
                    to.piece(b"data: " + pieces[0] + b"\n\n")
            except TOLD as exc:
                to.piece(b"data: " + json.dumps({"error": str(exc)}).encode() + b"\n\n")
                client.forget()
            to.finish()


def _results(client: Client, asked: Asked) -> Iterator[dict[str, Array]]:
    """Ask for one run after the other, with several on their way, and yield their answers in order."""
    inputs = list(asked.inputs.values())
    step = max(1, client.hello.inputs[0].shape[0])
    count, over = divmod(len(inputs[0]), step)
    if over or not count or any(len(one) != len(inputs[0]) for one in inputs):
        raise HttpError(400, f"the inputs do not have the same number of samples, a multiple of {step}")
    waiting: deque[Pending] = deque()
    for number in range(count):
        part = {name: one[number * step : (number + 1) * step] for name, one in asked.inputs.items()}
        waiting.append(_put(client, part).submit(deadline_s=asked.timeout_s))
        if waiting[0].done or len(waiting) == client.depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _again(first: dict[str, Array], rest: Iterator[dict[str, Array]]) -> Iterator[dict[str, Array]]:
    yield first
    yield from rest


def _put(client: Client, inputs: Any) -> Client:  # noqa: ANN401  # arrays by name
    """Write arrays into the memory that the worker reads."""
    places = client.shape(**{name: array.shape for name, array in inputs.items()})
    for name, array in inputs.items():
        places[name][...] = array
    return client


def _asked(request: HttpRequest, client: Client, specs: list[TensorSpec] | None = None) -> Asked:
    asked = parse(request.body, _number(request, JSON_LENGTH), specs or client.hello.inputs)
    milliseconds = _number(request, TIMEOUT)
    if milliseconds is not None and not 0 < milliseconds <= 1000 * MAX_TIMEOUT_S:
        raise HttpError(400, "Inference-Timeout-Ms is not between 1 and an hour")
    limits = [limit for limit in (asked.timeout_s, milliseconds and milliseconds / 1000) if limit]
    return replace(asked, timeout_s=min(limits, default=TIMEOUT_S))


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):  # noqa: PLR2004  # more than any length or time
        raise HttpError(400, f"header {name} is no whole number")
    return int(text)


def _check(hello: Hello, version: str | None) -> None:
    if version is not None and version != hello.version:
        raise HttpError(404, f"model '{hello.model}' has version {hello.version} and not {version[:80]}")


def _described(spec: TensorSpec) -> dict[str, object]:
    described: dict[str, object] = {"name": spec.name, "datatype": NAMES[spec.dtype], "shape": list(spec.shape)}
    if spec.scale:
        quantization = {"scale": list(spec.scale), "zero_point": list(spec.zero_point), "axis": spec.axis}
        described["parameters"] = {"quantization": quantization}
    return described


def _binary(length: int) -> list[tuple[str, str]]:
    return [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(length))]


def _tell(to: HttpConnection, document: dict[str, object], status: int = 200) -> None:
    to.answer(status, [json.dumps(document).encode()], _JSON)
