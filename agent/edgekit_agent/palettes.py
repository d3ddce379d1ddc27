"""Bytes of a model told apart into streams that an entropy coder makes small: codes of repeated words, and the rest.

Weights have few distinct values where they are shared or snapped to a grid, and many zeros where they are pruned. A
block of bytes is read as words of 1, 2 or 4 bytes; words that are frequent in it stand in a palette and become a code
of 1, 2, 4 or 8 bits, the others are written out byte plane by byte plane. Blocks that share a palette name it once.
Nothing is known of file formats: where words begin and how wide they are is found by what costs least.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit_agent.errors import ModelError

Words = NDArray[np.unsignedinteger[Any]]

CHUNK = 1 << 16
STREAMS = (
    "forms", "bytes", "codes1", "codes2", "codes4", "codes8",
    "table2", "table4", "words2.0", "words2.1", "words4.0", "words4.1", "words4.2", "words4.3",
)  # fmt: skip
"""What `split` gives: how blocks are to be read, single bytes, codes by their bits, and for words of 2 and 4 bytes
palettes, and the bytes of words that have no code, plane by plane."""

WIDTHS = (2, 4)
BLOCKS = (1, 4, 16, 64)
"""How many blocks a chunk may be cut into."""
LARGEST_TABLE = 254
AS_BEFORE = 255
"""Stands instead of a palette's size where it is the last one of that width."""
BYTES = 0
"""The form of a block of single bytes; other forms are the width of words plus the place of the first whole one."""
SOME_OTHERS = 8
"""Added to a form where the highest code stands for words that have none."""
_CODE_BITS = (1, 2, 4, 8)


def joined(streams: Mapping[str, bytes], size: int) -> bytes:
    """Undo `split`; `size` are the bytes of the data.

    Raises:
        ModelError: if the streams do not fit together.
    """
    readers = {name: _Reader(streams[name]) for name in STREAMS}
    tables = {width: np.zeros(0, _type(width)) for width in WIDTHS}
    out = bytearray()
    while len(out) < size:
        length = min(CHUNK, size - len(out))
        count = readers["forms"].take(1)[0]
        if count not in BLOCKS:
            raise ModelError("the packed file is damaged: a chunk has an impossible number of blocks")
        for piece in _lengths(length, count):
            _read(piece, readers, tables, out)
    if any(reader.left for reader in readers.values()):
        raise ModelError("the packed file is damaged: it holds more than it says")
    return bytes(out)


def _read(size: int, readers: Mapping[str, "_Reader"], tables: dict[int, Words], out: bytearray) -> None:
    form = readers["forms"].take(1)[0]
    if form == BYTES:
        out += readers["bytes"].take(size)
        return
    some, form = form >= SOME_OTHERS, form % SOME_OTHERS
    width = width_of(form)
    before = form - width
    if width not in WIDTHS or not 0 <= before <= min(size, width - 1):
        raise ModelError("the packed file is damaged: a block has an impossible form")
    words = np.zeros((size - before) // width, _type(width))
    entries = readers["forms"].take(1)[0]
    out += readers["bytes"].take(before)
    other = np.ones(words.size, np.bool_)
    if entries:
        if entries != AS_BEFORE:
            tables[width] = np.frombuffer(readers[f"table{width}"].take(entries * width), _type(width))
        table = tables[width]
        bits = code_bits(table.size + some)
        codes = _as_codes(readers[f"codes{bits}"].take(-(-words.size * bits // 8)), bits, words.size)
        other = codes == table.size
        if np.any(codes >= table.size + some):
            raise ModelError("the packed file is damaged: a code means nothing")
        words[~other] = table[codes[~other]]
    missing = int(other.sum())
    planes = [np.frombuffer(readers[f"words{width}.{plane}"].take(missing), np.uint8) for plane in range(width)]
    words[other] = _from_planes(np.stack(planes))
    out += words.tobytes()
    out += readers["bytes"].take(size - before - words.nbytes)


class _Reader:
    """A stream that is taken piece by piece."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = memoryview(data), 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> memoryview:
        if size > self.left:
            raise ModelError("the packed file is damaged: a stream ends too early")
        self._at += size
        return self._data[self._at - size : self._at]


def code_bits(count: int) -> int:
    """Return how many bits so many codes take."""
    return next((bits for bits in _CODE_BITS if count <= 1 << bits), _CODE_BITS[-1])


def as_bytes(codes: NDArray[np.intp], bits: int) -> bytes:
    """Return codes of a few bits as bytes, the first ones in the low bits."""
    each = 8 // bits
    rows = np.pad(codes.astype(np.uint8), (0, -codes.size % each)).reshape(-1, each)
    return bytes(np.bitwise_or.reduce(rows << (np.arange(each, dtype=np.uint8) * np.uint8(bits)), axis=1))


def _as_codes(data: memoryview, bits: int, count: int) -> NDArray[np.uint8]:
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    rows = np.frombuffer(data, np.uint8)[:, None] >> shifts
    return (rows & np.uint8((1 << bits) - 1)).reshape(-1)[:count]


def words_in(piece: bytes, form: int) -> Words:
    """Return the whole words of a block in little-endian order, as numbers."""
    width = width_of(form)
    inner = piece[form - width :] if form else piece
    return np.frombuffer(inner, _type(width), count=len(inner) // width)


def planes_of(words: Words) -> NDArray[np.uint8]:
    """Return the bytes [width, n] of words, those of four turned left by a bit: a float's exponent is a byte then."""
    turned = words
    if words.itemsize == 4:  # noqa: PLR2004
        turned = (words << np.uint32(1)) | (words >> np.uint32(31))
    return turned.view(np.uint8).reshape(-1, words.itemsize).T


def _from_planes(planes: NDArray[np.uint8]) -> Words:
    words: Words = np.ascontiguousarray(planes.T).reshape(-1).view(_type(len(planes)))
    if words.itemsize == 4:  # noqa: PLR2004
        words = (words >> np.uint32(1)) | (words << np.uint32(31))
    return words


def width_of(form: int) -> int:
    """Return the bytes of a word in blocks of a form."""
    return 1 if form < 2 else 2 if form < 4 else 4  # noqa: PLR2004  # forms of words are 2, 3, and 4 to 7


def _type(width: int) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype({1: "u1", 2: "<u2", 4: "<u4"}[width])


def _lengths(size: int, count: int) -> list[int]:
    """Return the sizes of the blocks of a chunk: alike and whole words, the last one what is left."""
    each = -(-size // (4 * count)) * 4
    return [max(0, min(each, size - at * each)) for at in range(count)]


def pieces_of(chunk: bytes, count: int) -> Iterator[bytes]:
    """Yield the blocks of a chunk."""
    at = 0
    for size in _lengths(len(chunk), count):
        yield chunk[at : at + size]
        at += size
