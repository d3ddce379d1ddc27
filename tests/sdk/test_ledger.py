"""What a search has tried, kept on disk: taken up again after any kind of end, and never worth an error."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit._ledger import Ledger
from edgekit._report import Trial

RUN = {"source": "abc", "options": "text", "samples": [5]}


def trial(*layers: str, precision: str = "int8", drop: float | None = 0.25) -> Trial:
    return Trial(
        precision=precision,
        float_layers=layers,
        score=0.5,
        drop=drop,
        size_bytes=100,
        seconds=1.5,
        passed=False,
        why="the 2 worst in float",
    )


def test_trials_are_there_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    first = Ledger(path, RUN)
    assert first.resumed == 0
    made = [trial(), trial("a", "b"), trial(precision="int8:ranges=mse", drop=None)]
    for one in made:
        first.add("tflite", one)
    again = Ledger(path, RUN)
    assert again.resumed == 3
    for one in made:
        assert again.get("tflite", one.precision, one.float_layers) == one
    assert again.get("tflite", "int8", ("b", "a")) == made[1]  # the order says nothing
    assert again.get("openvino", "int8", ()) is None
    assert again.get("tflite", "int8", ("a",)) is None
    again.close()
    assert not path.exists()
    again.close()


@given(st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_a_file_cut_anywhere_loses_one_trial_at_most_and_goes_on(cut: int) -> None:
    path = Path(os.environ["PYTEST_LEDGER"])
    path.unlink(missing_ok=True)
    made = [trial("a"), trial("b"), trial("c")]
    first = Ledger(path, RUN)
    for one in made:
        first.add("tflite", one)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    second = Ledger(path, RUN)
    lines = cut // (len(whole) // 3) + 1
    assert 3 - lines <= second.resumed <= 3
    second.add("tflite", trial("d"))
    third = Ledger(path, RUN)
    assert third.resumed == second.resumed + 1
    assert third.get("tflite", "int8", ("d",)) == trial("d")


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_LEDGER", str(tmp_path / "cut"))


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe" * 100,
        b'[]\n{}\n1\nnull\n"x"\n',
        b'{"key": "k", "run": "r"}\n{"key": 5}\n',
        b'{"key": "k", "run": "r", "float_layers": 5}\n',
        b"[" * 100_000,
        b"\n\n\n",
    ],
    ids=["binary", "other JSON", "fields missing", "wrong types", "deep", "empty lines"],
)
def test_garbage_counts_as_nothing_and_is_no_error(garbage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(garbage)
    ledger = Ledger(path, RUN)
    assert ledger.resumed == 0
    ledger.add("tflite", trial("a"))
    assert Ledger(path, RUN).resumed == 1


def test_garbage_between_the_lines_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path, RUN)
    ledger.add("tflite", trial("a"))
    with path.open("ab") as file:
        file.write(b"\xff\xfe garbage")
    ledger.add("tflite", trial("b"))
    assert Ledger(path, RUN).resumed == 2


@pytest.mark.parametrize("key", RUN)
def test_another_run_starts_anew_and_takes_the_files_place(key: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    Ledger(path, RUN).add("tflite", trial("a"))
    other = Ledger(path, {**RUN, key: "other"})
    assert other.resumed == 0
    assert other.get("tflite", "int8", ("a",)) is None
    other.add("tflite", trial("b"))
    assert Ledger(path, {**RUN, key: "other"}).resumed == 1
    assert Ledger(path, RUN).resumed == 0


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    Ledger(path, RUN).add("tflite", trial("a"))
    os.truncate(path, 17 << 20)
    ledger = Ledger(path, RUN)
    assert ledger.resumed == 0
    ledger.add("tflite", trial("b"))
    assert path.stat().st_size < 2000
    assert Ledger(path, RUN).resumed == 1


def test_scores_that_are_not_finite_come_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", RUN)
    ledger.add("tflite", replace(trial("a"), drop=float("inf")))
    again = Ledger(tmp_path / "ledger", RUN).get("tflite", "int8", ("a",))
    assert again is not None
    assert again.drop == float("inf")


@pytest.mark.parametrize("place", ["nowhere/ledger", "folder", "/dev/full"])
def test_a_place_that_cannot_be_written_costs_the_way_back_only(place: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    ledger = Ledger(tmp_path / place, RUN)
    ledger.add("tflite", trial("a"))
    assert ledger.get("tflite", "int8", ("a",)) == trial("a")
    if place != "/dev/full":
        ledger.close()
