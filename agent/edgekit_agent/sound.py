"""From a `.wav` file to samples: float32 in [-1, 1], one channel, the rate that is asked for."""

import struct
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_agent.errors import InputDataError
from edgekit_agent.preprocess import MAX_RATE
from edgekit_agent.runtimes.base import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

MAX_BYTES = 1 << 30
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_ZERO_CROSSINGS = 10  # of the resampling filter, on each side, at the lower of the two rates
_KAISER_BETA = 5.0


@dataclass(frozen=True, slots=True)
class _Format:
    tag: int
    channels: int
    rate: int
    bits: int


def read_wav(path: Path) -> "tuple[Samples, int]":
    """Return the samples [N] of a RIFF WAVE file, the mean of its channels, and its rate in hertz.

    PCM of 8 (unsigned), 16, 24 and 32 bits becomes value / 2**(bits - 1); float of 32 and 64 bits stays.

    Raises:
        InputDataError: if it cannot be read, is no WAVE file, ends early, is too large, or is coded otherwise.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputDataError(f"sound '{path}' is larger than {MAX_BYTES} bytes")
        data = path.read_bytes()
    except OSError as exc:
        raise InputDataError(f"sound '{path}' cannot be read: {exc.strerror}") from exc
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":  # noqa: PLR2004  # the file's head
        raise InputDataError(f"sound '{path}' is not a WAVE file")
    how, content = _chunks(path, data)
    values = _decoded(path, how, content).reshape(-1, how.channels)
    if not len(values):
        raise InputDataError(f"sound '{path}' has no samples")
    return np.ascontiguousarray(values.mean(axis=1), dtype=np.float32), how.rate


def _chunks(path: Path, data: bytes) -> tuple[_Format, memoryview]:
    how, place = None, 12
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        place += 8
        if place + size > len(data):
            raise InputDataError(f"sound '{path}' ends before its chunk of {size} bytes does")
        if name == b"fmt ":
            how = _format(path, data[place : place + size])
        elif name == b"data":
            if how is None:
                break
            return how, memoryview(data)[place : place + size]
        place += size + size % 2  # chunks begin at even places
    raise InputDataError(f"sound '{path}' has no {'samples' if how else 'format'}")


def _format(path: Path, chunk: bytes) -> _Format:
    if len(chunk) < 16:  # noqa: PLR2004  # the fields below
        raise InputDataError(f"sound '{path}' has a format chunk of {len(chunk)} bytes")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:  # noqa: PLR2004  # the sub-format's first two bytes are the tag
        tag = struct.unpack_from("<H", chunk, 24)[0]
    if not channels or not 0 < rate <= MAX_RATE:
        raise InputDataError(f"sound '{path}' has {channels} channels at {rate} hertz")
    return _Format(tag, channels, rate, bits)


def _decoded(path: Path, how: _Format, content: memoryview) -> Array:
    width = how.bits // 8
    frame = width * how.channels
    if (how.tag, how.bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
        raise InputDataError(f"sound '{path}' is neither PCM nor float (format {how.tag}, {how.bits} bits)")
    if len(content) % frame:
        raise InputDataError(f"sound '{path}' ends in the middle of a sample")
    if how.tag == _FLOAT:
        return np.frombuffer(content, f"<f{width}")
    if how.bits == 8:  # noqa: PLR2004  # the one that is unsigned
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128
    if how.bits == 24:  # noqa: PLR2004  # no such type: the upper bytes of 32 bits
        padded = np.zeros((len(content) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return padded.view("<i4")[:, 0] / np.float64(2**31)
    return np.frombuffer(content, f"<i{width}") / np.float64(2 ** (how.bits - 1))


def resampled(samples: "Samples", rate: int, wanted: int) -> "Samples":
    """Return samples [N] at another rate: ceil(N * wanted / rate) of them.

    Polyphase filtering with a Kaiser-windowed sinc (beta 5, ten zero crossings a side), the filter of
    `scipy.signal.resample_poly`; values outside the sound are 0.
    """
    up, down = wanted // gcd(rate, wanted), rate // gcd(rate, wanted)
    if up == down:
        return samples
    taps, half = _low_pass(up, down)
    count = -(-len(samples) * up // down)
    longest = -(-len(taps) // up)
    padded = np.concatenate([np.zeros(longest, np.float32), samples, np.zeros(longest, np.float32)])
    made = np.zeros(count, np.float32)
    for first in range(min(up, count)):
        # output number first + k * up stands at (first * down + half) / up + k * down of the input
        whole, phase = divmod(first * down + half, up)
        weights = taps[phase::up][::-1].astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights))
        begin = whole - len(weights) + 1 + longest
        places = begin + down * np.arange(len(range(first, count, up)))
        made[first::up] = _products(windows, places, weights)
    return made


def _products(windows: "Samples", places: "NDArray[np.intp]", weights: "Samples") -> "Samples":
    """Return windows[places] @ weights; what lies behind the end is silence."""
    inside = places < len(windows)
    made = np.zeros(len(places), np.float32)
    if inside.any():
        step = int(places[1] - places[0]) if len(places) > 1 else 1
        made[inside] = windows[places[0] : int(places[inside][-1]) + 1 : step] @ weights
    return made


def _low_pass(up: int, down: int) -> "tuple[NDArray[np.float64], int]":
    """Return the filter's taps at `up` times the input's rate, with a sum of `up`, and the place of its middle."""
    most = max(up, down)
    half = _ZERO_CROSSINGS * most
    taps = np.sinc(np.arange(-half, half + 1) / most) * np.kaiser(2 * half + 1, _KAISER_BETA)
    return taps * (up / taps.sum()), half
