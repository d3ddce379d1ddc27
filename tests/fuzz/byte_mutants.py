"""Damage to a file's bytes that needs no knowledge of its format; every choice comes from the generator given."""

from collections.abc import Callable

import numpy as np

Random = np.random.Generator
Change = Callable[[Random, bytes], bytes]

# What a length, an offset or an index is when it is wrong.
EXTREMES = (0, 1, -1, 4, 127, 255, 65535, 2**31 - 1, -(2**31), 2**30, -16)
_HEAD = 64


def flipped(rng: Random, data: bytes) -> bytes:
    """Flip one bit to a dozen."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 13))):
        changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncated(rng: Random, data: bytes) -> bytes:
    """Cut the end off."""
    return data[: int(rng.integers(1, len(data)))]


def new_head(rng: Random, data: bytes) -> bytes:
    """Put random bytes somewhere in the first of them."""
    start, size = int(rng.integers(8, _HEAD)), int(rng.integers(1, 16))
    return data[:start] + rng.bytes(size) + data[start + size :]


def cut_out(rng: Random, data: bytes) -> bytes:
    """Take bytes out of the middle."""
    start = int(rng.integers(len(data)))
    return data[:start] + data[start + int(rng.integers(1, 32)) :]


def repeated(rng: Random, data: bytes) -> bytes:
    """Put a piece in twice."""
    start = int(rng.integers(len(data)))
    return data[:start] + data[start : start + int(rng.integers(1, 200))] + data[start:]


def word(rng: Random, data: bytes) -> bytes:
    """Make one aligned 32-bit word an extreme."""
    at = 4 * int(rng.integers(1, max(2, len(data) // 4 - 1)))
    value = int(rng.choice([*EXTREMES, len(data), len(data) - 4]))
    return data[:at] + value.to_bytes(4, "little", signed=True) + data[at + 4 :]


def words(rng: Random, data: bytes) -> bytes:
    """Exchange two aligned 32-bit words."""
    one, two = sorted(4 * int(at) for at in rng.integers(1, max(2, len(data) // 4 - 1), size=2))
    if one == two:
        return data
    return data[:one] + data[two : two + 4] + data[one + 4 : two] + data[one : one + 4] + data[two + 4 :]


CHANGES: tuple[Change, ...] = (flipped, truncated, new_head, cut_out, repeated, word, words)
