"""`If`, `Loop` and `Scan` written out as plain nodes, as far as their course is known beforehand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.rounds import UncountedError, count_rounds
from edgekit_converters.graph.subgraphs import Body, Names, count_nodes
from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir

Proto = Any  # onnx's protobuf classes
_CHOICE = "an If decided at run time"  # the doc string of a `Where` made here
_UNEVEN = "it stands for an 'If' decided at run time, whose branches give different shapes"
MAX_NODES = 20_000  # of one loop written out, or of both branches of an `If`
_AXES_AS_INPUT = 13  # from this opset on, of Unsqueeze
_SCAN_WITHOUT_BATCH = 9


class _UnknownError(Exception):
    """A node's course is not known; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What became of a model's control flow."""

    changed: bool
    warnings: tuple[str, ...] = ()
    stuck: Mapping[str, str] = field(default_factory=dict)
    """Why nodes stay, by their first output."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """One round over the model: what is known, and what the nodes' graphs bring along."""

    opset: int
    constants: Mapping[str, Array]
    runs: Sequence[Mapping[str, Array]]
    names: Names
    weights: list[Proto] = field(default_factory=list)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return a value's shape where all runs agree on it."""
        found = {run[name].shape if name in run else None for run in (*self.runs, self.constants)} - {None}
        return found.pop() if len(found) == 1 else None

    def body(self, graph: Proto) -> Body:
        """Return a node's graph ready to be written, its weights with the model's."""
        body = Body(graph, self.names)
        self.weights.extend(body.weights())
        return body

    def constant(self, array: Array) -> tuple[Proto, str]:
        """Return a node that makes a constant, and its name."""
        import onnx

        name = self.names.fresh("counted")
        return onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array, name)), name

    def stacked(self, parts: Sequence[str], axis: int, output: str) -> list[Proto]:
        """Return nodes that join values along a new axis."""
        import onnx

        nodes, grown = [], []
        extra: list[str] = []
        if self.opset >= _AXES_AS_INPUT:
            made, name = self.constant(np.asarray([axis], dtype=np.int64))
            nodes.append(made)
            extra = [name]
        for part in parts:
            grown.append(self.names.fresh(f"{part}.grown"))
            attributes = {} if extra else {"axes": [axis]}
            nodes.append(onnx.helper.make_node("Unsqueeze", [part, *extra], grown[-1:], **attributes))
        return [*nodes, onnx.helper.make_node("Concat", grown, [output], axis=axis)]


def fold(model: Proto, constants: Mapping[str, Array], runs: Sequence[Mapping[str, Array]]) -> Folded:
    """Write every `If`, `Loop` and `Scan` out in place whose course is known; those inside them come next time.

    Case 1: an `If` whose condition is known becomes its branch. Case 2: a `Loop` whose number of rounds is known, or
    can be counted because its condition depends on nothing that varies, and a `Scan` become so many copies of their
    graph. Case 3: of an `If` on a run-time value, when nothing else is left, both branches are computed and a `Where`
    chooses.

    Args:
        model: an onnx.ModelProto; it is changed.
        constants: what does not depend on the inputs.
        runs: all values of runs with other shapes.
    """
    opset = max((int(one.version) for one in model.opset_import if one.domain in ONNX), default=0)
    writer = _Writer(opset, constants, runs, Names(model))
    uneven = {
        node.output[0]: _UNEVEN for node in model.graph.node if node.doc_string == _CHOICE and not _even(node, runs)
    }
    nodes, stuck = _known_ones(model, writer)
    warnings: tuple[str, ...] = ()
    changed = len(stuck) < sum(_course(node) is not None for node in model.graph.node)
    if not changed and stuck:
        nodes, warnings = _both_ways(nodes, stuck, writer)
        changed = bool(warnings)
    if changed:
        kept = [type(node).FromString(node.SerializeToString()) for node in nodes]  # they live in the list that goes
        del model.graph.node[:]
        model.graph.node.extend(kept)
        model.graph.initializer.extend(writer.weights)
    reasons = {_first_output(nodes[place]): why for place, why in stuck.items()}
    return Folded(changed=changed, warnings=warnings, stuck=reasons | uneven)


def _even(node: Proto, runs: Sequence[Mapping[str, Array]]) -> bool:
    """Whether the values a `Where` chooses from have the same shape: it would broadcast them."""
    return all(run[node.input[1]].shape == run[node.input[2]].shape for run in runs)


def _known_ones(model: Proto, writer: _Writer) -> tuple[list[Proto], dict[int, str]]:
    """Return the nodes with those written out whose course is known, and why others stay, by place."""
    nodes: list[Proto] = []
    stuck = {}
    for node in model.graph.node:
        course = _course(node)
        try:
            made = [node] if course is None else course(writer, node)
        except _UnknownError as exc:
            stuck[len(nodes)] = str(exc)
            made = [node]
        nodes += made
    return nodes, stuck


def _both_ways(nodes: list[Proto], stuck: dict[int, str], writer: _Writer) -> tuple[list[Proto], tuple[str, ...]]:
    """Write the first `If` for which that can be done with both branches; without one, there is no warning."""
    for place in stuck:
        node = nodes[place]
        if node.op_type != "If":
            continue
        try:
            made = _both(writer, node)
        except _UnknownError as exc:
            stuck[place] = str(exc)
            continue
        name = node.name or _first_output(node)
        warning = f"op 'If' (node '{name}') is decided at run time: both its branches are computed every time"
        return [*nodes[:place], *made, *nodes[place + 1 :]], (warning,)
    return nodes, ()


