"""What inputs and answers are like, in sums that add up."""

import time

import numpy as np
import pytest

from edgekit_agent.baseline import baseline_of
from edgekit_agent.counts import add_counts
from edgekit_agent.observing import MOST_PER_S, MOST_VALUES, SPARED, Observer, classifying, top_classes
from edgekit_agent.runtimes.base import TensorSpec

IMAGE = TensorSpec(name="x", shape=(1, 4, 5, 3), dtype="float32")
SCORES = TensorSpec(name="y", shape=(1, 3), dtype="float32")
PROBABLE = np.array([[0.05, 0.92, 0.03]], np.float32)


def test_an_image_is_told_by_channel_wherever_its_channels_are(rng: np.random.Generator) -> None:
    images = rng.normal((1, 2, 3), (0.1, 0.2, 0.3), (8, 1, 4, 5, 3)).astype(np.float32)
    for spec, axes in (
        (IMAGE, (0, 1, 2, 3)),
        (TensorSpec(name="x", shape=(1, 3, 4, 5), dtype="float32"), (0, 3, 1, 2)),
    ):
        observer = Observer([spec], [])
        for image in images:
            observer.observe([np.ascontiguousarray(image.transpose(axes))], [])
        found = baseline_of(observer.take()).inputs["x"]
        assert found.samples == 8
        assert found.channel_mean == pytest.approx(images.mean(axis=(0, 1, 2, 3)), rel=1e-4)
        assert found.channel_std == pytest.approx(images.std(axis=(0, 1, 2, 3)), rel=1e-3)
        assert found.mean == pytest.approx(images.mean(), rel=1e-4)


def test_stored_values_are_told_as_real_ones() -> None:
    spec = TensorSpec(name="x", shape=(1, 4), dtype="int8", scale=(0.5,), zero_point=(-10,))
    observer = Observer([spec], [])
    observer.observe([np.array([[-10, -8, -6, -4]], np.int8)], [])
    found = baseline_of(observer.take()).inputs["x"]
    assert (found.mean, found.std) == pytest.approx((1.5, 1.25**0.5), rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((1, 224, 224, 3), 3), ((1, 3, 224, 224), 3), ((1, 400, 64), 0), ((1, 100_000), 0), ((2, 160, 160, 1), 0)],
    ids=["last", "second", "frames", "flat", "gray"],
)
def test_of_a_large_input_a_part_stands_for_all(
    rng: np.random.Generator, shape: tuple[int, ...], channels: int
) -> None:
    values = rng.normal(0, 1, shape)
    values += 3 * np.arange(shape[-1]) / shape[-1]  # every part of the last axis is another
    observer = Observer([TensorSpec(name="x", shape=shape, dtype="float32")], [])
    observer.observe([values.astype(np.float32)], [])
    found = observer.take()["in"]["x"]
    assert found["values"] * max(channels, 1) <= MOST_VALUES
    figures = baseline_of({"in": {"x": found}}).inputs["x"]
    assert len(figures.channel_mean) == channels
    assert figures.mean == pytest.approx(values.mean(), abs=0.05)
    assert figures.std == pytest.approx(values.std(), rel=0.05)


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_names_of_things_have_no_mean(dtype: str) -> None:
    observer = Observer([TensorSpec(name="words", shape=(1, 4), dtype=dtype)], [])
    observer.observe([np.ones((1, 4), dtype)], [])
    assert observer.take() == {}


def test_a_sample_with_what_is_no_number_is_left_out() -> None:
    observer = Observer([IMAGE], [])
    good = np.ones(IMAGE.shape, np.float32)
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[0, 0, 0, 0] = value
        observer.observe([bad], [])
    observer.observe([good], [])
    assert baseline_of(observer.take()).inputs["x"].samples == 1


class TestConfidence:
    def test_the_best_score_falls_into_one_of_ten_bins(self) -> None:
        observer = Observer([], [SCORES])
        for top in (0.34, 0.95, 1.0):
            rest = (1 - top) / 2
            observer.observe([], [np.array([[rest, top, rest]], np.float32)])
        found = baseline_of(observer.take()).confidence
        assert found is not None
        assert found.bins == (0, 0, 0, 1, 0, 0, 0, 0, 0, 2)
        assert found.mean == pytest.approx((0.34 + 0.95 + 1) / 3, rel=1e-4)

    @pytest.mark.parametrize("scores", [[4.0, -1.0, 2.0], [0.5, 0.9, 0.7], [-0.5, 1.0, 0.5], [np.nan, 0.5, 0.5]])
    def test_what_is_no_probability_is_not_told(self, scores: list[float]) -> None:
        observer = Observer([], [SCORES])
        observer.observe([], [np.array([scores], np.float32)])
        assert observer.take() == {}

    def test_with_a_softmax_outside_the_model_it_is_made_one(self) -> None:
        observer = Observer([], [SCORES], softmax=True)
        observer.observe([], [np.array([[1000.0, 1000.0, -1000.0]], np.float32)])
        assert observer.take()["conf"] == {"n": 1, "sum": 0.5, "bins": [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]}

    def test_quantized_probabilities_may_miss_1_by_their_rounding(self) -> None:
        spec = TensorSpec(name="y", shape=(1, 200), dtype="int8", scale=(1 / 256,), zero_point=(-128,))
        scores = np.full((1, 200), 1e-3)
        scores[0, 7] = 1 - 0.199
        stored = (np.rint(scores * 256) - 128).astype(np.int8)
        observer = Observer([], [spec])
        observer.observe([], [stored])
        assert observer.take()["conf"]["n"] == 1


def test_what_is_taken_is_gone_and_pieces_add_up() -> None:
    observer, whole = Observer([IMAGE], [SCORES]), Observer([IMAGE], [SCORES])
    total: dict[str, object] = {}
    for value in (1.0, 2.0, 4.0):
        sample = [np.full(IMAGE.shape, value, np.float32)], [PROBABLE]
        observer.observe(*sample)
        whole.observe(*sample)
        add_counts(total, observer.take())
    assert observer.take() == {}
    assert total == whole.take()


def test_the_next_sample_waits_a_hundred_times_as_long_as_one_takes() -> None:
    observer = Observer([TensorSpec(name="x", shape=(1, 16_000), dtype="float32")], [])
    assert observer.due_ns == 0
    sample = np.zeros((1, 16_000), np.float32)
    start = time.perf_counter_ns()
    observer.observe([sample], [])
    cost = time.perf_counter_ns() - start
    assert observer.due_ns - start - cost <= max(SPARED * cost, 10**9 / MOST_PER_S)
    assert observer.due_ns - start >= 10**9 / MOST_PER_S


def test_the_classifying_output_is_the_first_with_several_values() -> None:
    one = TensorSpec(name="n", shape=(1,), dtype="int32")
    assert classifying([one, SCORES]) == 1
    assert classifying([one]) is None
    assert top_classes(np.array([[0, 3, 1], [5, 0, 0]], np.float32), SCORES) == [1, 0]
