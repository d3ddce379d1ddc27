"""Activations that are a value times a gate made of it.

    x * HardSigmoid(x, 1/6, 1/2)                              HardSwish
    x * Clip(x + 3, 0, 6) / 6                                 HardSwish
    x * (1 + Erf(x / sqrt 2)) / 2                             Gelu
    x * (1 + Tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2       Gelu by tanh
    x * Tanh(Softplus(x)), x * Tanh(Log(1 + Exp(x)))          Mish

The factors of a product may come in any order and nesting, a power as Pow or as products.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from edgekit_converters.lowering.graph import Graph, Node
from edgekit_converters.lowering.numbers import is_about, number_of

_CUBIC = 0.044715
_SLOPE = math.sqrt(2 / math.pi)
_PRODUCTS = frozenset({"Mul", "Div", "Neg"})


@dataclass(slots=True)
class _Product:
    """A product taken apart: single numbers multiplied out, and the names of everything else."""

    number: float = 1.0
    factors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    op: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


def gated(graph: Graph, node: Node) -> Node | str | None:
    """Return the activation a product is, or why it only looks like one."""
    if node.op not in {"Mul", "Div"}:
        return None
    product = _taken_apart(graph, node)
    if product is None or len(product.factors) != 2:  # noqa: PLR2004
        return None
    first, second = product.factors
    why = None
    for x, gate in ((first, second), (second, first)):
        inner = graph.producers.get(gate)
        found = _GATES[inner.op](graph, x, inner, product.number) if inner is not None and inner.op in _GATES else None
        if isinstance(found, _Found) and graph.values[x] == graph.values[node.outputs[0]]:
            return replace(node, op=found.op, inputs=(x,), attributes=found.attributes)
        why = found if isinstance(found, str) else why
    return why


def _taken_apart(graph: Graph, root: Node) -> _Product | None:
    """Follow products inwards as long as nothing else uses what they make."""
    product, left = _Product(), [root]
    while left:
        node = left.pop()
        product.number *= -1 if node.op == "Neg" else 1
        for place, name in enumerate(node.inputs):
            number = number_of(graph, name)
            inner = graph.producers.get(name)
            if number is not None:
                if node.op == "Div" and place == 1 and number == 0:
                    return None
                product.number *= 1 / number if node.op == "Div" and place == 1 else number
            elif node.op == "Div" and place == 1:
                return None  # a quotient of two values
            elif inner is not None and inner.op in _PRODUCTS and graph.uses[name] == 1:
                left.append(inner)
            else:
                product.factors.append(name)
    return product


def _of_hard_sigmoid(_graph: Graph, x: str, node: Node, number: float) -> _Found | str | None:
    if node.inputs[0] != x:
        return None
    slope, offset = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if is_about(number, 1) and is_about(slope, 1 / 6) and is_about(offset, 0.5):
        return _Found("HardSwish")
    return f"x * HardSigmoid(x) is a HardSwish with slope 1/6 and offset 1/2; it has {slope:g} and {offset:g}"


def _of_tanh(graph: Graph, x: str, node: Node, number: float) -> _Found | str | None:
    if not _is_softplus(graph, node.inputs[0], x):
        return None
    return _Found("Mish") if is_about(number, 1) else "x * tanh(softplus(x)) is a Mish without a factor"


def _of_clip(graph: Graph, x: str, clip: Node, number: float) -> _Found | str | None:
    inner = graph.producers.get(clip.inputs[0])
    if inner is None or inner.op != "Add" or x not in inner.inputs:
        return None
    if len(clip.inputs) > 2:  # noqa: PLR2004
        bounds = [number_of(graph, name) for name in clip.inputs[1:3]]
    else:
        bounds = [clip.attributes.get("min"), clip.attributes.get("max")]
    if bounds == [0.0, 6.0] and is_about(number, 1 / 6) and _shifted(graph, clip.inputs[0], 3) == x:
        return _Found("HardSwish")
    return "x * Clip(x + a, b, c) * d is a HardSwish with 3, 0, 6 and 1/6"


def _of_sum(graph: Graph, x: str, gate: Node, number: float) -> _Found | str | None:
    node = graph.producers.get(_shifted(graph, gate.outputs[0], 1) or "")
    if node is None or node.op not in {"Erf", "Tanh"}:
        return None
    inner = graph.producers.get(node.inputs[0])
    product = _taken_apart(graph, inner) if inner is not None and inner.op in _PRODUCTS else None
    if product is None or not is_about(number, 0.5):
        return f"x * (1 + {node.op}(...)) is a Gelu with a factor of 1/2; it has {number:g}"
    if node.op == "Erf":
        if product.factors == [x] and is_about(product.number, math.sqrt(0.5)):
            return _Found("Gelu", {"approximate": "none"})
        return "x * (1 + Erf(a x)) / 2 is a Gelu with an a of 1 / sqrt 2, and of the same x"
    if is_about(product.number, _SLOPE) and _is_cubic(graph, product.factors, x):
        return _Found("Gelu", {"approximate": "tanh"})
    return "x * (1 + Tanh(...)) / 2 is a Gelu with sqrt(2 / pi) (x + 0.044715 x^3) inside"


def _is_cubic(graph: Graph, factors: list[str], x: str) -> bool:
    """Whether a product is x + 0.044715 x^3, written so or as x * (1 + 0.044715 x^2)."""
    for outer, name in ((0, factors[0]), *(((1, one) for one in factors if one != x) if x in factors else ())):
        node = graph.producers.get(name)
        if node is None or node.op != "Add" or len(factors) != outer + 1:
            continue
        rests = node.inputs if outer == 0 else (_shifted(graph, name, 1),)
        if outer == 0 and x not in rests:
            continue
        for rest in rests:
            inner = graph.producers.get(rest or "")
            product = _taken_apart(graph, inner) if inner is not None and inner.op in _PRODUCTS else None
            if product is not None and is_about(product.number, _CUBIC) and _power(graph, product, x) == 3 - outer:
                return True
    return False


def _power(graph: Graph, product: _Product, x: str) -> float | None:
    """Return how often x is in a product, None if anything else is."""
    total = 0.0
    for name in product.factors:
        node = graph.producers.get(name)
        exponent = number_of(graph, node.inputs[1]) if node is not None and node.op == "Pow" else None
        if name == x:
            total += 1
        elif node is not None and exponent is not None and node.inputs[0] == x:
            total += exponent
        elif node is not None and node.op == "Mul" and set(node.inputs) == {x}:
            total += 2
        else:
            return None
    return total


def _is_softplus(graph: Graph, name: str, x: str) -> bool:
    node = graph.producers.get(name)
    if node is None or node.op == "Softplus":
        return node is not None and node.inputs[0] == x
    exp = graph.producers.get(_shifted(graph, node.inputs[0], 1) or "") if node.op == "Log" else None
    return exp is not None and exp.op == "Exp" and exp.inputs[0] == x


def _shifted(graph: Graph, name: str, by: float) -> str | None:
    """Return what a value is without `by` added to it."""
    node = graph.producers.get(name)
    return next(_others(graph, node, by), None) if node is not None and node.op == "Add" else None


def _others(graph: Graph, node: Node, number: float) -> Iterator[str]:
    for place in (0, 1):
        if is_about(number_of(graph, node.inputs[place]), number):
            yield node.inputs[1 - place]


_Gate = Callable[[Graph, str, Node, float], "_Found | str | None"]
_GATES: Mapping[str, _Gate] = MappingProxyType(
    {"HardSigmoid": _of_hard_sigmoid, "Clip": _of_clip, "Tanh": _of_tanh, "Add": _of_sum}
)
