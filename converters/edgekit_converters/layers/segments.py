"""Between two points of a model: what is computed there, and what a person calls it."""

from collections.abc import Collection

from edgekit_converters.layers.points import CARRIERS
from edgekit_converters.layers.view import Node, View

_NAMED_OPS = 4


def between(view: View, place: int, known: Collection[int]) -> list[Node]:
    """Return the nodes that compute the value at `place` from the values `known`, in their order."""
    makers, fixed = view.makers, view.fixed
    found: set[int] = set()
    waiting = [place]
    while waiting:
        at = makers.get(waiting.pop())
        if at is not None and at not in found:
            found.add(at)
            waiting += [value for value in view.nodes[at].inputs if value not in known and value not in fixed]
    return [view.nodes[at] for at in sorted(found)]


def name_of(nodes: list[Node]) -> str:
    """Return the name of the last node that multiplies, or of the last one where none does."""
    return next((node.name for node in reversed(nodes) if node.macs), nodes[-1].name)


def ops_of(nodes: list[Node]) -> str:
    """Return the operators in their order, such as `Conv+BatchNormalization+Relu`; quantization is not named."""
    ops = list(dict.fromkeys(node.op for node in nodes if node.op not in CARRIERS)) or [nodes[-1].op]
    return "+".join(ops if len(ops) <= _NAMED_OPS else [*ops[: _NAMED_OPS - 1], "...", ops[-1]])
