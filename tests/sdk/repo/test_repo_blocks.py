"""Where targets are cut: by content alone, the same way everywhere."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.repo import _blocks
from edgekit.repo._blocks import MAX_BYTES, MIN_BYTES, index_of
from edgekit_agent.protocol import BlockIndex


def _cut(folder: Path, content: bytes) -> BlockIndex:
    path = folder / "content"
    path.write_bytes(content)
    return index_of(path)


def _plain(content: bytes) -> list[int]:
    """Return the cuts by the definition, a byte at a time."""
    gear = [int.from_bytes(hashlib.sha256(bytes([value])).digest()[:4], "little") for value in range(256)]
    cuts, last, rolling = [], 0, 0
    for at, value in enumerate(content, 1):
        rolling = ((rolling << 1) + gear[value]) & 0xFFFFFFFF  # what is 32 bytes back has been shifted out
        if (
            (rolling >> (32 - _blocks._BITS) == 0 and at - last >= MIN_BYTES)
            or at - last == MAX_BYTES
            or at == len(content)
        ):
            cuts.append(at)
            last = at
    return cuts


def _ends(index: BlockIndex) -> list[int]:
    return [block.offset + block.length for block in index]


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, MIN_BYTES, MAX_BYTES, MAX_BYTES + 1, 200_001])
def test_the_cuts_are_those_of_the_definition(tmp_path: Path, rng: np.random.Generator, size: int) -> None:
    content = rng.bytes(size)
    assert _ends(_cut(tmp_path, content)) == _plain(content)


def test_reading_in_slabs_changes_no_cut(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = rng.bytes(100_000)
    whole = _ends(_cut(tmp_path, content))
    for slab in (7, 31, 1000, 65_536):
        monkeypatch.setattr(_blocks, "_SLAB", slab)
        assert _ends(_cut(tmp_path, content)) == whole


@pytest.mark.parametrize("content", [b"\0" * 100_000, b"ab" * 50_000], ids=["zeros", "a pattern"])
def test_content_that_repeats_is_cut_at_the_largest_size(tmp_path: Path, content: bytes) -> None:
    index = _cut(tmp_path, content)
    assert _ends(index) == _plain(content)
    assert len({block.sha256 for block in index}) <= 3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.integers(0, 150_000), inserted=st.binary(max_size=300))
def test_an_insertion_anywhere_leaves_most_blocks_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, seed: int, at: int, inserted: bytes
) -> None:
    content = np.random.default_rng(seed).bytes(150_000)
    folder = tmp_path_factory.mktemp("blocks")
    before = {block.sha256 for block in _cut(folder, content)}
    index = _cut(folder, content[:at] + inserted + content[at:])
    changed = [block for block in index if block.sha256 not in before]
    assert index.length == len(content) + len(inserted)
    assert all(block.length <= MAX_BYTES for block in index)
    assert sum(block.length for block in changed) <= 6 * MAX_BYTES
    assert sum(block.length for block in changed) < len(content)


def test_the_hashes_are_those_of_the_content(tmp_path: Path, rng: np.random.Generator) -> None:
    content = rng.bytes(50_000)
    for block in _cut(tmp_path, content):
        assert block.holds(content[block.offset : block.offset + block.length])
        assert not block.holds(content[block.offset : block.offset + block.length - 1])
