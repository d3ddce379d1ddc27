"""The gateway's process as the supervisor sees it: started, and started again when it ends. Standard library only."""

import os
import select
import subprocess
import sys
from pathlib import Path

from edgekit_agent.config import GatewayConfig

MODULE = "edgekit_agent.gateway"
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
STEADY_S = 60.0
END_TIMEOUT_S = 2.0
_LAST_BYTES = 2000


class GatewayKeeper:
    """Keeps a gateway running where one is configured; `fileno` is readable when `tick` has something to do."""

    def __init__(self, config: GatewayConfig, folder: Path) -> None:
        """Take where it listens and the folder of the models' sockets; nothing is started yet."""
        self._config, self._folder = config, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._epoll = select.epoll()
        self._words = b""
        self._began_s = 0.0
        self._failures = 0
        self._start_at = 0.0 if config.http is not None else None

    def fileno(self) -> int:
        """Return a descriptor to select on."""
        return self._epoll.fileno()

    def next_time(self) -> float | None:
        """Return when it is to be started, on the steady clock."""
        return self._start_at

    def tick(self, now_s: float) -> dict[str, object] | None:
        """Start it if it is time; return how it ended when it has."""
        if self._start_at is not None and now_s >= self._start_at:
            self._start(now_s)
        if self._process is None or not self._ended(self._process):
            return None
        code = self._reap(self._process)
        if now_s - self._began_s >= STEADY_S:
            self._failures = 0
        self._start_at = now_s + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        return {"exit_code": code, "stderr": self._words.decode(errors="replace").strip().splitlines()[-10:]}

    def _start(self, now_s: float) -> None:
        host, port = self._config.address
        arguments = [host, str(port), str(self._folder), str(self._config.max_body_mb << 20), str(os.getpid())]
        self._start_at, self._began_s, self._words = None, now_s, b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stderr is not None  # noqa: S101  # asked for above
        os.set_blocking(self._process.stderr.fileno(), False)
        self._epoll.register(self._process.stderr, select.EPOLLIN)

    def _ended(self, process: "subprocess.Popen[bytes]") -> bool:
        """Keep its last words, and say whether it has said the last."""
        assert process.stderr is not None  # noqa: S101  # asked for above
        try:
            chunk = os.read(process.stderr.fileno(), 65536)
        except BlockingIOError:
            return False
        self._words = (self._words + chunk)[-_LAST_BYTES:]
        return not chunk

    def _reap(self, process: "subprocess.Popen[bytes]") -> int:
        """End what is left of it and return how it ended."""
        self._process = None
        assert process.stderr is not None  # noqa: S101  # asked for above
        self._epoll.unregister(process.stderr)
        process.stderr.close()
        try:
            return process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def stop(self) -> None:
        """End it."""
        self._start_at = None
        if self._process is not None:
            self._process.terminate()
            self._reap(self._process)
        self._epoll.close()
