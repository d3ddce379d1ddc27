"""Sounds in files, whole or cut into windows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgekit_agent import feeds
from edgekit_agent.errors import InputDataError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import Array
from edgekit_agent.sources.base import Item, Prepared, Sample, Source, Stored
from edgekit_agent.sources.classes import class_numbers
from edgekit_agent.sources.folder import SOUNDS, files_of
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted

_RANK = 2


class Sounds:
    """Makes inputs of windows of sound: samples [N] with values of -1 to 1."""

    def __init__(self, wanted: Wanted, what: str) -> None:
        """Check that the model takes one sound; a window's length is the one said, or else the model's.

        Raises:
            InputDataError: if it does not.
        """
        if len(wanted.inputs) != 1 or len(wanted.inputs[0].shape) != _RANK:
            raise InputDataError(f"{what} gives sound and the model does not take one sound [N, samples]")
        self._spec = wanted.inputs[0]
        own = self._spec.shape[1]
        self.how: Preprocess = wanted.preprocess
        if self.how.length is None and own > 0:
            self.how = replace(self.how, length=own)

    def window_length(self, what: str) -> int:
        """Return the length of a window, in samples.

        Raises:
            InputDataError: if neither the preprocessing nor the model says it.
        """
        if self.how.length is None:
            error = InputDataError(f"{what} is cut into windows, and nothing says how long one is")
            error.add_note("set preprocess.length, in samples")
            raise error
        return self.how.length

    def hop(self, hop_s: float, rate: int, what: str) -> int:
        """Return the samples from one window's beginning to the next; a whole window where nothing is said."""
        return max(1, round(hop_s * rate)) if hop_s else self.window_length(what)

    def prepare(self, sample: Sample) -> Prepared:
        """Change a window's values and store it."""
        return Prepared([feeds.fit(self.how.window(sample.raw)[None], self._spec, "the sound")])


class SoundSource(Stored):
    """`.wav` files; without a hop one sample a file, as an evaluation reads it; a sub-folder's name is the class."""

    def __init__(self, root: Path, files: Sequence[Path], wanted: Wanted, hop_s: float | None) -> None:
        """Check that the model takes one sound; `hop_s` 0 is a whole window."""
        self._what = f"source '{root}'"
        self._sounds = Sounds(wanted, self._what)
        self.prepare = self._sounds.prepare
        self._files, self._hop_s = files, hop_s
        self._labels = class_numbers(root, files, wanted.classes)
        if hop_s is not None:
            self._sounds.window_length(self._what)

    def samples(self) -> Iterator[Item]:
        """Yield every window of every file; a broken file is an error of its own."""
        for file, label in zip(self._files, self._labels, strict=True):
            try:
                samples, rate = self._sounds.how.heard(file)
            except InputDataError as exc:
                yield exc
                continue
            for window in self._windows(samples, rate):
                yield Sample(window, label)

    def _windows(self, samples: Array, rate: int) -> Iterator[Array]:
        """Yield the windows that are whole; a sound shorter than one is one that ends in silence."""
        if self._hop_s is None:
            yield samples
            return
        length, hop = self._sounds.window_length(self._what), self._sounds.hop(self._hop_s, rate, self._what)
        for begin in range(0, max(1, len(samples) - length + 1), hop):
            yield samples[begin : begin + length]


def open_wav(config: SourceConfig, wanted: Wanted) -> Source:
    """Return the windows of a sound, or of a folder of sounds.

    Raises:
        InputDataError: if there is none, or the model does not take sound.
    """
    path = Path(config.path or "")
    files = files_of(path, SOUNDS) if path.exists() else []
    if not files:
        raise InputDataError(f"source '{path}' {'holds no sounds (.wav)' if path.exists() else 'does not exist'}")
    return SoundSource(path, files, wanted, config.hop_s)
