"""Patterns of nodes as small trees, read from the last node up to what it is computed from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TYPE_CHECKING

from edgekit_converters.compress.rules.values import number_of, stored
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

_COMMUTE = frozenset({"Add", "Mul", "Max", "Min", "Sum"})


@dataclass(frozen=True, slots=True)
class Found:
    """What a pattern matched so far."""

    nodes: tuple["ir.Node", ...] = ()
    """The nodes that are operators of the pattern, the root first."""
    named: Mapping[str, "ir.Value"] = field(default_factory=dict)
    """Values by the names the pattern gives them; of an operator its first output."""
    numbers: tuple[tuple["ir.Value", float], ...] = ()
    """Stored numbers, and what the pattern wants them to be."""


class Form:
    """A part of a pattern."""

    def match(self, value: "ir.Value", found: Found) -> Iterator[Found]:
        """Yield every way a value fits, with what was found before."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Any(Form):
    """Any value; the same one wherever the name stands."""

    name: str

    def match(self, value: "ir.Value", found: Found) -> Iterator[Found]:
        """Bind the value to the name."""
        if found.named.get(self.name, value) is value:
            yield replace(found, named={**found.named, self.name: value})


@dataclass(frozen=True, slots=True)
class Stored(Form):
    """A stored tensor of floats."""

    name: str

    def match(self, value: "ir.Value", found: Found) -> Iterator[Found]:
        """Bind a stored tensor to the name."""
        if stored(value) is not None:
            yield from Any(self.name).match(value, found)


@dataclass(frozen=True, slots=True)
class Number(Form):
    """A stored number: any one fits, and whether it is the one wanted is looked at afterwards, to say so."""

    wanted: float

    def match(self, value: "ir.Value", found: Found) -> Iterator[Found]:
        """Note the number and what it should be."""
        if number_of(value) is not None:
            yield replace(found, numbers=(*found.numbers, (value, self.wanted)))


@dataclass(frozen=True, slots=True)
class Op(Form):
    """An operator of ONNX: its kinds, what its first inputs are (in any order where that is the same), its name."""

    kinds: tuple[str, ...]
    inputs: tuple[Form, ...]
    name: str = ""
    anywhere: bool = False
    """Whether the forms may match any of the inputs, in any order: the rule looks at which."""

    def match(self, value: "ir.Value", found: Found) -> Iterator[Found]:
        """Match the node that makes the value, and what it takes."""
        node = value.producer()
        if node is not None and value is node.outputs[0]:
            yield from self.match_node(node, found)

    def match_node(self, node: "ir.Node", found: Found) -> Iterator[Found]:
        """Match a node, and what it takes."""
        if node.op_type not in self.kinds or node.domain not in ONNX or len(node.inputs) < len(self.inputs):
            return
        named = {**found.named, self.name: node.outputs[0]} if self.name else found.named
        begun = replace(found, nodes=(*found.nodes, node), named=named)
        for chosen in self._orders(node):
            yield from _all(self.inputs, chosen, begun)

    def _orders(self, node: "ir.Node") -> Iterator[tuple["ir.Value | None", ...]]:
        count = len(self.inputs)
        if self.anywhere or (node.op_type in _COMMUTE and len(node.inputs) == count):
            yield from permutations(node.inputs, count)
        else:
            yield tuple(node.inputs[:count])


@dataclass(frozen=True, slots=True)
class Either(Form):
    """Any of several forms."""

    forms: tuple[Op, ...]

    def match(self, value: "ir.Value", found: Found) -> Iterator[Found]:
        """Try one after the other."""
        for form in self.forms:
            yield from form.match(value, found)


def _all(forms: tuple[Form, ...], values: tuple["ir.Value | None", ...], found: Found) -> Iterator[Found]:
    if not forms:
        yield found
    elif values[0] is not None:
        for one in forms[0].match(values[0], found):
            yield from _all(forms[1:], values[1:], one)


def op(kinds: str, *inputs: Form, name: str = "", anywhere: bool = False) -> Op:
    """Return an operator's form; `kinds` are separated by blanks."""
    return Op(tuple(kinds.split()), inputs, name, anywhere)


def times(form: Form, factor: float) -> Either:
    """Return the form of something multiplied by a number, or divided by its inverse."""
    return Either((op("Mul", form, Number(factor)), op("Div", form, Number(1 / factor))))


def plus(form: Form, number: float) -> Either:
    """Return the form of something with a number added, or its negative taken off."""
    return Either((op("Add", form, Number(number)), op("Sub", form, Number(-number))))
