"""The model that a student learns from: run by ONNX Runtime, so that it may hold any operator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.data import is_whole, run_size, runs
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import run_session, session
from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir


class Teacher:
    """A model asked for some of its values, sample by sample, whatever batch it was made for."""

    def __init__(self, model: "ir.Model", names: Sequence[str], file: Path) -> None:
        """Make the values outputs; `file` is where the model with them is written, a scratch file.

        Raises:
            ModelFileError: if ONNX Runtime does not take the model.
        """
        self._inputs = graph_model.specs(graph_model.inputs_of(model))
        self._names = list(dict.fromkeys(names))
        opened = model.clone()
        known = {str(one.name): one for node in opened.graph for one in node.outputs}
        known |= {str(one.name): one for one in opened.graph.inputs}
        opened.graph.outputs.clear()
        opened.graph.outputs.extend(known[name] for name in self._names)
        graph_model.save(opened, file)
        self._session = session(file, optimise=True)
        self.digest: str = graph_model.fingerprint(file, opened)["sha256"]
        """What tells it from any other."""

    def __call__(self, inputs: Sequence[Array]) -> dict[str, Array]:
        """Return the values [N, ...] by name.

        Raises:
            UnsupportedError: if the model stops on the samples.
        """
        arrays = {spec.name: one for spec, one in zip(self._inputs, inputs, strict=True)}
        count = len(inputs[0])
        size = run_size(arrays, self._inputs, count)
        whole = any(is_whole(arrays[spec.name], spec) for spec in self._inputs)
        made: list[list[Array]] = []
        for feed in runs(arrays, self._inputs, count):
            try:
                made.append(run_session(self._session, self._names, feed))
            except Exception as exc:  # its exceptions have no common base
                raise UnsupportedError(f"the teacher stops on the data: {first_line(exc)}") from exc
        columns = (_samples(list(one), count, size, whole=whole) for one in zip(*made, strict=True))
        return dict(zip(self._names, columns, strict=True))


def _samples(parts: list[Array], count: int, size: int, *, whole: bool) -> Array:
    """Return what runs gave as samples [count, ...], as `torch_graph.samples` does."""
    if whole or parts[0].ndim == 0 or (parts[0].shape[0] != size):
        return np.stack(parts)
    return np.concatenate(parts)[:count]


def paired(student: "ir.Model", teacher: "ir.Model") -> Mapping[str, str]:
    """Return the teacher's outputs by the student's: those of a name, or in their order.

    Raises:
        UnsupportedError: if inputs or outputs are not alike.
    """
    given, taken = (graph_model.specs(graph_model.inputs_of(one)) for one in (student, teacher))
    if len(given) != len(taken) or any(
        not _alike(a.shape[1:], b.shape[1:]) or a.dtype != b.dtype for a, b in zip(given, taken, strict=True)
    ):
        shown = [", ".join(f"{one.name} {one.dtype} {one.shape}" for one in side) for side in (taken, given)]
        raise UnsupportedError(f"the teacher takes {shown[0]}, the student {shown[1]}")
    mine, others = ({str(one.name): one for one in model.graph.outputs} for model in (student, teacher))
    names = dict.fromkeys(mine) if mine.keys() <= others.keys() else None
    pairs = {name: name for name in names} if names is not None else dict(zip(mine, others, strict=False))
    for name, other in pairs.items():
        sizes = graph_model.dimensions(mine[name])[1:], graph_model.dimensions(others[other])[1:]
        if not _alike(*sizes):
            raise UnsupportedError(f"the teacher's output '{other}' is of {sizes[1]}, the student's of {sizes[0]}")
    return pairs


def _alike(shape: Sequence[int | None], other: Sequence[int | None]) -> bool:
    return len(shape) == len(other) and all(None in {a, b} or a == b for a, b in zip(shape, other, strict=True))
