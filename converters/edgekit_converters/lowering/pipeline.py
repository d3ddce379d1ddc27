"""From the canonical graph to a proven TFLite file."""

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit_converters import tflite_file
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.flatten import Feeds, Flat, flatten
from edgekit_converters.layout import Layout
from edgekit_converters.lowering import OPS, lower
from edgekit_converters.lowering.graph import Graph, Refusal, RefusedError
from edgekit_converters.lowering.proof import check_weights, prove
from edgekit_converters.lowering.reading import read

if TYPE_CHECKING:
    import onnx_ir as ir

_NOT_TFLITE = ("STABLEHLO_", "CUSTOM", "Flex")
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A TFLite file and the graph it was made of."""

    data: bytes
    described: tflite_file.TFLiteFile
    graph: Graph
    flat: Flat
    notes: tuple[str, ...]
    """What did not get the form it could have had, and why."""


def to_tflite(
    model: "ir.Model", label: str, trials: Iterable[Sequence[Feeds]], *, channels_last: bool = False
) -> Lowered:
    """Lower a model, and prove the file against a run of the source.

    With `channels_last` the file's inputs and outputs of rank 4 and 5 have their channels last.

    Ops without a lowering of their own that ONNX defines as functions are replaced by their bodies.

    Raises:
        UnsupportedError: if it cannot be lowered: names every op that is in the way, and why.
        ModelFileError: if it cannot be run.
    """
    tried = list(trials)
    flat = flatten(model, tried, OPS)
    graph = read(flat, label)
    check_weights(graph)
    try:
        data, notes = lower(graph, channels_last=channels_last)
    except RefusedError as exc:
        bodies = {one.node.op for one in exc.refusals if one.node is not None}
        try:
            flat = flatten(model, tried, OPS, expand=bodies)
            graph = read(flat, label)
            data, notes = lower(graph, channels_last=channels_last)
        except RefusedError:
            raise refused(label, exc.refusals) from exc
    described = tflite_file.parse(data, label)
    _gate(label, described)
    prove(label, data, described, flat, Layout("nhwc" if channels_last else "keep"))
    return Lowered(data=data, described=described, graph=graph, flat=flat, notes=tuple(notes))


def refused(label: str, refusals: Sequence[Refusal]) -> UnsupportedError:
    """Return one error for everything that stands in the way."""
    counted = collections.Counter((one.node.op if one.node else "", one.why) for one in refusals)
    first: dict[tuple[str, str], Refusal] = {}
    for one in refusals:
        first.setdefault((one.node.op if one.node else "", one.why), one)
    lines = [f"{one}{f' ({counted[key]} nodes)' if counted[key] > 1 else ''}" for key, one in first.items()]
    error = UnsupportedError(f"model '{label}': {lines[0]}")
    for line in lines[1:_MOST_SHOWN]:
        error.add_note(f"also {line}")
    if len(lines) > _MOST_SHOWN:
        error.add_note(f"and {len(lines) - _MOST_SHOWN} more")
    error.add_note("try --to openvino")
    return error


def _gate(label: str, described: tflite_file.TFLiteFile) -> None:
    foreign = sorted({op.name for op in described.ops if op.name.startswith(_NOT_TFLITE)})
    if foreign:
        raise UnsupportedError(f"model '{label}': the compiler left {', '.join(foreign)}, which no TFLite runtime has")
