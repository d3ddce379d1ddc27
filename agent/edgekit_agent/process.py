"""One worker process as the supervisor sees it: its control socket, its last words, its end."""

import contextlib
import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from typing import Any

from edgekit_agent.actions import WorkerId
from edgekit_agent.cgroups import Enclosure, system_killed
from edgekit_agent.config import LimitsConfig

LAST_LINES = 20
MAX_LINE = 500
MAX_MESSAGE = 1 << 20
DRAIN = b'{"type": "drain"}'
END_TIMEOUT_S = 2.0
WORKER = "edgekit_agent.worker"
OUT_OF_MEMORY = ("MemoryError", "bad_alloc")
NO_LIMITS, NO_GROUPS = LimitsConfig(), Enclosure()
FAULTHANDLER = ("-X", "faulthandler")  # a crash in a native library leaves the Python stack on stderr


class WorkerProcess:
    """A running worker; `control` and `stderr` are the descriptors to select on."""

    def __init__(
        self,
        worker: WorkerId,
        orders: bytes,
        limits: LimitsConfig = NO_LIMITS,
        enclosure: Enclosure = NO_GROUPS,
        *,
        listener: int | None = None,
    ) -> None:
        """Start it, put it into its group, and give it its orders.

        `listener` is the listening socket of its model, where that serves applications.

        Raises:
            OSError: if no process can be started.
        """
        self.id = worker
        self.hung = False
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._rest = b""
        self._used: resource.struct_rusage | None = None
        self._group = enclosure.group(str(worker), limits)
        self._killed_before = system_killed()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed = [] if listener is None else [listener]
        arguments = [str(theirs.fileno()), str(os.getpid()), *map(str, passed)]
        prefix = enclosure.prefix(str(worker), limits)
        with theirs:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-P", *FAULTHANDLER, "-m", WORKER, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno(), *passed],
            )
        self.control = ours
        self.control.setblocking(False)  # noqa: FBT003  # the standard library's own
        assert self.process.stderr is not None  # noqa: S101  # asked for above
        self.stderr = self.process.stderr
        os.set_blocking(self.stderr.fileno(), False)
        if self._group is not None:
            with contextlib.suppress(OSError):  # it has ended already; or it tells that the limits are missing
                self._group.add(self.process.pid)
        self.control.send(orders)

    def messages(self) -> tuple[list[dict[str, Any]], bool]:
        """Return what the worker has sent, and whether its end of the socket is closed."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                packet = self.control.recv(MAX_MESSAGE)
            except BlockingIOError:
                return found, False
            except ConnectionResetError:
                continue  # it ended without reading what we said last: what it said is still here
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
        self._send_signal(signal.SIGKILL)

    def reap(self) -> dict[str, object]:
        """Wait for its end and return how it ended: signal or code, last lines, what it has used.

        One that has closed its socket and does not end by itself is killed: the supervisor must not wait for it.
        """
        used = self._end(END_TIMEOUT_S)
        code = self.process.returncode
        with contextlib.suppress(OSError, ValueError):
            self.read_stderr()
        self._keep([self._rest])
        self._rest = b""
        end: dict[str, object] = {"signal": _signal_name(-code)} if code < 0 else {"exit_code": code}
        if code and self._out_of_memory(code):
            end["out_of_memory"] = True
        times = {"user_s": round(used.ru_utime, 3), "system_s": round(used.ru_stime, 3)}
        return {**end, "stderr": list(self.last_lines), "max_rss_kb": used.ru_maxrss, **times}

    def _out_of_memory(self, code: int) -> bool:
        """Say whether it ended for want of memory: by the kernel's hand, or by its own words."""
        if code == -signal.SIGKILL and not self.hung:
            in_group = self._group is not None and self._group.killed > 0
            return in_group or system_killed() > self._killed_before
        return any(word in line for line in self.last_lines for word in OUT_OF_MEMORY)

    def _end(self, timeout_s: float) -> resource.struct_rusage:
        """Wait for its end, by killing it when the time is over, and return what it has used.

        Not by `Popen.wait`, which throws that away; the total of all children tells nothing of one.
        """
        end, pause = time.monotonic() + timeout_s, 0.001
        while self._used is None:
            pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode, self._used = os.waitstatus_to_exitcode(status), used
            elif time.monotonic() > end:
                self._send_signal(signal.SIGKILL)
                end = math.inf
            else:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
        return self._used

    def _send_signal(self, number: int) -> None:
        """Send a signal; `Popen`'s own way would look for its end first, and take what it has used."""
        if self._used is None:
            os.kill(self.process.pid, number)

    def close(self) -> None:
        """Close the descriptors and take its group away."""
        self.control.close()
        self.stderr.close()
        if self._group is not None:
            self._group.remove()

    def ask_to_stop(self) -> None:
        """Ask it to finish what it has, send what it has measured and end; one that is stopped (SIGSTOP) goes on.

        The message tells it why the signal wakes it.
        """
        with contextlib.suppress(OSError):  # it may be gone, or not read
            self.control.send(DRAIN)
        self._send_signal(signal.SIGTERM)
        self._send_signal(signal.SIGCONT)

    def share(self) -> None:
        """Ask it to leave some of its applications to others."""
        self._send_signal(signal.SIGUSR1)

    def stop(self, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """End it because the agent stops, and return what it still had to say."""
        self.ask_to_stop()
        self._end(timeout_s)
        messages, _ = self.messages()
        self.close()
        return messages


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
