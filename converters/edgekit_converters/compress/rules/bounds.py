"""Clip, Relu, Max and Min with a number, behind each other or behind what is bounded anyway, are one or none."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft, check_stand_in
from edgekit_converters.compress.rules.pattern import Any, op
from edgekit_converters.compress.rules.values import number_of, same_shape

if TYPE_CHECKING:
    import onnx_ir as ir

_KINDS = "Clip Relu Max Min"
_INPUTS_SINCE = 11  # the opset from which Clip takes its bounds as inputs
# What these give lies between, whatever they take.
_BETWEEN = MappingProxyType(
    {
        "Sigmoid": (0.0, 1.0),
        "HardSigmoid": (0.0, 1.0),
        "Softmax": (0.0, 1.0),
        "Exp": (0.0, math.inf),
        "Sqrt": (0.0, math.inf),
        "Abs": (0.0, math.inf),
        "Softplus": (0.0, math.inf),
        "Tanh": (-1.0, 1.0),
    }
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value."""

    low: float
    high: float


def bounds_of(node: "ir.Node", source: "ir.Value") -> Bounds:
    """Return between what a node keeps a value.

    Raises:
        RefusedError: if a bound is computed, or the lower is above the upper one.
    """
    if node.op_type == "Relu":
        return Bounds(0.0, math.inf)
    if node.op_type == "Clip":
        return _clip(node)
    others = [one for one in node.inputs if one is not source]
    numbers = [number_of(one) for one in others]
    if len(others) != 1 or numbers[0] is None or not same_shape(source, node.outputs[0]):
        raise RefusedError(f"{node.op_type} takes no single number", node)
    return Bounds(numbers[0], math.inf) if node.op_type == "Max" else Bounds(-math.inf, numbers[0])


def _clip(node: "ir.Node") -> Bounds:
    found = []
    for at, name, without in ((1, "min", -math.inf), (2, "max", math.inf)):
        given = node.inputs[at] if at < len(node.inputs) else None
        if given is None:
            written = node.attributes.get_float(name, None)
            found.append(without if written is None else written)
        else:
            number = number_of(given)
            if number is None:
                raise RefusedError("its bounds are computed", node)
            found.append(number)
    if not found[0] <= found[1]:
        raise RefusedError("its lower bound is above its upper one", node)
    return Bounds(*found)


class ClipPair(Rule[Bounds]):
    """Bounds of bounds."""

    name = "clip-pair"
    help = "Clip, Relu, Max and Min with numbers in a row into one"
    keeps_inner = True
    patterns = (op(_KINDS, op(_KINDS, Any("x"), name="first", anywhere=True), anywhere=True),)

    def check(self, match: Match) -> Bounds:
        """Take two with stored bounds, of floats."""
        first = bounds_of(match.node("first"), match.value("x"))
        second = bounds_of(match.root, match.value("first"))
        low, high = (min(max(one, second.low), second.high) for one in (first.low, first.high))
        check_writable(match, Bounds(low, high))
        return Bounds(low, high)

    def rewrite(self, draft: Draft, match: Match, plan: Bounds) -> str:
        """Write one of them."""
        kind = write_bounds(draft, match, plan)
        return f"{match.node('first').op_type} and {match.root.op_type} into {kind}"


class ClipForm(Rule[Bounds]):
    """A Clip from 0 on is a Relu; Max and Min with a number are what runtimes fuse as one of the two."""

    name = "clip-form"
    help = "Max(x, 0) and Clip(x, 0) into Relu, Max and Min with a number into Clip"
    patterns = (op("Max Min", Any("x"), anywhere=True), op("Clip", Any("x")))

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Leave out a Clip that is no Relu: it has its shortest form."""
        for match in super().find(model, node):
            if node.op_type != "Clip" or _is_relu(node):
                yield match

    def check(self, match: Match) -> Bounds:
        """Take stored bounds."""
        bounds = bounds_of(match.root, match.value("x"))
        check_writable(match, bounds)
        return bounds

    def rewrite(self, draft: Draft, match: Match, plan: Bounds) -> str:
        """Write the shorter form."""
        return f"{match.root.op_type} into {write_bounds(draft, match, plan)}"


def _is_relu(node: "ir.Node") -> bool:
    try:
        return _clip(node) == Bounds(0.0, math.inf)
    except RefusedError:
        return False


class ClipKnown(Rule["ir.Value"]):
    """A Relu behind a Sigmoid, Softmax, ... changes nothing."""

    name = "clip-known"
    help = "bounds behind what lies between them anyway are taken out"
    keeps_inner = True
    patterns = (op(_KINDS, op(" ".join(_BETWEEN), name="first"), anywhere=True),)

    def check(self, match: Match) -> "ir.Value":
        """Take bounds that nothing reaches."""
        bounds, known = bounds_of(match.root, match.value("first")), _BETWEEN[match.node("first").op_type]
        if bounds.low > known[0] or bounds.high < known[1]:
            raise RefusedError(f"{match.node('first').op_type} reaches its bounds")
        check_stand_in(match.value("first"), match.root.outputs[0])
        return match.value("first")

    def rewrite(self, draft: Draft, match: Match, plan: "ir.Value") -> str:
        """Take it out."""
        draft.instead(plan)
        return f"{match.root.op_type} behind {match.node('first').op_type} taken out"


def check_writable(match: Match, bounds: Bounds) -> None:
    """Refuse what a Clip of the model's opset, or of its dtype, is not for."""
    value = match.value("x")
    if value.dtype is None or not value.dtype.is_floating_point():
        raise RefusedError("it bounds no floats")
    if math.isnan(bounds.low) or math.isnan(bounds.high):
        raise RefusedError("a bound is no number")


def write_bounds(draft: Draft, match: Match, bounds: Bounds) -> str:
    """Write a Relu where the bounds are its own, else a Clip; return which."""
    source, name = match.value("x"), str(match.root.name or "")
    if bounds == Bounds(0.0, math.inf):
        draft.instead(draft.op("Relu", source, name=name))
        return "Relu"
    if match.opset < _INPUTS_SINCE:
        limits = {"min": bounds.low, "max": bounds.high}
        draft.instead(
            draft.op("Clip", source, name=name, attributes={k: v for k, v in limits.items() if math.isfinite(v)})
        )
        return "Clip"
    given = [draft.floats(one, source, "bound") if math.isfinite(one) else None for one in (bounds.low, bounds.high)]
    while given and given[-1] is None:
        given.pop()
    draft.instead(draft.op("Clip", source, *given, name=name))
    return "Clip"
