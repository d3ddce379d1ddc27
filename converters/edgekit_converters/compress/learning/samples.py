"""Calibration data to train on: a part held out, batches in an order of the epoch's own, augmented."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Array, Arrays

AUGMENTS = ("none", "noise", "mixup", "moved", "mirrored")
_OF_IMAGES = frozenset({"moved", "mirrored"})
_NOISE = 0.1  # of an input's standard deviation
_MIXED = 0.4  # of the Beta distribution: most mixtures are near one of the two
_SHIFT = 8  # an image is moved by an eighth of its side at most
_IMAGE = 4  # dimensions
_COLOURS = 4  # channels at most, by which the layout of images is told

Targets = Callable[[tuple[Array, ...]], Arrays]
"""What a teacher says to a batch of inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Inputs [N, ...] in the model's order, and labels [N, ...] by name."""

    inputs: tuple[Array, ...]
    labels: Arrays

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.inputs[0])

    def at(self, rows: Sequence[int] | Array) -> "Samples":
        """Return some of them."""
        return Samples(
            inputs=tuple(one[rows] for one in self.inputs),
            labels={name: one[rows] for name, one in self.labels.items()},
        )


def held_out(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Return those to train on and those to judge by, in an order of the seed's; a share of 0 judges by none."""
    order = np.random.default_rng(seed).permutation(len(samples))
    count = min(round(share * len(samples)), len(samples) - 1) if share else 0
    return samples.at(np.sort(order[count:])), samples.at(np.sort(order[:count]))


def check_augment(how: str, inputs: Sequence[Array]) -> None:
    """Refuse inputs that cannot be augmented so.

    Raises:
        UnsupportedError: if none is of floating point, or none is an image.
    """
    if how == "none":
        return
    if not any(one.dtype.kind == "f" for one in inputs):
        raise UnsupportedError(f"augment={how} is for inputs of floating point, of which it has none")
    if how in _OF_IMAGES and not any(_is_image(one) for one in inputs):
        raise UnsupportedError(f"augment={how} is for inputs of four dimensions, of which it has none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Batches of (inputs, (labels, what the teacher says)); NumPy's global generator says in what order."""

    samples: Samples
    size: int
    augment: str = "none"
    targets: Targets = field(default=lambda _inputs: {})

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return (len(self.samples) + self.size - 1) // self.size

    def __iter__(self) -> Iterator[tuple[tuple[Array, ...], tuple[Arrays, Arrays]]]:
        """Yield an epoch."""
        rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002  # which the loop seeds
        order = rng.permutation(len(self.samples))
        for start in range(0, len(order), self.size):
            batch = _augmented(self.samples.at(order[start : start + self.size]), self.augment, rng)
            yield batch.inputs, (batch.labels, self.targets(batch.inputs))


def _augmented(batch: Samples, how: str, rng: np.random.Generator) -> Samples:
    match how:
        case "noise":
            return _changed(batch, lambda one: _noisy(one, rng))
        case "mixup":
            return _mixed(batch, rng)
        case "moved" | "mirrored":
            share = 1 / 2 if how == "mirrored" else 0.0
            return _changed(batch, lambda one: _moved(one, share, rng) if _is_image(one) else one)
    return batch


def _changed(batch: Samples, change: Callable[[Array], Array]) -> Samples:
    inputs = tuple(change(one).astype(one.dtype) if one.dtype.kind == "f" else one for one in batch.inputs)
    return Samples(inputs=inputs, labels=batch.labels)


def _noisy(array: Array, rng: np.random.Generator) -> Array:
    floats = array.astype(np.float64)
    noisy: Array = floats + _NOISE * floats.std() * rng.standard_normal(floats.shape)
    return noisy


def _mixed(batch: Samples, rng: np.random.Generator) -> Samples:
    """Return mixtures of two samples each (H. Zhang et al., "mixup", ICLR 2018); labels are shares or values."""
    share, order = rng.beta(_MIXED, _MIXED), rng.permutation(len(batch))

    def mix(one: Array) -> Array:
        floats = one.astype(np.float64)
        mixed: Array = (share * floats + (1 - share) * floats[order]).astype(one.dtype)
        return mixed

    return Samples(
        inputs=tuple(mix(one) if one.dtype.kind == "f" else one for one in batch.inputs),
        labels={name: mix(one) for name, one in batch.labels.items()},
    )


def _moved(images: Array, mirrored: float, rng: np.random.Generator) -> Array:
    """Return images moved by some pixels, their edges drawn out; a share of them mirrored."""
    height, width = _sides(images)
    made = images.copy()
    for at, image in enumerate(images):
        turned = np.flip(image, width - 1) if rng.random() < mirrored else image
        for axis in (height - 1, width - 1):
            most = image.shape[axis] // _SHIFT
            places = np.clip(np.arange(image.shape[axis]) + rng.integers(-most, most + 1), 0, image.shape[axis] - 1)
            turned = np.take(turned, places, axis)
        made[at] = turned
    return made


def _is_image(array: Array) -> bool:
    return array.ndim == _IMAGE and array.dtype.kind == "f"


def _sides(images: Array) -> tuple[int, int]:
    """Return the axes of height and width: channels are last where they are few there, and not in front."""
    return (1, 2) if images.shape[3] <= _COLOURS < images.shape[1] else (2, 3)
