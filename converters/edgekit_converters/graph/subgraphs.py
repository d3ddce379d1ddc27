"""Graphs inside ONNX nodes, written out as plain nodes with names that nothing else has."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Proto = Any  # onnx's protobuf classes


class Names:
    """Hands out names for values that come from a node's graph; one that nothing else has is kept once."""

    def __init__(self, model: Proto) -> None:
        """Take note of every name in the model, those inside its nodes' graphs too.

        Args:
            model: an onnx.ModelProto.
        """
        self._defined = Counter([*(value.name for value in model.graph.input), *_defined(model.graph, deep=True)])
        self._given: set[str] = set()

    def fresh(self, name: str) -> str:
        """Return the name, with a number behind it when it is defined twice or was given before."""
        found, count = name, 0
        while found in self._given or self._defined[found] > (found == name):
            count += 1
            found = f"{name}.{count}"
        self._given.add(found)
        return found


class Body:
    """A graph of a node, to be written out once or several times (a loop); its weights are shared."""

    def __init__(self, graph: Proto, names: Names) -> None:
        """Name the weights.

        Args:
            graph: an onnx.GraphProto.
            names: those of the whole model.
        """
        self._graph, self._names = graph, names
        self._weights = {one.name: names.fresh(one.name) for one in graph.initializer}

    def __len__(self) -> int:
        """Return how many nodes it has, those of graphs inside it too."""
        return count_nodes(self._graph)

    def weights(self) -> list[Proto]:
        """Return the weights under their new names, as onnx.TensorProtos."""
        found = []
        for one in self._graph.initializer:
            tensor = type(one)()
            tensor.CopyFrom(one)
            tensor.name = self._weights[one.name]
            found.append(tensor)
        return found

    def written(self, arguments: Sequence[str]) -> tuple[list[Proto], list[str]]:
        """Return copies of the nodes on these inputs, and the names of the outputs."""
        renamed = {value.name: name for value, name in zip(self._graph.input, arguments, strict=True)}
        renamed |= self._weights
        renamed |= {name: self._names.fresh(name) for node in self._graph.node for name in node.output if name}
        nodes = [_copied(node, renamed) for node in self._graph.node]
        return nodes, [renamed.get(value.name, value.name) for value in self._graph.output]


def graphs_of(node: Proto) -> list[Proto]:
    """Return the graphs in a node's attributes."""
    return [one.g for one in node.attribute if one.HasField("g")] + [g for one in node.attribute for g in one.graphs]


def count_nodes(graph: Proto) -> int:
    """Return how many nodes a graph has, those of graphs inside it too."""
    return sum(1 + sum(map(count_nodes, graphs_of(node))) for node in graph.node)


def captured(graph: Proto) -> set[str]:
    """Return the names a graph takes from outside."""
    used = {value.name for value in graph.output}
    for node in graph.node:
        used.update(name for name in node.input if name)
        used.update(*map(captured, graphs_of(node)))
    return used - {value.name for value in graph.input} - set(_defined(graph, deep=False))


def _defined(graph: Proto, *, deep: bool) -> Iterable[str]:
    yield from (one.name for one in graph.initializer)
    for node in graph.node:
        yield from filter(None, node.output)
        for inner in graphs_of(node) if deep else ():
            yield from (value.name for value in inner.input)
            yield from _defined(inner, deep=True)


def _copied(node: Proto, renamed: Mapping[str, str]) -> Proto:
    copy = type(node)()
    copy.CopyFrom(node)
    _rename(copy, renamed)
    return copy


def _rename(node: Proto, renamed: Mapping[str, str]) -> None:
    """Change names in place, in the graphs inside too where they do not define a name anew."""
    for names in (node.input, node.output):
        names[:] = [renamed.get(name, name) for name in names]
    for graph in graphs_of(node):
        own = {value.name for value in graph.input} | set(_defined(graph, deep=False))
        outer = {name: new for name, new in renamed.items() if name not in own}
        for inner in graph.node:
            _rename(inner, outer)
        for value in graph.output:
            value.name = outer.get(value.name, value.name)
