"""One worker process as the supervisor sees it: its control socket, its last words, its end."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections import deque
from typing import Any

from edgekit_agent.config import ModelConfig

LAST_LINES = 20
MAX_LINE = 500
MAX_MESSAGE = 1 << 20
END_TIMEOUT_S = 2.0
WORKER = "edgekit_agent.worker"
FAULTHANDLER = ("-X", "faulthandler")  # a crash in a native library leaves the Python stack on stderr


class WorkerProcess:
    """A running worker; `control` and `stderr` are the descriptors to select on."""

    def __init__(self, config: ModelConfig, orders: bytes) -> None:
        """Start it and give it its orders.

        Raises:
            OSError: if no process can be started.
        """
        self.config = config
        self.hung = False
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._rest = b""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", *FAULTHANDLER, "-m", WORKER, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        self.control = ours
        self.control.setblocking(False)  # noqa: FBT003  # the standard library's own
        assert self.process.stderr is not None  # noqa: S101  # asked for above
        self.stderr = self.process.stderr
        os.set_blocking(self.stderr.fileno(), False)
        self.control.send(orders)

    def messages(self) -> tuple[list[dict[str, Any]], bool]:
        """Return what the worker has sent, and whether its end of the socket is closed."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                packet = self.control.recv(MAX_MESSAGE)
            except BlockingIOError:
                return found, False
            except OSError:
                return found, True
            if not packet:
                return found, True
            found.append(json.loads(packet))

    def read_stderr(self) -> bool:
        """Keep the last lines; return whether the pipe is closed."""
        try:
            chunk = os.read(self.stderr.fileno(), 65536)
        except BlockingIOError:
            return False
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()[-MAX_LINE:]
        self._keep(lines)
        return not chunk

    def _keep(self, lines: list[bytes]) -> None:
        self.last_lines.extend(line[:MAX_LINE].decode(errors="replace") for line in lines if line.strip())

    def kill(self) -> None:
        """End it at once, because it hangs."""
        self.hung = True
        self.process.kill()

    def reap(self) -> dict[str, object]:
        """Wait for its end and return how it ended: signal or code, last lines, resources used by ended workers.

        One that has closed its socket and does not end by itself is killed: the supervisor must not wait for it.
        """
        try:
            code = self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        with contextlib.suppress(OSError, ValueError):
            self.read_stderr()
        self._keep([self._rest])
        self._rest = b""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        end: dict[str, object] = {"signal": _signal_name(-code)} if code < 0 else {"exit_code": code}
        return {**end, "stderr": list(self.last_lines), "max_rss_kb": used.ru_maxrss}

    def close(self) -> None:
        """Close the descriptors."""
        self.control.close()
        self.stderr.close()

    def ask_to_stop(self) -> None:
        """Ask it to send what it has measured and end; one that is stopped (SIGSTOP) is let go on."""
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)

    def stop(self, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """End it because the agent stops, and return what it still had to say."""
        self.ask_to_stop()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        messages, _ = self.messages()
        self.close()
        return messages


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
