"""Live sources: the newest win, what is overtaken is counted, and what is gone is opened again."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit_agent.errors import AgentError, InputDataError, RuntimeMissingError, StreamError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import TensorSpec
from edgekit_agent.sources import live, open_source
from edgekit_agent.sources.base import Item, Sample, Source
from edgekit_agent.sources.live import Feed, Live, Newest
from edgekit_agent.sources.microphone import Cutter
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted

PATIENCE_S = 30.0
HEARD = (TensorSpec(name="sound", shape=(1, 4), dtype="float32"),)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def take(items: Iterator[Item], count: int, kind: type[Sample | AgentError] = Sample) -> list[Sample | AgentError]:
    """Return so many items of a kind; a source that gives none in time fails."""
    end = time.monotonic() + PATIENCE_S
    found: list[Sample | AgentError] = []
    for item in items:
        if isinstance(item, kind):
            found.append(item)
        if len(found) == count:
            return found
        assert time.monotonic() < end, found
    raise AssertionError(found)


def test_only_the_newest_is_kept_and_the_others_are_counted() -> None:
    newest = Newest(1)
    for number in range(5):
        newest.put(Sample(number))
    assert newest.take(0) == Sample(4)
    assert newest.dropped == 4
    assert newest.take(0.001) is None


def test_a_queue_keeps_the_last_few_in_order() -> None:
    newest = Newest(3)
    for number in range(5):
        newest.put(Sample(number))
    assert [newest.take(0) for _ in range(3)] == [Sample(2), Sample(3), Sample(4)]
    assert newest.dropped == 2


class Counting(Live):
    """A stream of numbers that ends after three of them, each time it is opened."""

    def __init__(self) -> None:
        """Keep what nobody has taken."""
        super().__init__("counting", 10)
        self.opened = 0

    def _read(self, feed: Feed) -> None:
        self.opened += 1
        for number in range(3):
            feed.put(Sample(10 * self.opened + number))
        if self.opened == 2:
            raise ZeroDivisionError("a library's own")


def test_a_stream_that_ends_or_fails_is_told_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BACKOFF_S", (0.01,))
    source = Counting()
    found: list[Item] = []
    for item in source.samples():
        found += [item] if item is not None else []
        if len(found) == 9:
            break
    source.close()
    numbers = [item.raw for item in found if isinstance(item, Sample)]
    told = [str(item) for item in found if isinstance(item, StreamError)]
    assert numbers == [10, 11, 12, 20, 21, 22, 30]
    assert told == ["the stream has ended", "the stream failed: ZeroDivisionError: a library's own"]


def test_a_close_ends_the_stream_and_its_iterator() -> None:
    source = Counting()
    items = source.samples()
    take(items, 1)
    source.close()
    assert all(item is not None for item in items)


def test_a_cutter_makes_windows_of_any_pieces(rng: np.random.Generator) -> None:
    heard = rng.integers(-(1 << 15), 1 << 15, 1000).astype("<i2")
    data = heard.tobytes()
    for hop in (3, 10, 25):
        cutter, found, at = Cutter(10, hop), [], 0
        while at < len(data):
            size = int(rng.integers(1, 70))
            found += cutter.add(data[at : at + size])
            at += size
        wanted = [heard[begin : begin + 10] / 32768 for begin in range(0, 991, hop)]
        assert np.array_equal(found, np.asarray(wanted, np.float32))


@pytest.fixture
def arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program of that name first on the path; there is no sound card here."""

    def make(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "arecord"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make


def microphone(**more: object) -> Source:
    config = SourceConfig(kind="microphone", **more)  # type: ignore[arg-type]  # as a test says
    return open_source(config, Wanted(inputs=HEARD, preprocess=Preprocess(rate=8000)))


def test_a_microphone_gives_windows_of_what_its_program_writes(arecord: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "pcm").write_bytes(np.array([0, 8192, -8192, 16384] * 2, "<i2").tobytes())
    arecord(f'echo "$@" > {tmp_path}/said; cat {tmp_path}/pcm; exec sleep 60')
    source = microphone(device="plughw:1,0")
    found = take(source.samples(), 2)
    assert isinstance(found[1], Sample)
    assert source.prepare(found[1]).arrays[0].tolist() == [[0, 0.25, -0.25, 0.5]]
    source.close()
    assert (tmp_path / "said").read_text().split() == [
        "-q",
        "-D",
        "plughw:1,0",
        "-t",
        "raw",
        "-f",
        "S16_LE",
        "-c",
        "1",
        "-r",
        "8000",
    ]


def test_a_microphone_that_goes_is_told_with_its_program_s_words(arecord: Callable[[str], None]) -> None:
    arecord("echo 'audio open error: No such file or directory' >&2; exit 1")
    source = microphone()
    (error,) = take(source.samples(), 1, StreamError)
    source.close()
    assert "No such file or directory" in str(error)


def test_without_the_program_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeMissingError, match="arecord") as caught:
        microphone()
    assert caught.value.__notes__ == ["apt install alsa-utils"]


def test_a_microphone_needs_to_know_how_long_a_window_is(arecord: Callable[[str], None]) -> None:
    arecord("true")
    free = (TensorSpec(name="sound", shape=(1, -1), dtype="float32"),)
    with pytest.raises(InputDataError, match="nothing says how long one is"):
        open_source(SourceConfig(kind="microphone"), Wanted(inputs=free, preprocess=Preprocess()))
