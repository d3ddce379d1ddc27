"""The same samples for two models: each in its own names, layout, type and batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from edgekit_converters.data import bind, is_whole, run_size, runs
from edgekit_converters.errors import ModelFileError
from edgekit_converters.layers.base import LayeredModel
from edgekit_converters.layers.grid import to_real, to_stored
from edgekit_converters.layers.view import Value
from edgekit_converters.model import Array, Arrays, TensorSpec, said

Axes = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What both models are given in one run, by the places of their inputs; `rows` of the batch are samples.

    `rows` is None where the run is one whole sample, however its inputs look.
    """

    first: dict[int, Array]
    second: dict[int, Array]
    rows: int | None

    @property
    def size(self) -> int | None:
        """The batch both models are run with; None where the run is one whole sample."""
        return None if self.rows is None else len(next(iter(self.first.values())))

    def samples(self, array: Array) -> Array:
        """Return an array of this run without the rows that only fill a fixed batch up."""
        return array[: self.rows] if self.rows != self.size and array.ndim and len(array) == self.size else array


def feeds(first: LayeredModel, second: LayeredModel, arrays: Arrays, free: int) -> Iterator[Feed]:
    """Yield the runs of all samples; a batch that is free in both models is `free` samples.

    Arrays [N, ...] are as the first model takes them; the second's inputs are found by name or order, and their axes
    turned where the layout is another. An array of a quantized input's own type holds stored values, others real ones.

    Raises:
        CalibrationError: if the arrays do not fit the first model.
        ModelFileError: if the models' inputs do not fit each other.
    """
    partners = _partners(first, second)
    specs = _specs(first, second, arrays)
    bound = bind(arrays, specs)
    whole = any(is_whole(bound[spec.name], spec) for spec in specs)
    size, left = run_size(bound, specs, free), len(next(iter(bound.values())))
    for one in runs(bound, specs, free):
        ours = {first.inputs[name]: _seen(array, first.view.values[first.inputs[name]]) for name, array in one.items()}
        turned = {at: ours[place] if axes is None else ours[place].transpose(axes) for place, at, axes in partners}
        yield Feed(
            first=ours,
            second={at: _seen(array, second.view.values[at]) for at, array in turned.items()},
            rows=None if whole else min(size, left),
        )
        left -= size


def _seen(array: Array, value: Value) -> Array:
    """Return the real values that are left of an array once the input has stored it."""
    return to_real(to_stored(array, value), value)


def _specs(first: LayeredModel, second: LayeredModel, arrays: Arrays) -> tuple[TensorSpec, ...]:
    """Return the first model's inputs as the data is to have them."""
    made = []
    for name, place in first.inputs.items():
        value = first.view.values[place]
        given = arrays.get(name, next(iter(arrays.values())))
        real = value.quantization is not None and np.asarray(given).dtype != np.dtype(value.dtype)
        made.append(TensorSpec(name=name, shape=value.shape or (), dtype="float32" if real else value.dtype))
    fixed = {_batch(model) for model in (first, second)} - {None}
    if len(fixed) > 1:
        sizes = " and ".join(str(_batch(model)) for model in (first, second))
        raise ModelFileError(f"the models take batches of {sizes} samples and cannot be run side by side")
    if fixed and all(one.shape and one.shape[0] is None for one in made):
        made = [replace(one, shape=(*fixed, *one.shape[1:])) for one in made]
    return tuple(made)


def _batch(model: LayeredModel) -> int | None:
    """Return the batch all inputs of a model begin with, where it is fixed."""
    sizes = {shape[0] if (shape := model.view.values[place].shape) else None for place in model.inputs.values()}
    return next(iter(sizes)) if len(sizes) == 1 else None


def _partners(first: LayeredModel, second: LayeredModel) -> list[tuple[int, int, Axes | None]]:
    """Return for each input of the first its place, the second's, and the order of axes there."""
    if len(first.inputs) != len(second.inputs):
        raise ModelFileError(f"the models' inputs differ: {_listed(first)} against {_listed(second)}")
    named = set(first.inputs) == set(second.inputs)
    found = []
    for at, (name, place) in enumerate(first.inputs.items()):
        other = second.inputs[name] if named else list(second.inputs.values())[at]
        a, b = (model.view.values[one].shape or () for model, one in ((first, place), (second, other)))
        axes = _axes(a, b)
        if axes is None:
            theirs = f"'{second.view.values[other].name}' {said(b)}"
            raise ModelFileError(f"the models' inputs do not fit: '{name}' is {said(a)}, and {theirs}")
        found.append((place, other, None if axes == tuple(range(len(b))) else axes))
    return found


def _axes(first: Sequence[int | None], second: Sequence[int | None]) -> Axes | None:
    """Return the order of the first's axes that gives the second's shape; None where there is none."""
    if len(first) != len(second):
        return None
    for order in permutations(range(len(first))):  # the same order comes first
        sizes = [(first[at], size) for at, size in zip(order, second, strict=True)]
        if order[:1] in {(), (0,)} and all(a == b or None in {a, b} for a, b in sizes):
            return order
    return None


def _listed(model: LayeredModel) -> str:
    return ", ".join(f"{name} {said(model.view.values[at].shape or ())}" for name, at in model.inputs.items())
