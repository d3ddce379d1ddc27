"""Birth numbers count up over restarts, whatever happens to their file."""

from pathlib import Path

import pytest

from edgekit_agent.birth import Births
from edgekit_agent.durable import StateFile


def test_numbers_count_up_over_restarts(tmp_path: Path) -> None:
    assert [Births(tmp_path).next() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 9999], ids=str)
def test_a_broken_counter_starts_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "birth.json").write_bytes(content)
    assert [Births(tmp_path).next() for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("number", ["x", True, -4, 2**60, 1.5, None], ids=str)
def test_a_number_that_is_none_starts_again(tmp_path: Path, number: object) -> None:
    StateFile(tmp_path / "birth.json").save({"birth": number})
    assert Births(tmp_path).next() == 1


def test_a_number_that_cannot_be_kept_counts_on_all_the_same(tmp_path: Path) -> None:
    births = Births(tmp_path / "nowhere")
    for expected in (1, 2):
        with pytest.raises(OSError, match="nowhere"):
            births.next()
        assert births.last == expected
