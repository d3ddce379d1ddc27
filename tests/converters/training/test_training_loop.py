"""The loop of training, on a small net in NumPy: a real one, with its gradient written out."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.errors import CheckpointError, TrainingError
from edgekit_converters.events import Event
from edgekit_converters.model import Arrays
from edgekit_converters.training import loader
from edgekit_converters.training.loop import Course, Evaluate, Plan, run
from edgekit_converters.training.schedule import Schedule


class LinearNet:
    """y = x w with squared error, stochastic gradient descent with momentum, and noise from a generator of its own."""

    w: Any
    moment: Any

    def __init__(self) -> None:
        """Begin at zero."""
        self.w = np.zeros(3)
        self.moment = np.zeros(3)
        self.rng = np.random.default_rng(0)
        self.rates: list[float] = []
        self.frozen: list[bool] = []

    def seed(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        np.random.seed(seed)  # noqa: NPY002  # what the loaders of these tests draw from

    def step(self, inputs: Any, target: Any, rate: float, *, frozen: bool) -> float:
        self.rates.append(rate)
        self.frozen.append(frozen)
        error = inputs @ self.w - target
        self.moment = 0.9 * self.moment + inputs.T @ error / len(error) + 0.01 * self.rng.normal(size=3)
        self.w = self.w - rate * self.moment
        return float((error**2).mean())

    def predict(self, inputs: Any) -> Any:
        return inputs @ self.w

    def weights(self) -> Arrays:
        return {"w": self.w.copy()}

    def set_weights(self, arrays: Arrays) -> None:
        self.w = arrays["w"].copy()

    def memory(self) -> Arrays:
        state = self.rng.bit_generator.state["state"]
        words = [state[name] >> (64 * at) & (2**64 - 1) for name in ("state", "inc") for at in (0, 1)]
        return {"moment": self.moment.copy(), "rng": np.array(words, np.uint64)}

    def set_memory(self, arrays: Arrays) -> None:
        self.moment = arrays["moment"].copy()
        words = [int(one) for one in arrays["rng"]]
        state: Any = self.rng.bit_generator.state
        state["state"] = {"state": words[0] | words[1] << 64, "inc": words[2] | words[3] << 64}
        self.rng.bit_generator.state = state


class Shuffled:
    """Batches in an order of the epoch's own."""

    def __init__(self, kill_at: int = 0) -> None:
        """Make the samples; the process is killed when batch `kill_at` of all epochs (from 1) is asked for."""
        rng = np.random.default_rng(1)
        self.x = rng.normal(size=(80, 3))
        self.y = self.x @ np.array([1.0, -2.0, 0.5])
        self.given, self.kill_at = 0, kill_at

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return 8

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield an epoch."""
        order = np.random.permutation(80)  # noqa: NPY002  # as many users' loaders do
        for at in range(8):
            self.given += 1
            if self.given == self.kill_at:
                raise KeyboardInterrupt
            rows = order[10 * at : 10 * at + 10]
            yield self.x[rows], self.y[rows]


def train(
    net: LinearNet, data: Any, evaluate: Evaluate | None = None, on_event: Any = lambda _: None, **given: Any
) -> Course:
    options = Schedule(**{"epochs": 4, "learning_rate": 0.05, **given})
    return run(net, Plan(train_data=data, options=options, evaluate=evaluate, on_event=on_event))


def closeness(predict: Any) -> float:
    data = Shuffled()
    return -float(((predict(data.x) - data.y) ** 2).mean())


def test_it_learns_and_tells_how_it_went() -> None:
    net, told = LinearNet(), list[Event]()
    course = train(net, Shuffled(), closeness, told.append, epochs=12)
    np.testing.assert_allclose(net.w, [1, -2, 0.5], atol=0.1)
    assert len(course.losses) == 12
    assert len(course.scores) == 13
    assert course.losses[0] > 10 * course.losses[-1]
    assert not course.stopped_early
    assert (told[-1].done, told[-1].total) == (12, 12)
    assert "epoch 12 of 12: loss " in told[-1].detail


def test_the_rate_rises_then_falls_to_nearly_nothing() -> None:
    net = LinearNet()
    train(net, Shuffled(), epochs=10, learning_rate=0.01)
    assert net.rates[0] < 0.001
    assert max(net.rates) > 0.0085
    assert net.rates.index(max(net.rates)) < 25
    assert net.rates[-1] < 0.0002


def test_statistics_freeze_after_their_share_of_the_training() -> None:
    net = LinearNet()
    train(net, Shuffled(), epochs=4, freeze_after=0.5)
    assert net.frozen == [False] * 16 + [True] * 16


def test_the_best_epoch_is_kept_and_patience_ends_it() -> None:
    marks, seen = iter([0.1, 0.5, 0.9, 0.9, 0.3, 0.2, 0.1, 0.0]), list[Any]()

    def evaluate(predict: Any) -> float:
        seen.append(predict(np.eye(3)))
        return next(marks)

    net = LinearNet()
    course = train(net, Shuffled(), evaluate, epochs=7, patience=3)
    assert course.scores == (0.1, 0.5, 0.9, 0.9, 0.3, 0.2)
    assert course.best_epoch == 2
    assert course.stopped_early
    np.testing.assert_array_equal(net.w, seen[2])


def test_a_net_that_only_gets_worse_stays_as_it_was() -> None:
    marks = iter([0.9, 0.5, 0.4, 0.3, 0.2])
    net = LinearNet()
    course = train(net, Shuffled(), lambda _predict: next(marks))
    assert course.best_epoch == 0
    np.testing.assert_array_equal(net.w, np.zeros(3))


@pytest.mark.parametrize("kill_at", [2, 8, 9, 17, 30], ids="killed in batch {}".format)
def test_after_a_kill_it_goes_on_to_the_same_result(tmp_path: Path, kill_at: int) -> None:
    whole = LinearNet()
    expected = train(whole, Shuffled(), closeness)
    file = tmp_path / "train.npz"
    with pytest.raises(KeyboardInterrupt):
        train(LinearNet(), Shuffled(kill_at), closeness, checkpoint=file, checkpoint_every_s=0)
    net, told = LinearNet(), list[Event]()
    course = train(net, Shuffled(), closeness, told.append, checkpoint=file, checkpoint_every_s=0)
    assert "going on" in told[0].detail
    assert course == expected
    np.testing.assert_array_equal(net.w, whole.w)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "train.npz"
    first = LinearNet()
    expected = train(first, Shuffled(), closeness, checkpoint=file)
    again = LinearNet()
    assert train(again, Shuffled(), closeness, checkpoint=file) == expected
    assert not again.rates
    np.testing.assert_array_equal(again.w, first.w)


def test_a_checkpoint_of_other_options_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.npz"
    train(LinearNet(), Shuffled(), checkpoint=file)
    with pytest.raises(TrainingError, match=r"was made with seed 0, not 1") as caught:
        train(LinearNet(), Shuffled(), checkpoint=file, seed=1)
    assert "remove the file" in caught.value.__notes__[0]


def test_a_checkpoint_of_another_net_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.npz"
    train(LinearNet(), Shuffled(), checkpoint=file)
    other = LinearNet()
    other.w = np.zeros(2)
    with pytest.raises(TrainingError, match=r"of another net: it has no 'w' of shape \(2,\)"):
        train(other, Shuffled(), checkpoint=file)


def pickled(path: Path) -> None:
    stored: Any = {"progress.json": np.array([{}], dtype=object)}
    np.savez(path, **stored)


def half(path: Path) -> None:
    train(LinearNet(), Shuffled(), checkpoint=path)
    path.write_bytes(path.read_bytes()[:700])


def huge(path: Path) -> None:
    train(LinearNet(), Shuffled(), checkpoint=path)
    with np.load(path) as stored:
        arrays: Any = dict(stored)
    np.savez_compressed(path, **arrays, more=np.zeros(40 << 20, np.uint8))


def empty(path: Path) -> None:
    stored: Any = {"progress.json": np.frombuffer(b"{}", np.uint8)}
    np.savez(path, **stored)


@pytest.mark.parametrize("damage", [pickled, half, huge, empty])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path, damage: Any) -> None:
    file = tmp_path / "train.npz"
    damage(file)
    with pytest.raises(
        TrainingError, match=r"checkpoint '.*train.npz' (is damaged or none|holds more than this net has)"
    ):
        train(LinearNet(), Shuffled(), checkpoint=file)


def test_a_checkpoint_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"checkpoint '.*' cannot be written: File exists"):
        train(LinearNet(), Shuffled(), checkpoint=tmp_path / "file" / "train.npz")


def test_a_loss_that_is_no_number_ends_it_with_where_it_was() -> None:
    data = [(np.ones((4, 3)), np.ones(4))] * 3
    data[1] = (np.full((4, 3), np.nan), np.ones(4))
    with pytest.raises(TrainingError, match="the loss is nan in batch 2 of epoch 1") as caught:
        train(LinearNet(), data)
    assert "lower learning rate" in caught.value.__notes__[0]


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(TrainingError, match="the score is nan after epoch 0"):
        train(LinearNet(), Shuffled(), lambda _predict: math.nan)


def test_a_loader_that_is_empty_in_the_second_epoch_is_refused_with_a_hint() -> None:
    class Once:
        def __init__(self) -> None:
            self.left = [(np.ones((4, 3)), np.ones(4))]

        def __iter__(self) -> Iterator[Any]:
            while self.left:
                yield self.left.pop()

    with pytest.raises(TrainingError, match="no batches in epoch 2") as caught:
        train(LinearNet(), Once())
    assert "only once" in caught.value.__notes__[0]


def test_an_iterator_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(TrainingError, match="only once: it is an iterator") as caught:
        loader.check_again(iter([(1, 2)]))
    assert "DataLoader" in caught.value.__notes__[0]
    with pytest.raises(TrainingError, match="type 'int', which has no batches"):
        loader.check_again(3)  # type: ignore[arg-type]  # what it is for


@pytest.mark.parametrize(
    ("batch", "what"),
    [(np.ones(4), "of type 'ndarray'"), ((1, 2, 3), "a tuple of 3"), ({"x": 1}, "of type 'dict'")],
)
def test_a_batch_that_is_no_pair_is_named(batch: object, what: str) -> None:
    with pytest.raises(TrainingError, match=rf"batch 0 of train_data is not \(inputs, target\) but {what}"):
        list(loader.batches([batch], 0))


def test_calibration_takes_whole_batches_until_there_are_enough() -> None:
    batches = [((np.ones((4, 2)), np.ones((4, 1))), np.ones(4))] * 5
    assert len(loader.first_samples(batches, 9)) == 3
    assert len(loader.first_samples(batches, 900)) == 5
