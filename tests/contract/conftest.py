"""A runtime of another interpreter, as if it were here: the device's environment holds what the host's cannot."""

import base64
import json
import os
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent import errors
from edgekit_agent.runtimes.base import PLAIN, Array, Availability, LoadOptions, TensorSpec

_CHILD = textwrap.dedent(
    """
    import base64, dataclasses, json, sys
    import numpy as np
    from pathlib import Path
    from edgekit_agent import runtimes
    from edgekit_agent.errors import AgentError
    from edgekit_agent.runtimes.base import LoadOptions
    answers, sessions = sys.stdout, []
    runtime = runtimes.get(sys.argv[1])
    def there(array):
        return [array.dtype.str, array.shape, base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()]
    def here(kind, shape, data):
        return np.frombuffer(base64.b64decode(data), dtype=kind).reshape(shape)
    def do(request):
        if request["do"] == "available":
            return dataclasses.asdict(runtime.available())
        if request["do"] == "load":
            session = runtime.load(Path(request["model"]), LoadOptions(**request["options"]))
            sessions.append(session)
            specs = {name: [dataclasses.asdict(s) for s in getattr(session, name)] for name in ("inputs", "outputs")}
            return {**specs, "runtime": session.runtime, "executed_on": session.executed_on,
                    "operators": session.operators, "id": len(sessions) - 1}
        if request["do"] == "close":
            return sessions[request["id"]].close()
        return [there(o) for o in sessions[request["id"]].invoke([here(*a) for a in request["arrays"]])]
    for line in sys.stdin:
        try:
            answer = {"ok": do(json.loads(line))}
        except AgentError as exc:
            answer = {"error": type(exc).__name__, "message": str(exc), "notes": getattr(exc, "__notes__", [])}
        print(json.dumps(answer), file=answers, flush=True)
    """
)


class RemoteRuntime:
    """A `Runtime` in a child process."""

    def __init__(self, python: str, name: str, repository: Path) -> None:
        """Start the interpreter."""
        environment = {**os.environ, "PYTHONPATH": str(repository / "agent")}
        self.name, self.formats = name, ("tflite",)
        self.process = subprocess.Popen(
            [python, "-c", _CHILD, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            error = getattr(errors, answer["error"])(answer["message"])
            for note in answer["notes"]:
                error.add_note(note)
            raise error
        return answer["ok"]

    def available(self) -> Availability:
        return Availability(**self.ask(do="available"))

    def load(self, model: Path, options: LoadOptions = PLAIN) -> "RemoteSession":
        told = {"threads": options.threads, "device": options.device, "batch": options.batch}
        return RemoteSession(self, self.ask(do="load", model=str(model), options=told))

    def end(self) -> None:
        self.process.communicate(timeout=30)


class RemoteSession:
    """A `Session` in the child process."""

    def __init__(self, runtime: RemoteRuntime, told: dict[str, Any]) -> None:
        """Take what the child told of it."""
        self._runtime, self._id = runtime, told["id"]
        self.inputs, self.outputs = (tuple(_spec(one) for one in told[name]) for name in ("inputs", "outputs"))
        self.runtime, self.executed_on = told["runtime"], tuple(told["executed_on"])
        self.operators: dict[str, int] = told["operators"]

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        coded = [[one.dtype.str, one.shape, base64.b64encode(one.tobytes()).decode()] for one in arrays]
        answers = self._runtime.ask(do="invoke", id=self._id, arrays=coded)
        return [np.frombuffer(base64.b64decode(data), dtype=kind).reshape(shape) for kind, shape, data in answers]

    def close(self) -> None:
        self._runtime.ask(do="close", id=self._id)


def _spec(one: dict[str, Any]) -> TensorSpec:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in one.items()}
    return TensorSpec(**values)


@pytest.fixture(scope="session")
def device_tflite(repository: Path) -> Iterator[RemoteRuntime]:
    """tflite-runtime of the device's environment."""
    python = os.environ.get("EDGEKIT_DEVICE_PYTHON")
    if not python:
        pytest.skip("needs the device's environment: set EDGEKIT_DEVICE_PYTHON (make setup)")
    runtime = RemoteRuntime(python, "tflite-runtime", repository)
    yield runtime
    runtime.end()
