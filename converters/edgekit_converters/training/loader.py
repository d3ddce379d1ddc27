"""The user's batches: any iterable that can be gone through again, of (inputs, target)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from edgekit_converters.errors import TrainingError

Tree = Any  # a tensor or array of any framework, or tuples, lists and dicts of them
Batch = tuple[Tree, Tree]
Batches = Iterable[Any]

_PAIR = 2


def check_again(train_data: Batches) -> None:
    """Check that the data can be gone through more than once.

    Raises:
        TrainingError: if it is an iterator, which is empty after one epoch, or nothing to go through.
    """
    try:
        first = iter(train_data)
    except TypeError as exc:
        raise TrainingError(f"train_data is of type '{type(train_data).__name__}', which has no batches") from exc
    if first is train_data:
        error = TrainingError("train_data can be gone through only once: it is an iterator")
        error.add_note("give a list of batches, a torch DataLoader, a tf.data.Dataset or an object with __iter__")
        raise error


def length(train_data: Batches) -> int | None:
    """Return the number of batches where the data knows it."""
    try:
        count = len(train_data)  # type: ignore[arg-type]  # not every iterable has one, which is what is asked
    except TypeError:  # no `__len__`, or a tf.data.Dataset that does not know
        return None
    return count if count > 0 else None


def batches(train_data: Batches, epoch: int) -> Iterator[Batch]:
    """Yield the batches of an epoch, counted from 0.

    Raises:
        TrainingError: if there are none, or one is not (inputs, target).
    """
    number = -1
    for number, batch in enumerate(train_data):
        if not isinstance(batch, (tuple, list)) or len(batch) != _PAIR:
            raise TrainingError(f"batch {number} of train_data is not (inputs, target) but {_kind(batch)}")
        yield batch[0], batch[1]
    if number < 0:
        error = TrainingError(f"train_data has no batches in epoch {epoch + 1}")
        if epoch:
            error.add_note("it can be gone through only once: give a list of batches or a loader that starts again")
        raise error


def first_samples(train_data: Batches, samples: int) -> list[Tree]:
    """Return the inputs of the first batches: as many as hold so many samples, or all there are."""
    taken: list[Tree] = []
    count = 0
    for inputs, _ in islice(batches(train_data, 0), samples):
        taken.append(inputs)
        count += len(leaves(inputs)[0])
        if count >= samples:
            break
    return taken


def mapped(function: Callable[[Any], Any], value: Tree) -> Tree:
    """Return the same tuples, lists and dicts with `function` of each leaf."""
    if isinstance(value, Mapping):
        return {key: mapped(function, one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)([mapped(function, one) for one in value])
    return function(value)


def leaves(value: Tree) -> list[Any]:
    """Return what lies in tuples, lists and dicts, in order."""
    found: list[Any] = []
    mapped(found.append, value)
    return found


def _kind(batch: object) -> str:
    what = type(batch).__name__
    return f"a {what} of {len(batch)}" if isinstance(batch, (tuple, list)) else f"of type '{what}'"
