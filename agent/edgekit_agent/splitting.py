"""The cheapest way to tell a model's bytes apart into the streams of `palettes`, by estimated entropy."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit_agent.palettes import (
    AS_BEFORE,
    BLOCKS,
    BYTES,
    CHUNK,
    LARGEST_TABLE,
    SOME_OTHERS,
    STREAMS,
    WIDTHS,
    Words,
    as_bytes,
    code_bits,
    pieces_of,
    planes_of,
    width_of,
    words_in,
)

Counts = NDArray[np.intp]
Flags = NDArray[np.bool_]

_BETTER_THAN_DEFLATE = 0.8  # LZMA over a whole stream beside deflate of a block, where much is said twice: in text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A way to write a block down; `table` is what its codes mean from here on."""

    form: int
    cost: float
    """Bits it will take, by order-0 entropy."""
    fresh: bool = True
    table: tuple[int, ...] = ()


_Tables = Mapping[int, tuple[int, ...]]
"""The palettes in use by width."""


def split(data: bytes) -> dict[str, bytes]:
    """Return the streams of `STREAMS`, out of which `joined` makes the data again."""
    parts = {name: bytearray() for name in STREAMS}
    tables: _Tables = dict.fromkeys(WIDTHS, ())
    for start in range(0, len(data), CHUNK):
        chunk = data[start : start + CHUNK]
        blocks, tables = _chosen(chunk, tables)
        parts["forms"].append(len(blocks))
        for block, piece in zip(blocks, pieces_of(chunk, len(blocks)), strict=True):
            _write(piece, block, parts)
    return {name: bytes(part) for name, part in parts.items()}


def _chosen(chunk: bytes, tables: _Tables) -> tuple[list[_Block], _Tables]:
    """Return the cheapest way to write a chunk, and the palettes in use behind it."""
    forms = [BYTES, *(width + _phase(chunk, width) for width in WIDTHS)]
    best: tuple[float, list[_Block], _Tables] | None = None
    for count in BLOCKS:
        known, blocks = dict(tables), []
        for piece in pieces_of(chunk, count):
            block = min((one for form in forms for one in _ways(piece, form, known)), key=lambda one: one.cost)
            if block.table:
                known[width_of(block.form)] = block.table
            blocks.append(block)
        cost = sum(one.cost + 8 for one in blocks)
        if best is not None and cost >= best[0]:
            break  # smaller ones will hardly be better again
        best = cost, blocks, known
    if best is None:
        raise AssertionError("there is always a way")
    return best[1], best[2]


def _phase(chunk: bytes, width: int) -> int:
    """Return where words of a width begin: where the fewest distinct ones are, in a look at the start."""
    some = chunk[: CHUNK // 4]
    return min(range(width), key=lambda at: (np.unique(words_in(some, width + at)).size, _spread(some, width + at), at))


def _spread(piece: bytes, form: int) -> float:
    return _literal_bits(words_in(piece, form))


def _ways(piece: bytes, form: int, known: _Tables) -> Iterator[_Block]:
    """Yield how a block may be written in a form: without a palette, with that before, or with one of its own."""
    words = words_in(piece, form)
    if form == BYTES or not words.size:
        matched = 8.0 * len(zlib.compress(piece, 1))
        if matched < 4 * len(piece):
            matched *= _BETTER_THAN_DEFLATE
        yield _Block(form=BYTES, cost=min(matched, _literal_bits(np.frombuffer(piece, np.uint8))))
        return
    width = width_of(form)
    distinct, places, counts = np.unique(words, return_inverse=True, return_counts=True)
    around = 8.0 * (len(piece) - words.nbytes) + 8
    yield _Block(form=form, cost=_literal_bits(words) + around)
    if known[width]:
        listed = np.isin(distinct, np.array(known[width], words.dtype), assume_unique=True)
        cost = _coded_bits(words, counts, listed, listed[places])
        yield _Block(form=form, cost=cost + around, fresh=False, table=known[width])
    for least in sorted({2, max(2, words.size // 64)}):
        often = np.flatnonzero(counts >= least)
        often = np.sort(often[np.argsort(-counts[often], kind="stable")[:LARGEST_TABLE]])
        if often.size:
            listed = np.zeros(distinct.size, np.bool_)
            listed[often] = True
            cost = _coded_bits(words, counts, listed, listed[places]) + 8 * width * often.size
            yield _Block(form=form, cost=cost + around, table=tuple(distinct[often].tolist()))


def _coded_bits(words: Words, counts: Counts, listed: Flags, coded: Flags) -> float:
    """Return the bits of the codes of words, and of words that have none.

    `counts` say how often each distinct word comes, `listed` which of them have codes, `coded` which words have.
    """
    others = int(counts[~listed].sum())
    return _bits(np.append(counts[listed], others)) + (_literal_bits(words[~coded]) if others else 0.0)


def _literal_bits(words: Words) -> float:
    """Return the bits of words that are written out."""
    return sum(_bits(np.bincount(plane, minlength=256)) for plane in planes_of(words))


def _bits(counts: Counts) -> float:
    """Return the order-0 entropy of symbols that came so often, with what few samples hide (Miller 1955)."""
    some = counts[counts > 0].astype(np.float64)
    if some.size == 0:
        return 0.0
    return float(-(some * np.log2(some / some.sum())).sum() + (some.size - 1) / (2 * np.log(2)))


def _write(piece: bytes, block: _Block, parts: Mapping[str, bytearray]) -> None:
    if block.form == BYTES:
        parts["forms"].append(BYTES)
        parts["bytes"] += piece
        return
    width, words = width_of(block.form), words_in(piece, block.form)
    before = block.form - width
    parts["bytes"] += piece[:before] + piece[before + words.nbytes :]
    table = np.array(block.table, words.dtype)
    places = np.searchsorted(table, words)
    listed = table[np.minimum(places, table.size - 1)] == words if table.size else np.zeros(words.size, np.bool_)
    some = bool(table.size and not listed.all())
    parts["forms"] += bytes((block.form + some * SOME_OTHERS, table.size if block.fresh else AS_BEFORE))
    if table.size:
        if block.fresh:
            parts[f"table{width}"] += table.tobytes()
        bits = code_bits(table.size + some)
        parts[f"codes{bits}"] += as_bytes(np.where(listed, places, table.size), bits)
    for plane, values in enumerate(planes_of(words[~listed])):
        parts[f"words{width}.{plane}"] += values.tobytes()
