"""Compilers for fixed shapes: a free dimension of an input is told once, and not at every op it reaches."""

from collections.abc import Sequence

from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.nodes import Node

ADVICE = "fix the shapes: edgekit convert --shape NAME=1x3x224x224"


def free_inputs(nodes: Sequence[Node], source: str) -> list[Finding]:
    """Return a finding for each input of the model that has a free dimension."""
    made = {one.name for node in nodes for one in node.outputs if one is not None}
    taken = [one for node in nodes for one in node.inputs if one is not None and not one.data_bytes]
    free = dict.fromkeys(one.name for one in taken if None in one.shape and one.name not in made)
    return [
        Finding(
            status=Status.FAILS,
            kind=Kind.RULE,
            source=source,
            reason=f"the shape of input '{name}' is not fixed",
            advice=ADVICE,
        )
        for name in free
    ]
