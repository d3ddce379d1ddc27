"""A microphone, read by ALSA's own `arecord` in a process beside."""

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np

from edgekit_agent.errors import RuntimeMissingError, StreamError
from edgekit_agent.runtimes.base import Array
from edgekit_agent.sources.base import Sample, Source
from edgekit_agent.sources.live import Feed, Live
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.sounds import Sounds
from edgekit_agent.sources.wanted import Wanted

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROGRAM = "arecord"
RATE = 16_000
WAITING = 2  # windows: one more than the newest, so that a short delay loses none
_CHUNK_BYTES = 4096
_TAIL = 300


class MicrophoneSource(Live):
    """Windows of what a microphone hears now: 16 bits, one channel, at the rate of the preprocessing (16 kHz)."""

    def __init__(self, wanted: Wanted, *, device: str | None, hop_s: float) -> None:
        """Check that the model takes one sound."""
        super().__init__("microphone", WAITING)
        what = "the microphone"
        sounds = Sounds(wanted, what)
        rate = sounds.how.rate or RATE
        self.prepare = sounds.prepare
        self._length, self._hop = sounds.window_length(what), sounds.hop(hop_s, rate, what)
        self._process: subprocess.Popen[bytes] | None = None
        chosen = ["-D", device] if device else []
        self._command = [PROGRAM, "-q", *chosen, "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(rate)]

    def close(self) -> None:
        """End the program too: it may wait for a device that gives nothing."""
        if self._feed is not None:
            self._feed.stopping.set()
        if self._process is not None:
            self._process.kill()
        super().close()

    def _read(self, feed: Feed) -> None:
        with subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None  # noqa: S101  # asked for above
            assert process.stderr is not None  # noqa: S101  # so too
            cutter = Cutter(self._length, self._hop)
            self._process = process
            try:
                while not feed.stopping.is_set() and (chunk := os.read(process.stdout.fileno(), _CHUNK_BYTES)):
                    for window in cutter.add(chunk):
                        feed.put(Sample(window))
            finally:
                process.kill()
            words = process.stderr.read(_TAIL).decode(errors="replace").strip()
        raise StreamError(f"{PROGRAM} has ended: {words or 'it said nothing'}")


class Cutter:
    """Cuts a stream of 16-bit samples into windows [N] of float32, -1 to 1."""

    def __init__(self, length: int, hop: int) -> None:
        """Take a window's length and the way from one's beginning to the next, in samples."""
        self._length, self._hop = length, hop
        self._odd = b""
        self._skip = 0
        self._kept: NDArray[np.float32] = np.zeros(0, np.float32)

    def add(self, chunk: bytes) -> list[Array]:
        """Take bytes as they come, and return the windows that are whole now."""
        data = self._odd + chunk
        even = len(data) - len(data) % 2
        self._odd = data[even:]
        heard = np.frombuffer(data[:even], "<i2").astype(np.float32) / np.float32(1 << 15)
        passed = min(self._skip, len(heard))
        self._skip -= passed
        self._kept = np.concatenate([self._kept, heard[passed:]])
        windows: list[Array] = []
        while len(self._kept) >= self._length:
            windows.append(self._kept[: self._length].copy())
            self._skip = max(0, self._hop - len(self._kept))
            self._kept = self._kept[self._hop :]
        return windows


def open_microphone(config: SourceConfig, wanted: Wanted) -> Source:
    """Return what a microphone hears.

    Raises:
        InputDataError: if the model does not take one sound.
        RuntimeMissingError: if `arecord` is not installed.
    """
    if shutil.which(PROGRAM) is None:
        error = RuntimeMissingError(f"a microphone needs {PROGRAM}, which is not installed")
        error.add_note("apt install alsa-utils")
        raise error
    return MicrophoneSource(wanted, device=config.device, hop_s=config.hop_s)
