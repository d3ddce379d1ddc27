"""A graph as the lowering sees it: plain values, every shape and dtype known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edgekit_converters.model import Array

_NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp"})
_KEEPING_SIGN = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Identity", "Dropout", "Add", "Mul"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator; absent optional inputs are empty names."""

    index: int
    op: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        """Return how messages name it."""
        return f"op '{self.op}' (node '{self.name or self.outputs[0]}' #{self.index})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Shape (free sizes are `Dim`) and dtype (NumPy's name) of a value."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes in order that depend on the inputs' values; everything else is in `constants` and `sizes`."""

    label: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, Value]
    constants: Mapping[str, Array]
    opset: int
    sizes: Mapping[str, Array] = field(default_factory=dict)
    """Integers that depend on free dimensions: object arrays of `Dim` and plain numbers."""
    uses: Mapping[str, int] = field(default_factory=dict)
    stuck: Mapping[str, str] = field(default_factory=dict)
    """Why control flow could not be written out, by the first output of its node."""

    def is_never_negative(self, name: str) -> bool:
        """Whether the ops a value comes from show that it has no value below 0."""
        if name in self.constants:
            return bool(np.all(np.sign(self.constants[name]) >= 0))
        node = self.producers.get(name)
        if node is None:
            return False
        if node.op == "Clip":
            return self._low(node) >= 0
        return node.op in _NEVER_NEGATIVE or (
            node.op in _KEEPING_SIGN and all(self.is_never_negative(one) for one in node.inputs if one)
        )

    def _low(self, node: Node) -> float:
        if len(node.inputs) > 1 and node.inputs[1]:
            return float(self.constants.get(node.inputs[1], np.float32(-1)))
        return float(node.attributes.get("min", -1))

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs if name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A rule or lowering that does not apply: to which node (None: the whole graph), and why ("": there is none)."""

    node: Node | None
    why: str

    def __str__(self) -> str:
        """Return it as a sentence without its end."""
        if self.node is None:
            return self.why
        return f"{self.node} has no TFLite lowering{f': {self.why}' if self.why else ''}"


class RefusedError(Exception):
    """The graph cannot be lowered: caught inside this package, where other ways are tried."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        """Hold every refusal."""
        self.refusals = list(refusals)
        super().__init__("; ".join(map(str, refusals)))


def needed(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """Leave out what no output depends on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    return kept[::-1]
