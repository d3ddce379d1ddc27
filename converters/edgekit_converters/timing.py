"""How much of a model's time another form of it takes, on the runtimes of the targets it is for."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from edgekit_converters.backends.base import Failure
from edgekit_converters.compress.latency import Timed
from edgekit_converters.errors import ConversionError, UnsupportedError
from edgekit_converters.model import Arrays, Artifact
from edgekit_converters.workshop import FLOAT, Workshop

Stopwatch = Callable[[Mapping[str, Path], Arrays], Mapping[str, float]]
"""Runs artifacts on inputs [N, ...] in turns, in one process; returns the median of each one's times, in ms, by name.

Whoever has runtimes gives it. Raises where an artifact cannot be run.
"""
SAMPLES = 16
"""Inputs that are run: time hardly depends on values."""


def timed_by(stopwatch: Stopwatch, shop: Workshop, targets: Sequence[str], inputs: Arrays) -> Timed:
    """Return what times ONNX files of a shop's model in float; of several targets the one that gains least counts.

    Args:
        stopwatch: times artifacts.
        shop: of the model; its folder takes the artifacts.
        targets: the formats; one that the model cannot be had in does not count.
        inputs: samples [N, ...] by the source's input names, to run.
    """
    few = {name: array[:SAMPLES] for name, array in inputs.items()}
    given = shop.layout.to_artifact(few, shop.loaded.source.inputs)

    @cache
    def forms(file: Path) -> dict[str, Artifact | Failure]:
        try:
            return shop.of(file, shop.work / f"timed-{file.parent.name}-{file.stem}").floats(targets)
        except ConversionError as exc:
            return {target: Failure(format=target, precision=FLOAT, error=exc) for target in targets}

    def share(before: Path, candidate: Path) -> float:
        whole, part = forms(before), forms(candidate)
        counted = [target for target, one in whole.items() if isinstance(one, Artifact)]
        if not counted:
            first = next(one.error for one in whole.values() if isinstance(one, Failure))
            raise UnsupportedError(f"the model cannot be timed: {first}") from first
        paths = {}
        for target in counted:
            for name, made in (("before", whole[target]), ("candidate", part[target])):
                if isinstance(made, Failure):
                    raise made.error
                paths[f"{name}-{target}"] = made.path
        times = stopwatch(paths, given)
        return max(times[f"candidate-{target}"] / times[f"before-{target}"] for target in counted)

    return share
