"""One stage of a pipeline in a process of its own: `python -P -m edgekit_agent.stage IN OUT SAYS`.

IN, OUT and SAYS are descriptors of sockets. The first line of SAYS is what to do (JSON): `{"path", "runtime", "device",
"threads", "batch", "takes", "gives", "keeps"}`, the last three names of arrays; the answer is `{"ready": {"runtime",
"executed_on", "inputs", "outputs"}}` or `{"error": {"kind", "message"}}`. Then every message from IN is run, and of
what it held and what the stage gives, that goes on to OUT which is taken further behind (`keeps`). It ends when IN
ends: also when whoever started it is gone.
"""

import json
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit_agent import pipes, runtimes
from edgekit_agent.errors import AgentError, ModelError
from edgekit_agent.runtimes.base import LoadOptions, Session


def main() -> int:
    """Serve until there is nothing more to do; return the exit code."""
    coming, going, says = (socket.socket(fileno=int(one)) for one in sys.argv[1:4])
    with coming, going, says:
        asked = json.loads(says.makefile("rb").readline(pipes.MAX_HEAD_BYTES))
        try:
            session = _load(asked)
            says.sendall(json.dumps({"ready": _described(session)}).encode() + b"\n")
            return _serve(session, asked, pipes.Reader(coming), going)
        except AgentError as exc:
            says.sendall(json.dumps({"error": {"kind": type(exc).__name__, "message": str(exc)}}).encode() + b"\n")
            return 1


def _load(asked: dict[str, Any]) -> Session:
    path = Path(asked["path"])
    runtime = runtimes.choose(path, asked["runtime"])
    options = LoadOptions(threads=asked["threads"], device=asked["device"], batch=asked["batch"])
    session = runtime.load(path, options)
    for side, ports in (("takes", session.inputs), ("gives", session.outputs)):
        if sorted(asked[side]) != sorted(one.name for one in ports):
            found = ", ".join(one.name for one in ports)
            raise ModelError(f"stage '{path.name}' {side} {found}, where the pipeline says {', '.join(asked[side])}")
    return session


def _serve(session: Session, asked: dict[str, Any], reader: pipes.Reader, going: socket.socket) -> int:
    while (arrays := reader.receive()) is not None:
        outputs = session.invoke([arrays[one.name] for one in session.inputs])
        made = dict(zip((one.name for one in session.outputs), outputs, strict=True))
        try:
            pipes.send(going, {name: made[name] if name in made else arrays[name] for name in asked["keeps"]})
        except OSError:  # whoever takes it has ended; its end is told by the one that started us
            return 0
    return 0


def _described(session: Session) -> dict[str, Any]:
    return {
        "runtime": session.runtime,
        "executed_on": list(session.executed_on),
        "inputs": [asdict(one) for one in session.inputs],
        "outputs": [asdict(one) for one in session.outputs],
    }


if __name__ == "__main__":
    sys.exit(main())
