"""A model run on all samples in stretches of nodes, so that weights may change before what follows is run."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.data import run_size, runs
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.observing import values_of
from edgekit_converters.graph.oracle import session
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

_BATCH = 16  # of models whose batch is free
_MOST_BYTES = 1 << 30


class Walk:
    """What a model's main graph holds on the samples as far as it has been run, one array a run."""

    def __init__(self, model: "ir.Model", arrays: Arrays, keep: Iterable[str] = ()) -> None:
        """Stand before the first node.

        Args:
            model: with inferred shapes.
            arrays: samples as `data.bind` gives them; see `affordable`.
            keep: values that stay until `forget` is told, though no node takes them any more.
        """
        self._model, self._at = model, 0
        inputs = graph_model.specs(graph_model.inputs_of(model))
        fed = list(runs(arrays, inputs, _BATCH))
        self.values: dict[str, list[Array]] = {one.name: [run[one.name] for run in fed] for one in inputs}
        self._keep = set(keep)

    @property
    def _nodes(self) -> "list[ir.Node]":
        return list(self._model.graph)  # anew: a bias may have been put in behind a layer

    def to(self, node: "ir.Node") -> None:
        """Run what comes before a node.

        Raises:
            CalibrationError: if the model stops on the samples.
        """
        self._go(next(at for at, one in enumerate(self._nodes) if one is node))

    def past(self, node: "ir.Node") -> None:
        """Run a node and what comes before it."""
        self._go(next(at for at, one in enumerate(self._nodes) if one is node) + 1)

    def _go(self, end: int) -> None:
        if end > self._at:
            self.values |= self._run(self._at, end, self._needed(end))
            self._at = end
            needed = self._needed(end) | self._keep
            self.values = {name: one for name, one in self.values.items() if name in needed}

    def ahead(self, node: "ir.Node", name: str) -> list[Array]:
        """Return what a value will be that a node makes, or an earlier one, without going there."""
        if name in self.values:
            return self.values[name]
        end = next(at for at, one in enumerate(self._nodes) if one is node) + 1
        return self._run(self._at, end, {name})[name]

    def anew(self, nodes: "list[ir.Node]", name: str) -> list[Array]:
        """Return what a value is now that those nodes make, which were run before, of values that are still here."""
        return self._results(nodes, [name])[name]

    def forget(self, name: str) -> None:
        """Let go of a value that was kept."""
        self._keep.discard(name)

    def _needed(self, end: int) -> set[str]:
        outputs = {str(one.name) for one in self._model.graph.outputs}
        return outputs | {str(one.name) for node in self._nodes[end:] for one in _taken(node)}

    def _run(self, begin: int, end: int, wanted: set[str]) -> dict[str, list[Array]]:
        nodes = self._nodes[begin:end]
        wanted |= self._keep
        names = [str(one.name) for node in nodes for one in node.outputs if one.name in wanted]
        return self._results(nodes, names) if names else {}

    def _results(self, nodes: "list[ir.Node]", names: list[str]) -> dict[str, list[Array]]:
        ready, inputs = self._opened(nodes, names)
        count = len(next(iter(self.values.values())))
        found = dict[str, list[Array]]((name, []) for name in names)
        for at in range(count):
            feed = {name: self.values[name][at] for name in inputs}
            for name, one in values_of(ready, names, feed).items():
                found[name].append(one)
        return found

    def _opened(self, nodes: "list[ir.Node]", names: list[str]) -> tuple[object, list[str]]:
        """Return a session of those nodes alone, and what it is fed."""
        import onnx_ir as ir

        made = {str(one.name): one for node in nodes for one in node.outputs}
        taken = {str(one.name): one for node in nodes for one in _taken(node)}
        fed = [one for name, one in taken.items() if name not in made and one.const_value is None]
        graph = ir.convenience.extract(self._model.graph, fed, [made[name] for name in names])
        for one in graph.inputs:
            one.shape = None
        proto = ir.serde.serialize_model(ir.Model(graph, ir_version=self._model.ir_version))
        return session(proto), [str(one.name) for one in fed]


def _taken(node: "ir.Node") -> "list[ir.Value]":
    """Return what a node takes, what branches inside it take from outside too."""
    inner = [one for graph in _graphs(node) for one in graph.all_nodes()]
    own = {id(one) for each in inner for one in each.outputs}
    own |= {id(one) for graph in _graphs(node) for one in graph.inputs}
    taken = [one for each in (node, *inner) for one in each.inputs if one is not None]
    taken += [one for graph in _graphs(node) for one in graph.outputs]
    return [one for one in taken if id(one) not in own]


def _graphs(node: "ir.Node") -> "list[ir.Graph]":
    import onnx_ir as ir

    found = []
    for one in node.attributes.values():
        if one.type == ir.AttributeType.GRAPH:
            found.append(one.as_graph())
        elif one.type == ir.AttributeType.GRAPHS:
            found += list(one.as_graphs())
    return found


def affordable(model: "ir.Model", arrays: Arrays) -> Arrays:
    """Return as many samples as two walks at once can hold, spread over all of them."""
    inputs = graph_model.specs(graph_model.inputs_of(model))
    values = [one for node in model.graph for one in node.outputs]
    largest = max((_bytes(one) for one in values), default=1)
    each = run_size(arrays, inputs, 1)
    most = max(1, _MOST_BYTES // (4 * largest)) * each
    count = max((len(array) for array in arrays.values()), default=0)
    if count <= most:
        return arrays
    chosen = np.linspace(0, count - 1, most).astype(int)
    return {name: array[chosen] if len(array) == count else array for name, array in arrays.items()}


def _bytes(value: "ir.Value") -> int:
    sizes = graph_model.dimensions(value)
    return int(np.prod([size or 1 for size in sizes], dtype=np.int64)) * 4
