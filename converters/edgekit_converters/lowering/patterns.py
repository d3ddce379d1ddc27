"""What exporters write out in small ops, brought back to one op that TFLite has.

    Min(Max(x, low), high), Clip(Relu(x), ...)      Clip
    Max(x, a x)                                     LeakyRelu
    Exp(x - ReduceMax(x)) / ReduceSum(of that)      Softmax
    x * gate(x)                                     HardSwish, Gelu, Mish: see `gates`

The rules are tried in this order, each over the whole graph: a later one sees what an earlier one made.
What nearly is an activation says why it is none, for `--explain`. What is left over is not lowered.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from edgekit_converters.lowering.gates import gated
from edgekit_converters.lowering.graph import Graph, Node, needed
from edgekit_converters.lowering.numbers import number_of

Rule = Callable[[Graph, Node], "Node | str | None"]
"""Returns what to put in a node's place, or why it only looks like the pattern, or None where it does not even that."""


def with_activations(graph: Graph) -> tuple[Graph, list[str]]:
    """Return the graph with every pattern replaced by its op, and a note for each near miss."""
    notes = []
    for rule in RULES:
        nodes: list[Node] = []
        for node in graph.nodes:
            found = rule(graph, node)
            if isinstance(found, str):
                notes.append(f"{node}: {found}")
            nodes.append(found if isinstance(found, Node) else node)
            if isinstance(found, Node):
                graph = replace(graph, nodes=(*nodes, *graph.nodes[len(nodes) :]))
        graph = replace(graph, nodes=tuple(needed(graph.nodes, graph.outputs)))
    return graph, notes


def _clip(graph: Graph, node: Node) -> Node | None:
    """Bounds in one op or in two, one after the other, are one Clip."""
    found = _bounds(graph, node)
    if found is None:
        return None
    name, low, high = found
    inner = graph.producers.get(name)
    before = _bounds(graph, inner) if inner is not None and graph.uses[name] == 1 else None
    if before is None and node.op in {"Clip", "Relu"}:
        return None
    if before is not None:
        name = before[0]
        low, high = (min(max(bound, low), high) for bound in before[1:])
    if graph.values[name] != graph.values[node.outputs[0]]:
        return None
    return replace(node, op="Clip", inputs=(name,), attributes={"min": low, "max": high})


def _bounds(graph: Graph, node: Node) -> tuple[str, float, float] | None:
    """Return the value an op bounds, and the bounds as numbers, the lower one not above the other."""
    if node.op not in {"Relu", "Clip", "Min", "Max"} or graph.values[node.outputs[0]].dtype != "float32":
        return None
    if node.op == "Relu":
        return node.inputs[0], 0.0, math.inf
    if node.op == "Clip":
        low, high = _clip_bounds(graph, node)
        return None if low is None or high is None or low > high else (node.inputs[0], low, high)
    if len(node.inputs) != 2:  # noqa: PLR2004
        return None
    for name, other in (node.inputs, node.inputs[::-1]):
        number = number_of(graph, other)
        if number is not None and not math.isnan(number):
            return (name, number, math.inf) if node.op == "Max" else (name, -math.inf, number)
    return None


def _clip_bounds(graph: Graph, node: Node) -> tuple[float | None, float | None]:
    """Return the bounds of a Clip; None for one of run time."""
    if graph.opset < 11 or len(node.inputs) == 1:  # noqa: PLR2004
        return node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)
    given = [*node.inputs[1:], ""][:2]
    low, high = (
        number_of(graph, name) if name else none for name, none in zip(given, (-math.inf, math.inf), strict=True)
    )
    return low, high


def _leaky(graph: Graph, node: Node) -> Node | str | None:
    if node.op != "Max" or len(node.inputs) != 2 or graph.values[node.outputs[0]].dtype != "float32":  # noqa: PLR2004
        return None
    for name, other in (node.inputs, node.inputs[::-1]):
        inner = graph.producers.get(other)
        if inner is None or inner.op != "Mul" or name not in inner.inputs:
            continue
        slope = number_of(graph, inner.inputs[1 - inner.inputs.index(name)])
        if slope is None or graph.values[name] != graph.values[node.outputs[0]]:
            continue
        if not 0 <= slope <= 1:
            return f"Max(x, a x) is a LeakyRelu for an a from 0 to 1; it is {slope:g}"
        return replace(node, op="LeakyRelu", inputs=(name,), attributes={"alpha": slope})
    return None


def _softmax(graph: Graph, node: Node) -> Node | str | None:
    if node.op != "Div":
        return None
    top, bottom = (graph.producers.get(name) for name in node.inputs)
    if (
        top is None
        or bottom is None
        or top.op != "Exp"
        or bottom.op != "ReduceSum"
        or bottom.inputs[0] != node.inputs[0]
    ):
        return None
    rank, axes = len(graph.values[node.inputs[0]].shape), _axes(graph, bottom)
    if axes is None or len(axes) != 1 or not bottom.attributes.get("keepdims", 1):
        return "exp(x) / sum(exp(x)) is a Softmax where the sum goes over one axis and keeps it"
    axis = axes[0] % rank
    if graph.opset < 13 and axis != rank - 1:  # noqa: PLR2004
        return "exp(x) / sum(exp(x)) is a Softmax up to opset 12 where the axis is the last"
    return replace(node, op="Softmax", inputs=(_before_shift(graph, top.inputs[0], axis),), attributes={"axis": axis})


def _before_shift(graph: Graph, name: str, axis: int) -> str:
    """Return what the highest value was subtracted from, so that no exponential overflows: Softmax does that itself."""
    node = graph.producers.get(name)
    if node is None or node.op != "Sub":
        return name
    highest = graph.producers.get(node.inputs[1])
    if highest is None or highest.op != "ReduceMax" or highest.inputs[0] != node.inputs[0]:
        return name
    axes = _axes(graph, highest)
    same = axes is not None and [one % len(graph.values[name].shape) for one in axes] == [axis]
    return node.inputs[0] if same and highest.attributes.get("keepdims", 1) else name


def _axes(graph: Graph, node: Node) -> list[int] | None:
    if len(node.inputs) > 1 and node.inputs[1]:
        given = graph.constants.get(node.inputs[1])
        return None if given is None else [int(one) for one in given.ravel()]
    return list(node.attributes.get("axes", []))


RULES: tuple[Rule, ...] = (_clip, _leaky, _softmax, gated)
