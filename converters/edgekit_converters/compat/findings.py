"""What a check says: one statement about a node, with where it comes from and what to do."""

import enum
from dataclasses import dataclass, replace

from edgekit_converters.compat.nodes import Node


class Status(enum.StrEnum):
    """What would become of a node or a whole model on a runtime."""

    RUNS = "runs"
    FAILS = "fails"
    CRASHES = "crashes"
    DIFFERS = "differs"
    """It runs without a word and gives wrong numbers."""
    UNKNOWN = "unknown"


class Kind(enum.StrEnum):
    """How a statement came about."""

    PROBED = "probed"
    """A model of this one op and these types was run on that wheel."""
    RULE = "rule"
    """A published or observed rule, whose source is named."""
    LOADED = "loaded here"
    """This very model was loaded and run on that runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that stands in the way; `node` is None for what concerns the whole model."""

    status: Status
    kind: Kind
    source: str
    reason: str
    advice: str = ""
    node: int | None = None
    graph: int = 0
    op: str = ""
    output: str = ""
    types: str = ""

    def at(self, node: Node) -> "Finding":
        """Return it as said of a node of a TFLite file."""
        return replace(self, node=node.index, graph=node.graph, op=node.op, output=node.output, types=node.key)
