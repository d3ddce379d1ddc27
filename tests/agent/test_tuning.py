"""How many threads are taken where that is left to be measured."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgekit_agent import loading, runtimes, tuning
from edgekit_agent.bench import Timing
from edgekit_agent.config import ModelConfig
from edgekit_agent.runtimes.base import Session
from edgekit_agent.tuning import Tuned, best, counts, remembered, tune

KEY = ("sha256:1", "null 1", "CPU")


@pytest.fixture
def loads(tmp_path: Path) -> Callable[[Mapping[int, float]], Callable[[int], Session]]:
    """Makes what loads a model that takes so many milliseconds with so many threads."""

    def make(latency_ms: Mapping[int, float]) -> Callable[[int], Session]:
        def load(threads: int) -> Session:
            port = {"name": "x", "shape": [1, 1], "dtype": "float32"}
            path = tmp_path / f"{threads}.null"
            path.write_text(json.dumps({"inputs": [port], "outputs": [port], "latency_ms": [latency_ms[threads]]}))
            return runtimes.get("null").load(path)

        return load

    return make


def timing(*milliseconds: float) -> Timing:
    return Timing(seconds=tuple(one / 1000 for one in milliseconds))


def test_all_numbers_are_tried_up_to_four_and_then_powers_of_two() -> None:
    assert counts(1) == (1,)
    assert counts(3) == (1, 2, 3)
    assert counts(12) == (1, 2, 3, 4, 8, 12)


def test_the_fastest_is_taken(loads: Callable[..., Callable[[int], Session]]) -> None:
    tuned = tune(loads({1: 9, 2: 3, 3: 6, 4: 9}), 4, 2.0)
    assert tuned.threads == 2
    assert set(tuned.p50_ms) == {1, 2, 3, 4}


def test_a_slow_model_is_tried_with_one_and_with_all_threads(loads: Callable[..., Callable[[int], Session]]) -> None:
    tuned = tune(loads({1: 200, 2: 150, 3: 120, 4: 100}), 4, 0.1)
    assert set(tuned.p50_ms) == {1, 4}
    assert tuned.threads == 4


@pytest.mark.parametrize(
    ("found", "threads"),
    [
        ({1: timing(10, 10, 10), 2: timing(9.8, 9.8, 9.8)}, 1),
        ({1: timing(10, 10, 10), 2: timing(9, 9, 9)}, 2),
        ({1: timing(10, 10, 10), 2: timing(8, 9, 12)}, 1),
        ({1: timing(20, 20, 20), 2: timing(1, 10, 19)}, 2),
        ({4: timing(10), 2: timing(10.3), 1: timing(19)}, 2),
    ],
    ids=["within 5 %", "faster", "within its spread", "spread is no excuse for half the speed", "fewest of equals"],
)
def test_the_fewest_threads_of_those_as_fast_are_taken(found: dict[int, Timing], threads: int) -> None:
    assert best(found) == threads


class TestRemembered:
    def test_it_is_measured_once(self, tmp_path: Path) -> None:
        measured = []

        def measure() -> Tuned:
            measured.append(1)
            return Tuned(threads=2, p50_ms={1: 3.0, 2: 2.0})

        assert not remembered(tmp_path / "t", KEY, measure).remembered
        again = remembered(tmp_path / "t", KEY, measure)
        assert (again.threads, again.p50_ms, again.remembered) == (2, {1: 3.0, 2: 2.0}, True)
        assert len(measured) == 1
        remembered(tmp_path / "t", (*KEY, "another processor"), measure)
        assert len(measured) == 2

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[" * 100_000, b'{"generation": 1, "sha256": "0", "state": {}}'],
        ids=["empty", "cut", "deep", "another digest"],
    )
    def test_what_cannot_be_read_is_measured_again(self, tmp_path: Path, content: bytes) -> None:
        remembered(tmp_path, KEY, lambda: Tuned(threads=2, p50_ms={2: 1.0}))
        for path in tmp_path.glob("*.json*"):
            path.write_bytes(content)
        assert remembered(tmp_path, KEY, lambda: Tuned(threads=1, p50_ms={1: 1.0})).threads == 1

    def test_a_disk_that_takes_nothing_is_no_reason_not_to_start(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        assert remembered(tmp_path / "file" / "t", KEY, lambda: Tuned(threads=3, p50_ms={3: 1.0})).threads == 3

    def test_the_oldest_are_forgotten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tuning, "REMEMBERED", 3)
        for number in range(6):
            remembered(tmp_path, (str(number),), lambda: Tuned(threads=1, p50_ms={1: 1.0}))
        assert len(list(tmp_path.glob("*.json"))) == 3


class TestPlan:
    def config(self, models: Path, tmp_path: Path, **more: object) -> ModelConfig:
        values = {"path": str(models / "dense.tflite"), "cache_dir": str(tmp_path / "cache"), **more}
        return ModelConfig(name="m", **values)  # type: ignore[arg-type]  # fields by name

    def test_what_is_tuned_is_told_and_the_same_at_the_next_start(self, models: Path, tmp_path: Path) -> None:
        pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
        first, second = (loading.plan(self.config(models, tmp_path, threads="auto", tune_s=0.2)) for _ in range(2))
        assert first.tuned is not None
        assert second.tuned is not None
        assert (first.tuned.remembered, second.tuned.remembered) == (False, True)
        assert second.options.threads == first.options.threads
        told = second.told(second.load())
        assert told["tuned"] == second.tuned.to_json()
        assert told["threads"] == first.tuned.threads

    @pytest.mark.slow
    def test_what_openvino_compiles_is_there_for_the_next_start_of_the_same_model(
        self, models: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("openvino", reason="needs openvino")

        def cached(**more: object) -> bool:
            session = loading.plan(self.config(models, tmp_path, runtime="openvino", **more)).load()
            return bool(session._compiled.get_property("LOADED_FROM_CACHE"))  # type: ignore[attr-defined]

        assert [cached(), cached()] == [False, True]
        assert [cached(threads=2), cached(path=str(models / "dense.onnx"))] == [False, False]
        assert len(list((tmp_path / "cache" / "openvino").iterdir())) == 3

    def test_a_number_is_taken_as_it_is(self, models: Path, tmp_path: Path) -> None:
        pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
        chosen = loading.plan(self.config(models, tmp_path, threads=3))
        assert (chosen.options.threads, chosen.tuned) == (3, None)
        assert "tuned" not in chosen.told(chosen.load())
