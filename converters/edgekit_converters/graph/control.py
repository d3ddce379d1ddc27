"""`If`, `Loop` and `Scan` written out as plain nodes, as far as their course is known beforehand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.rounds import UncountedError, count_rounds
from edgekit_converters.graph.subgraphs import Body, Names, count_nodes, graphs_of
from edgekit_converters.model import Array

Proto = Any  # onnx's protobuf classes
MAX_NODES = 20_000  # of one loop written out, or of both branches of an `If`
_AXES_AS_INPUT = 13  # from this opset on, of Unsqueeze
_SCAN_WITHOUT_BATCH = 9
_ONNX = frozenset({"", "ai.onnx"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What of a model does not depend on its inputs' values.

    A node that holds a graph takes values by name that are not among its inputs: `values` must not hold its outputs.
    """

    values: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]


class _UnknownError(Exception):
    """A node's course is not known; the text says why."""


_Choice = tuple[Proto, str, str]
"""A node whose branches are both computed, and two values that must have the same shape."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """One round over the model: what is known, and what the nodes' graphs bring along."""

    opset: int
    known: Known
    names: Names
    weights: list[Proto] = field(default_factory=list)
    choices: list[_Choice] = field(default_factory=list)

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


def write_out(model: Proto, label: str, evaluate: Callable[[Proto], Known]) -> list[str]:
    """Write every `If`, `Loop` and `Scan` out in place, those inside others too. Return warnings.

    Case 1: an `If` whose condition is known becomes its branch. Case 2: a `Loop` whose number of rounds is known, or
    can be counted because its condition depends on nothing that varies, and a `Scan` become so many copies of their
    graph. Case 3: of an `If` on a run-time value both branches are computed and a `Where` chooses.

    Args:
        model: an onnx.ModelProto; it is changed.
        label: its name in errors.
        evaluate: what is known of the model as it is by then; called once a level of nesting.

    Raises:
        UnsupportedError: if a node's course is known only at run time, or too long; notes name all such nodes.
    """
    warnings: list[str] = []
    choices: list[_Choice] = []
    while choices or any(_course(node) for node in model.graph.node):
        known = evaluate(model)
        _check_choices(choices, known, label)
        opset = max((int(one.version) for one in model.opset_import if one.domain in _ONNX), default=0)
        writer = _Writer(opset, known, Names(model))
        stuck = _round(model, writer)
        if len(stuck) == sum(_course(node) is not None for node in model.graph.node) > 0:
            warnings.append(_compute_both(model, writer, stuck, label))
        model.graph.initializer.extend(writer.weights)
        choices = writer.choices
    return warnings


def _round(model: Proto, writer: _Writer) -> dict[int, str]:
    """Replace all nodes whose course is known; return why the others stay, by their new places."""
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
    _replace(model, nodes)
    return stuck


def _replace(model: Proto, nodes: Sequence[Proto]) -> None:
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]  # they live in the list that goes
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _compute_both(model: Proto, writer: _Writer, stuck: Mapping[int, str], label: str) -> str:
    """Write the first `If` with both branches; return a warning.

    Raises:
        UnsupportedError: if there is none; for the first node, with notes for the others.
    """
    nodes = list(model.graph.node)
    for index in stuck:
        if nodes[index].op_type == "If" and sum(map(count_nodes, graphs_of(nodes[index]))) <= MAX_NODES:
            _replace(model, [*nodes[:index], *_both(writer, nodes[index]), *nodes[index + 1 :]])
            return f"{_named(nodes[index])} is decided at run time: both its branches are computed every time"
    reasons = [f"{_named(nodes[index])} has no TFLite lowering: {why}" for index, why in stuck.items()]
    error = UnsupportedError(f"model '{label}': {reasons[0]}")
    for other in reasons[1:]:
        error.add_note(other)
    error.add_note("try --to openvino")
    raise error


def _named(node: Proto) -> str:
    return f"op '{node.op_type}' (node '{node.name or next(filter(None, node.output), '')}')"


def _check_choices(choices: Sequence[_Choice], known: Known, label: str) -> None:
    for node, left, right in choices:
        shapes = known.shapes.get(left), known.shapes.get(right)
        if None in shapes or shapes[0] != shapes[1]:
            raise UnsupportedError(
                f"model '{label}': {_named(node)} has no TFLite lowering: "
                "it is decided at run time, and its branches give different shapes"
            )


# --- the three ops


def _if(writer: _Writer, node: Proto) -> list[Proto]:
    condition = writer.known.values.get(node.input[0])
    if condition is None:
        raise _UnknownError("its condition is known only at run time")
    nodes, outputs = writer.body(_graph(node, "then_branch" if condition.any() else "else_branch")).written([])
    return [*nodes, *_passed(outputs, node.output)]


def _both(writer: _Writer, node: Proto) -> list[Proto]:
    import onnx

    nodes, left = writer.body(_graph(node, "then_branch")).written([])
    more, right = writer.body(_graph(node, "else_branch")).written([])
    for one, other, output in zip(left, right, node.output, strict=True):
        if output:
            writer.choices.append((node, one, other))
            more.append(onnx.helper.make_node("Where", [node.input[0], one, other], [output]))
    return [*nodes, *more]


def _loop(writer: _Writer, node: Proto) -> list[Proto]:
    graph = _graph(node, "body")
    carried, wanted = list(node.input[2:]), list(node.output)
    try:
        rounds = count_rounds(node, graph, writer.known.values, writer.opset)
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
    shape = writer.known.shapes.get(sequences[0])
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


def _course(node: Proto) -> Callable[[_Writer, Proto], list[Proto]] | None:
    return _COURSES.get(node.op_type) if node.domain in _ONNX else None


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


def _check_size(rounds: int, graph: Proto) -> None:
    size = count_nodes(graph)
    if rounds * size > MAX_NODES:
        raise _UnknownError(f"{rounds} rounds of {size} ops are more than {MAX_NODES}")
