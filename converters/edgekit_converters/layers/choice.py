"""Which layers a person means: by name, by pattern, or by operator."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.layers.view import Node, View

OPERATOR, EXACT = "op:", "="


def chosen(view: View, patterns: Sequence[str]) -> list[int]:
    """Return the places of the nodes that patterns name, in the model's order.

    A pattern is `op:SOFTMAX` (an operator of the format, in any case), or a name or glob of a layer as `inspect` and
    `compare --layers` show it, or of the value a layer computes; `=NAME` is that value's name and no glob.

    Raises:
        UnsupportedError: if a pattern names nothing; shows some of the names there are.
    """
    found: set[int] = set()
    for pattern in patterns:
        hits = [at for at, node in enumerate(view.nodes) if _means(pattern, node.op, _names(view, at))]
        if not hits:
            error = UnsupportedError(f"no layer is called '{pattern}'")
            heavy = [node for node in view.nodes if node.parameters]
            named = ", ".join(list(dict.fromkeys(node.name for node in heavy or view.nodes))[:8])
            which = "layers with weights" if heavy else "its layers"
            error.add_note(f"{which} are called: {named}; `edgekit inspect` lists all")
            raise error
        found.update(hits)
    return sorted(found)


def exact(view: View, node: Node) -> str:
    """Return the pattern that means this node and no other."""
    return f"{EXACT}{view.values[node.outputs[0]].name}"


def _names(view: View, at: int) -> list[str]:
    node = view.nodes[at]
    return [node.name, *(view.values[place].name for place in node.outputs)]


def _means(pattern: str, op: str, names: Sequence[str]) -> bool:
    if pattern.startswith(OPERATOR):
        return pattern.removeprefix(OPERATOR).lower() == op.lower()
    if pattern.startswith(EXACT):
        return pattern.removeprefix(EXACT) in names
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)
