"""The process that runs one model: `python -P -m edgekit_agent.worker FD SUPERVISOR_PID [LISTENER]`.

FD is its end of a SEQPACKET socket to the supervisor, LISTENER the listening socket of its model where applications
ask it. It gets its orders as the first message, answers `ready` (or `refused`), then sends what it has measured at
least every second. When the supervisor is gone, it ends.
"""

import json
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgekit_agent import limits, loading
from edgekit_agent.bundle import read_folder
from edgekit_agent.bundle.acceptance import AcceptanceError, accept
from edgekit_agent.bundled import with_runtime
from edgekit_agent.config import BrokerConfig, ModelConfig
from edgekit_agent.errors import (
    AgentError,
    BundleError,
    BundleUnfitError,
    ConfigError,
    InputDataError,
    LimitsError,
    RuntimeMissingError,
)
from edgekit_agent.loading import Plan
from edgekit_agent.orders import broker_of, config_of, proving
from edgekit_agent.parent import die_with
from edgekit_agent.protocol import Reason
from edgekit_agent.runtimes.base import Session

if TYPE_CHECKING:
    from edgekit_agent.loop import Loop

REFUSED = 3


def main() -> None:
    """Take the orders, load the model, run it until the supervisor or the source ends."""
    control = socket.socket(fileno=int(sys.argv[1]))
    supervisor = int(sys.argv[2])
    die_with(supervisor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the supervisor decides
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # there is nothing to share yet
    orders = control.recv(1 << 20)
    config = config_of(orders)
    try:
        limited = limits.apply(config.limits)
        die_with(supervisor)  # again: who becomes another user has lost it
        loop = _loaded(control, with_runtime(config), broker_of(orders), limited, prove=proving(orders))
    except (AgentError, MemoryError) as exc:
        _refuse(control, exc)
    except ImportError as exc:  # NumPy comes with a runtime; a runtime may lack a library of the system
        error = RuntimeMissingError(f"a library cannot be imported: {exc}")
        error.add_note("install a runtime: pip install 'edgekit-agent[tflite]' or 'edgekit-agent[openvino]'")
        _refuse(control, error)
    loop.run()


def _loaded(
    control: socket.socket, config: ModelConfig, broker: BrokerConfig | None, limited: dict[str, object], *, prove: bool
) -> "Loop":
    """Load the model, prove it if that is asked for, open its source, and say that all is ready."""
    plan = loading.plan(config)
    start = time.perf_counter()
    session = _session(plan, config)
    load_ms = 1000 * (time.perf_counter() - start)
    of_bundle = _of_bundle(session, Path(config.bundle), prove=prove) if config.bundle else {}
    # NumPy only from here: without a runtime it need not be here, and that is to be told in words
    from edgekit_agent.flow import open_flow

    loop = open_flow(control, session, config, broker, _listener())
    ready = {
        "type": "ready",
        **plan.told(session),
        "limits": limited,
        "load_ms": round(load_ms, 3),
        **of_bundle,
    }
    control.send(json.dumps(ready).encode())
    return loop


def _of_bundle(session: Session, folder: Path, *, prove: bool) -> dict[str, Any]:
    """Return what the supervisor is told of a bundle: what drift is seen against, and the proof that was asked for."""
    proof = {"proof": accept(session, folder).to_json()} if prove else {}
    baseline = read_folder(folder).baseline
    return {**proof, "baseline": None if baseline is None else baseline.to_json()}


def _session(plan: Plan, config: ModelConfig) -> Session:
    if config.serve.max_batch == 1:
        return plan.load()
    from edgekit_agent.serve.batching import BatchSession

    return BatchSession(plan.load, config.serve.max_batch)


def _listener() -> socket.socket | None:
    """Return the socket on which applications ask the model, if they may."""
    return socket.socket(fileno=int(sys.argv[3])) if len(sys.argv) > 3 else None  # noqa: PLR2004  # the third word


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
    if isinstance(exc, AcceptanceError):
        return exc.reason
    kinds: dict[type[BaseException], Reason] = {  # an error is of the first kind that it is one of
        RuntimeMissingError: Reason.RUNTIME_MISSING,
        BundleUnfitError: Reason.BUNDLE_UNFIT,
        BundleError: Reason.BUNDLE_INVALID,
        InputDataError: Reason.SOURCE_FAILED,
        ConfigError: Reason.SOURCE_FAILED,
        LimitsError: Reason.LIMITS_NOT_SET,
        MemoryError: Reason.WORKER_OUT_OF_MEMORY,
    }
    found = (reason for kind, reason in kinds.items() if isinstance(exc, kind))
    return next(found, Reason.MODEL_LOAD_FAILED)


if __name__ == "__main__":
    main()
