"""The process that runs one model: `python -P -m edgekit_agent.worker FD SUPERVISOR_PID`.

FD is its end of a SEQPACKET socket to the supervisor. It gets its orders as the first message, answers
`ready` (or `refused`), then sends what it has measured at least every second. When the supervisor is
gone, it ends.
"""

import contextlib
import hashlib
import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edgekit_agent import runtimes
from edgekit_agent.config import ModelConfig
from edgekit_agent.errors import AgentError, ConfigError, InputDataError, RuntimeMissingError
from edgekit_agent.orders import config_of
from edgekit_agent.protocol import Reason

if TYPE_CHECKING:
    from edgekit_agent.loop import Loop

REFUSED = 3
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take the orders, load the model, run it until the supervisor or the source ends."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _die_with(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the supervisor decides
    config = config_of(control.recv(1 << 20))
    _limit(config)
    try:
        loop = _loaded(control, config)
    except (AgentError, MemoryError) as exc:
        _refuse(control, exc)
    except ImportError as exc:  # NumPy comes with a runtime; a runtime may lack a library of the system
        error = RuntimeMissingError(f"a library cannot be imported: {exc}")
        error.add_note("install a runtime: pip install 'edgekit-agent[tflite]' or 'edgekit-agent[openvino]'")
        _refuse(control, error)
    loop.run()


def _loaded(control: socket.socket, config: ModelConfig) -> "Loop":
    """Load the model, open its source, and say that both are ready."""
    start = time.perf_counter()
    model = Path(config.path)
    session = runtimes.choose(model, config.runtime).load(model, threads=config.threads, device=config.device)
    load_ms = 1000 * (time.perf_counter() - start)
    # NumPy only from here: without a runtime it need not be here, and that is to be told in words
    from edgekit_agent.loop import Loop
    from edgekit_agent.sources import open_source

    source = open_source(config.source, session.inputs, config.preprocess, config.labels)
    ready = {
        "type": "ready",
        "runtime": session.runtime,
        "executed_on": session.executed_on,
        "artifact": _digest(model),
        "load_ms": round(load_ms, 3),
    }
    control.send(json.dumps(ready).encode())
    return Loop(control, session, source, config.rate_hz)


def _refuse(control: socket.socket, exc: BaseException) -> NoReturn:
    refusal = {
        "type": "refused",
        "code": _code(exc),
        "text": str(exc) or type(exc).__name__,
        "hints": getattr(exc, "__notes__", []),
    }
    control.send(json.dumps(refusal).encode())
    sys.exit(REFUSED)


def _code(exc: BaseException) -> Reason:
    kinds: dict[type[BaseException], Reason] = {
        RuntimeMissingError: Reason.RUNTIME_MISSING,
        InputDataError: Reason.SOURCE_FAILED,
        ConfigError: Reason.SOURCE_FAILED,
    }
    return kinds.get(type(exc), Reason.MODEL_LOAD_FAILED)


def _digest(model: Path) -> str:
    """Return the artifact's digest; an IR's covers the `.xml` and then the `.bin`."""
    digest = hashlib.sha256(model.read_bytes())
    if model.suffix == ".xml":
        digest.update(model.with_suffix(".bin").read_bytes())
    return f"sha256:{digest.hexdigest()}"


def _die_with(supervisor: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        sys.exit(0)  # it was gone before we asked


def _limit(config: ModelConfig) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if config.limits.memory_mb:
        size = config.limits.memory_mb << 20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


if __name__ == "__main__":
    main()
