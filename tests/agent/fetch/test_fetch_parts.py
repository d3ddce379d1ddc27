"""The parts of the fetch process by themselves: formats from outside, the pace, the record of trust."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_agent.errors import ProtocolError
from edgekit_agent.fetch import pace
from edgekit_agent.fetch.errors import FetchError, UnreachableError
from edgekit_agent.fetch.messages import FetchAnswer, FetchRequest
from edgekit_agent.fetch.pace import Pace, Retries
from edgekit_agent.fetch.trust import Trust, TrustStore
from edgekit_agent.protocol import BlockIndex, IndexRef, Reason, Release, check_target, stored_as

REQUEST = FetchRequest(op="fetch", store="/s", repository="http://127.0.0.1/", target="kws/1/kws.ekb")


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.binary(min_size=32, max_size=32)), max_size=20))
def test_a_block_index_is_read_as_it_was_written(entries: list[tuple[int, bytes]]) -> None:
    index = BlockIndex.from_bytes(BlockIndex(entries).to_bytes())
    assert [(block.length, block.sha256) for block in index] == entries
    assert index.length == sum(length for length, _ in entries)
    assert [block.offset for block in index] == [sum(one for one, _ in entries[:at]) for at in range(len(entries))]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_block_index_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="the block index"):
        BlockIndex.from_bytes(data)


@pytest.mark.parametrize("length", [0, (1 << 20) + 1, 2**32 - 1])
def test_a_block_that_is_empty_or_too_large_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="empty or larger"):
        BlockIndex.from_bytes(BlockIndex([(length, b"x" * 32)]).to_bytes())


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_a_request_from_any_bytes_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FetchRequest.from_bytes(data)


def test_requests_and_answers_travel_as_json() -> None:
    request = replace(REQUEST, hardware=("rpi4",), allow_hosts=("cdn.example",), deadline_s=5.0)
    assert FetchRequest.from_bytes(request.to_bytes()) == request
    release = Release(
        model="kws", version="1", release_counter=3, blocks=IndexRef(sha256="0" * 64, length=8), hw_ids=("a",)
    )
    answer = FetchAnswer(status="ok", release=release, metadata={"root": 1}, sha256="0" * 64, length=9)
    assert FetchAnswer.from_bytes(answer.to_bytes()) == answer


@given(st.text(max_size=80))
def test_a_targets_name_never_leads_out_of_its_folder(name: str) -> None:
    try:
        taken = check_target(name)
    except ProtocolError:
        return
    path = (Path("/r/targets") / stored_as(taken, "0" * 64)).resolve()
    assert path.is_relative_to("/r/targets")
    assert not any(part.startswith(".") for part in path.parts)


def test_names_that_targets_have() -> None:
    assert check_target("kws/1.2.0+b7/kws-rpi4.ekb") == "kws/1.2.0+b7/kws-rpi4.ekb"
    assert stored_as("kws/1/kws.ekb", "ab") == "kws/1/ab.kws.ekb"
    assert stored_as("kws.ekb", "ab") == "ab.kws.ekb"


def test_a_release_fits_hardware_that_it_names_or_any() -> None:
    release = Release(
        model="kws", version="1", release_counter=1, hw_ids=("rpi4", "rpi5"), blocks=IndexRef(sha256="", length=0)
    )
    assert release.fits(("aarch64", "rpi5"))
    assert not release.fits(("nuc",))
    assert not release.fits(())
    assert replace(release, hw_ids=()).fits(())


def test_the_pace_is_judged_over_whole_windows() -> None:
    now = [0.0]
    rate = Pace(100, 10.0, clock=lambda: now[0])
    for second in range(1, 31):
        now[0] = float(second)
        rate.took(101)
    now[0] = 39.9
    rate.took(10)  # slow, but its window is not over
    now[0] = 40.0
    with pytest.raises(FetchError, match=r"^10 bytes came in 10\.0 s, the least allowed is 1000") as caught:
        rate.took(0)
    assert caught.value.reason is Reason.DOWNLOAD_TOO_SLOW
    rate.begin()
    rate.took(1)


def test_tries_end_and_progress_begins_them_anew() -> None:
    waited: list[float] = []
    retries = Retries(waited.append)
    error = UnreachableError("away")
    retries.failed(error)
    retries.failed(error)
    retries.progressed()
    for _ in pace.PAUSES_S:
        retries.failed(error)
    with pytest.raises(UnreachableError, match="away"):
        retries.failed(error)
    assert waited == [*pace.PAUSES_S[:2], *pace.PAUSES_S]


def test_trust_begins_at_the_pinned_root_and_again_when_that_is_another(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    with pytest.raises(FetchError) as caught:
        store.load()
    assert caught.value.reason is Reason.TRUST_MISSING
    (tmp_path / "root.json").write_bytes(b"first")
    assert store.load() == Trust(root=b"first")
    newer = Trust(root=b"second", timestamp=b"t", snapshot=b"s", targets=b"x")
    store.keep(newer)
    assert store.load() == newer
    before = (tmp_path / "seen.json").stat().st_ino
    store.keep(newer)  # nothing new: nothing is written
    assert (tmp_path / "seen.json").stat().st_ino == before
    (tmp_path / "root.json").write_bytes(b"another")
    assert store.load() == Trust(root=b"another")


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(
    lambda value: json.dumps({"schema": 1, "pinned": value, "root": value}).encode()
))  # fmt: skip
def test_a_record_of_any_content_is_passed_over(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("trust")
    (folder / "root.json").write_bytes(b"first")
    (folder / "seen.json").write_bytes(content)
    assert TrustStore(folder).load() == Trust(root=b"first")
