"""How many rounds a `Loop` runs, found by running the part of it that decides."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgekit_converters.graph.subgraphs import captured, graphs_of
from edgekit_converters.model import Array

Proto = Any  # onnx's protobuf classes
MAX_ROUNDS = 10_000
_NUMBER, _CONDITION = 0, 1  # the first inputs of a body; behind them those that are carried from round to round


class UncountedError(Exception):
    """The number depends on what is known only at run time; the text says on what."""


def count_rounds(node: Proto, body: Proto, values: Mapping[str, Array], opset: int) -> int:
    """Return the number of rounds.

    Args:
        node: an onnx.NodeProto, a `Loop`.
        body: its onnx.GraphProto.
        values: what is known of the values outside.
        opset: ONNX's version.

    Raises:
        UncountedError: if it is known only at run time, or more than `MAX_ROUNDS`.
    """
    limit = _known(node.input[0], values, "its trip count") if node.input[0] else None
    going = _known(node.input[1], values, "its condition") if node.input[1] else None
    most = MAX_ROUNDS + 1 if limit is None else int(limit.ravel()[0])
    if most <= 0 or (going is not None and not going.any()):
        return 0
    decider = _Decider(node, body, values, opset)
    count = 0
    while count < most:
        count += 1
        if not decider.goes_on(count - 1):
            break
    if count > MAX_ROUNDS:
        raise UncountedError(f"it runs more than {MAX_ROUNDS} rounds")
    return count


def _known(name: str, values: Mapping[str, Array], what: str) -> Array:
    if name not in values:
        raise UncountedError(f"{what} is known only at run time")
    return values[name]


class _Decider:
    """The part of a body that its condition depends on, with the carried values that it needs."""

    def __init__(self, node: Proto, body: Proto, values: Mapping[str, Array], opset: int) -> None:
        self._body = body
        self._places: list[int] = []
        self._find_places()
        nodes, outer = _needed_part(body, self._outputs)
        outer -= {value.name for value in body.input}
        self._fixed = {name: _known(name, values, f"'{name}', which its condition depends on,") for name in outer}
        self._carried = {
            place: _known(node.input[place], values, f"'{node.input[place]}', which its condition depends on,")
            for place in self._places
            if place > _CONDITION
        }
        self._run = _evaluator(body, nodes, self._feeds(0), self._outputs, opset)

    @property
    def _outputs(self) -> list[str]:
        """The condition and the carried values after a round."""
        return [self._body.output[0].name, *(self._body.output[p - 1].name for p in self._places if p > _CONDITION)]

    def _find_places(self) -> None:
        """Find which inputs of the body the condition depends on, from one round to the next."""
        inputs = [value.name for value in self._body.input]
        while True:
            _, reached = _needed_part(self._body, self._outputs)
            found = sorted(inputs.index(name) for name in reached if name in inputs)
            if found == self._places:
                return
            self._places = found

    def _feeds(self, number: int) -> dict[str, Array]:
        given = {**self._carried, _NUMBER: np.asarray(number, dtype=np.int64), _CONDITION: np.asarray(True)}  # noqa: FBT003
        return {**self._fixed, **{self._body.input[place].name: given[place] for place in self._places}}

    def goes_on(self, number: int) -> bool:
        """Run a round; return whether there is another."""
        condition, *carried = self._run(self._feeds(number))
        self._carried = dict(zip(self._carried, carried, strict=True))
        return bool(np.asarray(condition).any())


def _needed_part(body: Proto, outputs: Sequence[str]) -> tuple[list[Proto], set[str]]:
    """Return the nodes that some values come from, and the names these take from elsewhere."""
    made_here = {one.name for one in body.initializer}
    wanted, kept = set(outputs), []
    for node in reversed(body.node):
        if wanted.intersection(node.output):
            kept.append(node)
            made_here.update(node.output)
            wanted.update(filter(None, node.input), *map(captured, graphs_of(node)))
    return kept[::-1], wanted - made_here


def _evaluator(
    body: Proto, nodes: Sequence[Proto], feeds: Mapping[str, Array], outputs: Sequence[str], opset: int
) -> Callable[[dict[str, Array]], list[Array]]:
    """Return a function that runs these nodes with ONNX's reference evaluator."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    def described(name: str, array: Array) -> Proto:
        return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), None)

    graph = onnx.helper.make_graph(
        nodes,
        "decider",
        [described(name, array) for name, array in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        body.initializer,
    )
    try:
        ready = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)]))
    except Exception as exc:  # its exceptions have no common base
        raise UncountedError(f"what decides it cannot be run: {exc}") from exc
    return lambda given: ready.run(None, given)
