"""What a rewrite rule is: what to find, whether and how it can be changed, and what stands there then."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from edgekit_converters.compress.rules.pattern import Found, Op
from edgekit_converters.compress.rules.values import number_of
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgekit_converters.compress.rules.draft import Draft

Plan = TypeVar("Plan")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why what looks like a rule's pattern is not changed, and the node that is to blame."""

    why: str
    node: "ir.Node"


class RefusedError(Exception):
    """A check's way to refuse, from however deep inside; the runner makes it a `Refusal`."""

    def __init__(self, why: str, node: "ir.Node | None" = None) -> None:
        """Say why; without a node the match's root is to blame."""
        super().__init__(why)
        self.node = node


@dataclass(frozen=True, slots=True)
class Match:
    """Nodes that look like a rule's pattern."""

    model: "ir.Model"
    root: "ir.Node"
    """The last of them: what is made instead stands before it."""
    found: Found

    def node(self, name: str) -> "ir.Node":
        """Return the node of that name in the pattern."""
        node = self.found.named[name].producer()
        if node is None:
            raise AssertionError(f"'{name}' is no operator of the pattern")
        return node

    def value(self, name: str) -> "ir.Value":
        """Return the value of that name in the pattern."""
        return self.found.named[name]

    @property
    def opset(self) -> int:
        """The model's opset."""
        return max((self.model.graph.opset_imports.get(one, 0) for one in ONNX), default=0)

    def need_opset(self, op: str, since: int) -> None:
        """Refuse where an operator is younger than the model's opset."""
        if self.opset < since:
            raise RefusedError(f"{op} is of opset {since}, and the model's is {self.opset}")


class Rule(ABC, Generic[Plan]):
    """A rewrite in three parts: `find`, `check`, `rewrite`. What check found out travels in its plan."""

    name: str
    help: str
    default = True
    """Whether it is among those taken when none are named."""
    patterns: Sequence[Op] = ()
    keeps_inner = False
    """Whether the inner nodes may stay where others use them; else that is refused."""

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield the ways a node ends the pattern."""
        for form in self.patterns:
            for found in form.match_node(node, Found()):
                yield Match(model, node, found)

    @abstractmethod
    def check(self, match: Match) -> Plan:
        """Return what `rewrite` needs.

        Raises:
            RefusedError: if it cannot be changed, or it would not pay; says why.
        """

    @abstractmethod
    def rewrite(self, draft: "Draft", match: Match, plan: Plan) -> str:
        """Put other nodes in the place of those matched; return in a few words what was done."""

    def judge(self, match: Match) -> Plan | Refusal:
        """Check what holds for all rules, then the rule's own."""
        try:
            _check_numbers(match)
            if not self.keeps_inner:
                check_inner(match)
            return self.check(match)
        except RefusedError as exc:
            return Refusal(str(exc), exc.node or match.root)


AnyRule = Rule[Any]


def _check_numbers(match: Match) -> None:
    import onnx_ir as ir

    for value, wanted in match.found.numbers:
        got = number_of(value)
        coarse = {ir.DataType.FLOAT16: 1e-3, ir.DataType.BFLOAT16: 8e-3}
        if got is None or not np.isclose(got, wanted, rtol=coarse.get(value.dtype or ir.DataType.FLOAT, 1e-5), atol=0):
            raise RefusedError(f"its constant '{value.name}' is {got:g}, not {wanted:g}")


def check_inner(match: Match) -> None:
    """Refuse where what inner nodes compute is used outside, or where not all lie in one graph."""
    inside = {id(node) for node in match.found.nodes}
    for node in match.found.nodes:
        if node.graph is not match.root.graph:
            raise RefusedError("it reaches into another branch or loop", node)
        if node is not match.root:
            check_alone(node, inside)


def check_alone(node: "ir.Node", inside: set[int]) -> None:
    """Refuse where others than these nodes (by id) use what a node computes."""
    for value in node.outputs:
        if value.is_graph_output():
            raise RefusedError(f"its result '{value.name}' is an output of the model", node)
        if any(id(use.node) not in inside for use in value.uses()):
            raise RefusedError(f"its result '{value.name}' is used elsewhere too", node)
