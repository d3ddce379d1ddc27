"""Arrays brought into a model's inputs."""

from pathlib import Path

import numpy as np
import pytest

from edgekit_agent import feeds
from edgekit_agent.errors import InputDataError
from edgekit_agent.runtimes.base import TensorSpec

X = TensorSpec(name="image", shape=(1, 2), dtype="float32")
PAIR = (TensorSpec(name="zeta", shape=(1, 2), dtype="float32"), TensorSpec(name="alpha", shape=(1,), dtype="int32"))


def test_arrays_come_in_the_order_of_the_inputs() -> None:
    arrays = {"alpha": np.arange(3), "zeta": np.ones((3, 2))}
    first, second = feeds.by_input(arrays, PAIR, "data")
    assert (first.shape, second.shape) == ((3, 2), (3,))


def test_a_single_input_may_be_called_x() -> None:
    (only,) = feeds.by_input({"x": np.ones((4, 2))}, [X], "data")
    assert only.shape == (4, 2)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"zeta": np.ones((3, 2))}, "'alpha' is missing"),
        ({"zeta": np.ones((3, 2)), "alpha": np.ones(3), "z": np.ones(3)}, "'z' is no input"),
        ({"zeta": np.ones((3, 2)), "alpha": np.ones(4)}, "the same number of samples"),
        ({"zeta": np.ones((0, 2)), "alpha": np.ones(0)}, "at least one"),
        ({"zeta": np.ones(()), "alpha": np.ones(1)}, "the same number of samples"),
    ],
)
def test_names_and_counts_that_do_not_fit_are_refused(
    arrays: "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]", sentence: str
) -> None:
    with pytest.raises(InputDataError, match=sentence):
        feeds.by_input(arrays, PAIR, "data")


def test_a_wrong_name_brings_the_right_ones() -> None:
    with pytest.raises(InputDataError) as caught:
        feeds.by_input({"img": np.ones((1, 2))}, [X], "data")
    assert caught.value.__notes__ == ["the model's inputs are: image; a model with one input also takes 'x'"]


def test_a_wrong_shape_names_both() -> None:
    with pytest.raises(InputDataError, match="'image' takes 1x2 and 1x3 was given"):
        feeds.fit(np.ones((1, 3), dtype=np.float32), X, "data")


@pytest.mark.parametrize(
    ("shapes", "samples", "batch"),
    [
        ([(2, 3)], [(5, 3)], 2),
        ([(-1, 3)], [(5, 3)], 1),
        ([(1, 3)], [(5, 3)], 1),
        ([(2, 3), (2,)], [(5, 3), (5,)], 2),
        ([(2, 3), (4,)], [(5, 3), (5,)], 1),
        ([(2, 3)], [(5, 2, 3)], 1),
    ],
    ids=["fixed", "free", "one", "fixed alike", "no batch", "whole inputs"],
)
def test_a_run_takes_as_many_samples_as_the_inputs_are_fixed_to(
    shapes: list[tuple[int, ...]], samples: list[tuple[int, ...]], batch: int
) -> None:
    specs = [TensorSpec(name=f"i{at}", shape=shape, dtype="float32") for at, shape in enumerate(shapes)]
    assert feeds.batch_of([np.ones(one) for one in samples], specs) == batch


def test_a_free_dimension_takes_any_size() -> None:
    free = TensorSpec(name="x", shape=(1, -1), dtype="float32")
    assert feeds.fit(np.ones((1, 7)), free, "data").shape == (1, 7)


@pytest.mark.parametrize("values", [["a", "b"], [1j, 2j]], ids=["text", "complex"])
def test_what_is_no_number_is_refused(values: list[object]) -> None:
    with pytest.raises(InputDataError, match="takes numbers"):
        feeds.fit(np.array([values]), X, "data")


def test_the_last_run_repeats_its_last_sample() -> None:
    spec = TensorSpec(name="x", shape=(4, 1), dtype="float32")
    found = [run[0].ravel().tolist() for run in feeds.runs([np.arange(6.0)[:, None]], [spec], "data", 4)]
    assert found == [[0, 1, 2, 3], [4, 5, 5, 5]]


def test_synthetic_inputs_follow_the_seed_and_the_type() -> None:
    specs = (
        TensorSpec(name="f", shape=(1, 3), dtype="float32"),
        TensorSpec(name="q", shape=(1, -1), dtype="int8", scale=(0.1,), zero_point=(0,)),
        TensorSpec(name="i", shape=(1, 64), dtype="int64"),
        TensorSpec(name="b", shape=(1,), dtype="bool"),
    )
    one, same, other = (feeds.synthetic(specs, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one[0], same[0], strict=True))
    assert not np.array_equal(one[0][0], other[0][0])
    assert [array.dtype.name for array in one[0]] == ["float32", "int8", "int64", "bool"]
    assert one[0][1].shape == (1, feeds.FREE)
    assert {int(index) for run in one for index in run[2].ravel()} == {0, 1}, "an index that a table may not have"


def test_a_free_dimension_of_inputs_that_share_no_batch_may_be_one() -> None:
    sound = TensorSpec(name="sound", shape=(1, 512), dtype="float32")
    state = TensorSpec(name="state", shape=(2, -1, 128), dtype="float32")
    assert [array.shape for array in feeds.synthetic((sound, state), 0, 1)[0]] == [(1, 512), (2, 1, 128)]


def test_an_archive_with_pickles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputDataError, match=r"bad\.npz"):
        feeds.read_npz(path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"], ids=["empty", "text", "cut"])
def test_a_broken_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(InputDataError, match=r"bad\.npz"):
        feeds.read_npz(path)


def test_a_sample_may_be_the_whole_input_of_a_run() -> None:
    state = TensorSpec(name="state", shape=(2, 1, 4), dtype="float32")
    rate = TensorSpec(name="rate", shape=(), dtype="int32")
    arrays = {"image": np.ones((3, 2)), "state": np.arange(24.0).reshape(3, 2, 1, 4), "rate": np.arange(3)}
    specs = [X, state, rate]
    made = list(feeds.runs(feeds.by_input(arrays, specs, "data"), specs, "data"))
    assert [[one.shape for one in arrays] for arrays in made] == [[(1, 2), (2, 1, 4), ()]] * 3
    assert made[2][1].ravel().tolist() == list(range(16, 24))
