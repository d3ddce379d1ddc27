"""Activations that exporters write out in small ops, brought back to one op that TFLite has.

    x * HardSigmoid(x, 1/6, 1/2)               HardSwish
    x * Clip(x + 3, 0, 6) / 6                  HardSwish
    x * (1 + Erf(x / sqrt 2)) * 0.5            Gelu

The factors of a product may come in any order and nesting. What is left over is not lowered.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgekit_converters.lowering.graph import Graph, Node, needed

_CLOSE = 1e-5  # exporters round the numbers to float32


def with_activations(graph: Graph) -> Graph:
    """Return the graph with each product that is an activation replaced by it."""
    nodes = tuple(_activation(graph, node) or node for node in graph.nodes)
    return replace(graph, nodes=tuple(needed(nodes, graph.outputs)))


@dataclass(slots=True)
class _Product:
    """A product taken apart: single numbers multiplied out, and the names of everything else."""

    number: float = 1.0
    factors: list[str] = field(default_factory=list)


def _activation(graph: Graph, node: Node) -> Node | None:
    if node.op not in {"Mul", "Div"}:
        return None
    product = _taken_apart(graph, node)
    if product is None or len(product.factors) != 2:  # noqa: PLR2004
        return None
    first, second = product.factors
    for x, gate in ((first, second), (second, first)):
        found = _gated(graph, x, gate, product.number)
        if found and graph.values[x] == graph.values[node.outputs[0]]:
            attributes: Mapping[str, object] = {"approximate": "none"} if found == "Gelu" else {}
            return replace(node, op=found, inputs=(x,), attributes=attributes)
    return None


def _taken_apart(graph: Graph, root: Node) -> _Product | None:
    """Follow products inwards as long as nothing else uses what they make."""
    product, left = _Product(), [root]
    while left:
        node = left.pop()
        for place, name in enumerate(node.inputs):
            number = _number(graph, name)
            inner = graph.producers.get(name)
            if number is not None:
                if node.op == "Div" and place == 1 and number == 0:
                    return None
                product.number *= 1 / number if node.op == "Div" and place == 1 else number
            elif node.op == "Div" and place == 1:
                return None  # a quotient of two values
            elif inner is not None and inner.op in {"Mul", "Div"} and graph.uses[name] == 1:
                left.append(inner)
            else:
                product.factors.append(name)
    return product


def _gated(graph: Graph, x: str, gate: str, number: float) -> str | None:
    node = graph.producers.get(gate)
    if node is None:
        return None
    if node.op == "HardSigmoid":
        slope, offset = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
        known = node.inputs[0] == x and _is(number, 1) and _is(slope, 1 / 6) and _is(offset, 0.5)
        return "HardSwish" if known else None
    if node.op == "Clip":
        known = _is(number, 1 / 6) and _bounds(graph, node) == (0.0, 6.0) and _shifted(graph, node.inputs[0], 3) == x
        return "HardSwish" if known else None
    if node.op == "Add" and _is(number, 0.5):
        inner = graph.producers.get(_shifted(graph, gate, 1) or "")
        if inner is not None and inner.op == "Erf" and _scaled(graph, inner.inputs[0], math.sqrt(0.5)) == x:
            return "Gelu"
    return None


def _shifted(graph: Graph, name: str, by: float) -> str | None:
    """Return what a value is without `by` added to it."""
    node = graph.producers.get(name)
    return next(_others(graph, node, by), None) if node is not None and node.op == "Add" else None


def _scaled(graph: Graph, name: str, by: float) -> str | None:
    """Return what a value is without being multiplied by `by`."""
    node = graph.producers.get(name)
    if node is None or node.op not in {"Mul", "Div"}:
        return None
    if node.op == "Div":
        number = _number(graph, node.inputs[1])
        return node.inputs[0] if number is not None and _is(number, 1 / by) else None
    return next(_others(graph, node, by), None)


def _others(graph: Graph, node: Node, number: float) -> Iterator[str]:
    for place in (0, 1):
        found = _number(graph, node.inputs[place])
        if found is not None and _is(found, number):
            yield node.inputs[1 - place]


def _bounds(graph: Graph, node: Node) -> tuple[float | None, float | None]:
    if len(node.inputs) > 2:  # noqa: PLR2004
        return _number(graph, node.inputs[1]), _number(graph, node.inputs[2])
    return node.attributes.get("min"), node.attributes.get("max")


def _number(graph: Graph, name: str) -> float | None:
    array = graph.constants.get(name)
    return float(np.ravel(array)[0]) if array is not None and array.size == 1 else None


def _is(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=_CLOSE)
