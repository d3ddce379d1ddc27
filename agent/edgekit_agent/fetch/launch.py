"""The fetch process as the supervisor sees it. Standard library only."""

import contextlib
import json
import os
import subprocess
import sys

from edgekit_agent.fetch.messages import FetchAnswer, FetchProgress, FetchRequest
from edgekit_agent.protocol import MAX_MESSAGE_BYTES, Reason

MODULE = "edgekit_agent.fetch"
_LAST_BYTES = 2000


class FetchProcess:
    """A running fetch; `output` is the descriptor to select on, `answer` is there when `poll` returns True."""

    def __init__(self, request: FetchRequest) -> None:
        """Start it.

        Raises:
            OSError: if no process can be started.
        """
        self.progress: FetchProgress | None = None
        self.answer: FetchAnswer | None = None
        self._rest = b""
        self._last_words = b""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdin is not None  # noqa: S101  # asked for above
        assert self.process.stdout is not None  # noqa: S101
        assert self.process.stderr is not None  # noqa: S101
        self.output, self._errors = self.process.stdout, self.process.stderr
        os.set_blocking(self.output.fileno(), False)
        os.set_blocking(self._errors.fileno(), False)
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(request.to_bytes())

    def poll(self) -> bool:
        """Take in what it has said, without waiting; return whether it has ended and `answer` is there."""
        ended = self.process.poll() is not None  # asked before reading: nothing comes after what is read then
        self._last_words = (self._last_words + _read(self._errors.fileno()))[-_LAST_BYTES:]
        self._rest += _read(self.output.fileno())
        *lines, self._rest = self._rest.split(b"\n")
        self._rest = self._rest[:MAX_MESSAGE_BYTES]
        for line in lines:
            said = json.loads(line)
            if "progress" in said:
                self.progress = FetchProgress.from_json(said["progress"])
            else:
                self.answer = FetchAnswer.from_json(said["answer"])
        if ended and self.answer is None:
            self.answer = FetchAnswer(status="refused", reason=Reason.FETCH_CRASHED, detail=self._end())
        return ended

    def kill(self) -> None:
        """End it at once; a download goes on from there the next time."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it if it runs, and close the descriptors."""
        self.kill()
        self.output.close()
        self._errors.close()

    def _end(self) -> str:
        last = self._last_words.decode(errors="replace").strip().splitlines()[-1:]
        return ": ".join([f"the fetch process ended with {self.process.returncode}", *last])


def _read(handle: int) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(handle, MAX_MESSAGE_BYTES):
            found += chunk
    return found