def _first_output(node: Proto) -> str:
    return next(filter(None, node.output), "")


# --- the three ops


def _if(writer: _Writer, node: Proto) -> list[Proto]:
    condition = writer.constants.get(node.input[0])
    if condition is None:
        raise _UnknownError("its condition is known only at run time")
    nodes, outputs = writer.body(_graph(node, "then_branch" if condition.any() else "else_branch")).written([])
    return [*nodes, *_passed(outputs, node.output)]


def _both(writer: _Writer, node: Proto) -> list[Proto]:
    import onnx

    branches = _graph(node, "then_branch"), _graph(node, "else_branch")
    _check_size(1, *branches)
    nodes, left = writer.body(branches[0]).written([])
    more, right = writer.body(branches[1]).written([])
    for one, other, output in zip(left, right, node.output, strict=True):
        if output:
            operands = [node.input[0], one, other]
            more.append(onnx.helper.make_node("Where", operands, [output], name=node.name, doc_string=_CHOICE))
    return [*nodes, *more]


def _loop(writer: _Writer, node: Proto) -> list[Proto]:
    graph = _graph(node, "body")
    carried, wanted = list(node.input[2:]), list(node.output)
    try:
        rounds = count_rounds(node, graph, writer.constants, writer.opset)
    except UncountedError as exc:
        raise _UnknownError(str(exc)) from exc
    _check_size(rounds, graph)
    if not rounds and any(wanted[len(carried) :]):
        raise _UnknownError("it runs no round, so that what it collects is empty")
    body = writer.body(graph)
    nodes: list[Proto] = []
    scanned: list[list[str]] = []
    truth, true = writer.constant(np.asarray(True))  # noqa: FBT003
    nodes.append(truth)
    for count in range(rounds):
        number, name = writer.constant(np.asarray(count, dtype=np.int64))
        made, outputs = body.written([name, true, *carried])
        nodes += [number, *made]
        carried, rest = outputs[1 : 1 + len(carried)], outputs[1 + len(carried) :]
        scanned.append(rest)
    nodes += _passed(carried, wanted[: len(carried)])
    for place, output in enumerate(wanted[len(carried) :]):
        if output:
            nodes += writer.stacked([one[place] for one in scanned], 0, output)
    return nodes


def _scan(writer: _Writer, node: Proto) -> list[Proto]:
    import onnx

    if writer.opset < _SCAN_WITHOUT_BATCH:
        raise _UnknownError("it is of the form of opset 8, which has a batch")
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    count = attributes["num_scan_inputs"]
    states, sequences = list(node.input[:-count]), list(node.input[-count:])
    axes = attributes.get("scan_input_axes", [0] * count)
    shape = writer.shape(sequences[0])
    if shape is None:
        raise _UnknownError(f"the length of its input '{sequences[0]}' is known only at run time")
    length = shape[axes[0]]
    _check_size(length, attributes["body"])
    body = writer.body(attributes["body"])
    backwards = attributes.get("scan_input_directions", [0] * count)
    nodes, scanned = [], []
    for step in range(length):
        parts = []
        for name, axis, backward in zip(sequences, axes, backwards, strict=True):
            place, index = writer.constant(np.asarray(length - 1 - step if backward else step, dtype=np.int64))
            parts.append(writer.names.fresh(f"{name}.step"))
            nodes += [place, onnx.helper.make_node("Gather", [name, index], parts[-1:], axis=axis)]
        made, outputs = body.written([*states, *parts])
        nodes += made
        states, rest = outputs[: len(states)], outputs[len(states) :]
        scanned.append(rest)
    nodes += _passed(states, node.output[: len(states)])
    for place, output in enumerate(node.output[len(states) :]):
        backward = attributes.get("scan_output_directions", [0] * (place + 1))[place]
        axis = attributes.get("scan_output_axes", [0] * (place + 1))[place]
        if output:
            parts = [one[place] for one in scanned]
            nodes += writer.stacked(parts[::-1] if backward else parts, axis, output)
    return nodes


_COURSES: Mapping[str, Callable[[_Writer, Proto], list[Proto]]] = MappingProxyType(
    {"If": _if, "Loop": _loop, "Scan": _scan}
)


def has_control_flow(model: "ir.Model") -> bool:
    """Whether a model has an `If`, `Loop` or `Scan`."""
    return any(node.op_type in _COURSES and node.domain in ONNX for node in model.graph)


def _course(node: Proto) -> Callable[[_Writer, Proto], list[Proto]] | None:
    return _COURSES.get(node.op_type) if node.domain in ONNX else None


def _graph(node: Proto, name: str) -> Proto:
    return next(one.g for one in node.attribute if one.name == name)


def _passed(values: Sequence[str], outputs: Sequence[str]) -> list[Proto]:
    """Return nodes that give values the names of a node's outputs."""
    import onnx

    return [
        onnx.helper.make_node("Identity", [value], [output])
        for value, output in zip(values, outputs, strict=True)
        if output
    ]


def _check_size(rounds: int, *graphs: Proto) -> None:
    size = sum(map(count_nodes, graphs))
    if rounds * size > MAX_NODES:
        raise _UnknownError(f"{rounds} rounds of {size} ops are more than {MAX_NODES}")
