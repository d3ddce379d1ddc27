"""The bytes of a spool: whatever is cut, flipped or made up, no exception and no wrong record."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_agent.spool.records import MARK, MOST_BODY_BYTES, Record, decode, encode, scan
from tests.fuzz.byte_mutants import flipped

KERNEL = bytes(range(16))


def record(seq: int, payload: bytes = b'{"n":1}', boot: str = "b00t") -> Record:
    return Record(boot=boot, seq=seq, steady_ms=1000 * seq, wall_ms=10**12, kernel=KERNEL, payload=payload)


RECORDS = [record(seq, b"x" * (5 * seq)) for seq in range(1, 6)]
PARTS = [encode(one) for one in RECORDS]
DATA = b"".join(PARTS)


def found(data: bytes) -> list[Record]:
    return [one.record for one in scan(data)[0]]


def test_records_come_back_with_their_places() -> None:
    whole, lost = scan(DATA)
    assert [one.record for one in whole] == RECORDS
    assert lost == 0
    assert [decode(DATA[one.offset : one.offset + one.size]) for one in whole] == [
        replace(one, offset=0) for one in whole
    ]


NUMBERS = st.integers(0, 2**63 - 1)


@given(
    st.builds(
        Record,
        boot=st.text(max_size=50),
        seq=NUMBERS,
        steady_ms=NUMBERS,
        wall_ms=NUMBERS,
        kernel=st.binary(min_size=16, max_size=16),
        payload=st.binary(max_size=300),
    )
)
def test_any_record_comes_back(one: Record) -> None:
    assert found(encode(one)) == [one]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (record(-1), "report -1 of boot 'b00t' has no record"),
        (record(1, boot="b" * 256), "has no record"),
        (record(1, bytes(MOST_BODY_BYTES)), "the limit of a record is 524288"),
    ],
    ids=["negative", "boot", "large"],
)
def test_what_has_no_room_is_refused(one: Record, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(one)


def test_cut_anywhere_only_the_torn_record_is_lost_and_counted() -> None:
    ends = [sum(map(len, PARTS[: count + 1])) for count in range(len(PARTS))]
    for cut in range(len(DATA)):
        whole, lost = scan(DATA[:cut])
        kept = sum(end <= cut for end in ends)
        assert [one.record for one in whole] == RECORDS[:kept]
        assert lost == (cut not in {0, *ends})


def test_a_flipped_bit_anywhere_costs_its_record_and_no_other() -> None:
    for place in range(len(DATA)):
        for bit in range(8):
            data = bytearray(DATA)
            data[place] ^= 1 << bit
            index = next(number for number in range(5) if place < sum(map(len, PARTS[: number + 1])))
            whole, lost = scan(bytes(data))
            assert [one.record for one in whole] == RECORDS[:index] + RECORDS[index + 1 :]
            assert lost == 1


def test_many_flipped_bits_never_make_a_wrong_record(rng: np.random.Generator) -> None:
    for _ in range(2000):
        whole, lost = scan(flipped(rng, DATA))
        kept = [one.record for one in whole]
        assert kept == [one for one in RECORDS if one in kept]
        assert len(whole) + lost <= len(RECORDS)


@given(st.binary(max_size=2000))
def test_made_up_bytes_are_one_damaged_place(data: bytes) -> None:
    assert scan(data) == ([], int(bool(data)))


def test_several_records_missing_in_the_middle_are_all_counted() -> None:
    assert scan(PARTS[0] + b"?" * 40 + PARTS[4])[1] == 3


@pytest.mark.parametrize(
    "second", [PARTS[0], encode(record(9, boot="other"))], ids=["the same again", "of another boot"]
)
def test_what_does_not_follow_is_not_taken(second: bytes) -> None:
    assert found(PARTS[0] + second) == RECORDS[:1]


def test_zeros_behind_the_records_are_damage_and_not_records() -> None:
    assert scan(DATA + bytes(4096)) == (scan(DATA)[0], 1)


def test_a_file_full_of_marks_takes_no_time() -> None:
    data = (MARK + (400_000).to_bytes(4, "little")) * 200_000
    start = time.monotonic()
    assert scan(data) == ([], 1)
    assert time.monotonic() - start < 5
