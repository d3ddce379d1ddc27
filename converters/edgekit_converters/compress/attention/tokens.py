"""Along which axes of a graph's values its tokens lie, followed from the inputs through every node.

A node is known to work on every token for itself, or to meet others only where it is said so: in a product over them,
a softmax, or a mean. Whatever else touches the axis is refused with the reason.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.attention.pattern import NotMatchedError
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import said

if TYPE_CHECKING:
    import onnx_ir as ir

Axes = frozenset[int]
NO_AXES: Axes = frozenset()
ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor",
        "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsNaN", "LeakyRelu", "Less",
        "LessOrEqual", "Log", "Max", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "PRelu", "Reciprocal",
        "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt", "Sub", "Swish", "Tanh", "Where",
    }
)  # fmt: skip
_MEANS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A graph whose values are followed."""

    length: int
    """How many tokens there are."""
    shapes: Mapping[str, tuple[int, ...]]
    """Every value's in a run, those of stored ones not."""
    mixing: bool
    """Whether tokens may meet: in products, softmaxes and means over them."""

    def shape(self, value: "ir.Value") -> tuple[int, ...]:
        """Return a value's shape."""
        if value.const_value is not None:
            return tuple(value.const_value.shape.numpy())
        return self.shapes[str(value.name)]


def token_axes(model: "ir.Model", starts: Mapping[str, int], tokens: Tokens, stops: frozenset[str]) -> dict[str, Axes]:
    """Return the axes of tokens of every computed value that has any, the stops too.

    Args:
        model: the graph, what depends on shapes alone stored.
        starts: axes of inputs.
        tokens: what is followed.
        stops: values that are followed no further: what takes them sees no tokens there.

    Raises:
        NotMatchedError: if a node does not keep tokens apart.
    """
    found: dict[str, Axes] = {name: frozenset({axis}) for name, axis in starts.items()}
    for node in model.graph:
        given = [
            NO_AXES if one is None or one.name in stops else found.get(str(one.name), NO_AXES) for one in node.inputs
        ]
        if not any(given):
            continue
        rule = _RULES.get(node.op_type) if node.domain in ONNX else None
        if rule is None:
            raise NotMatchedError(f"{said(node)} may mix tokens")
        axes = rule(node, given, tokens)
        found |= {str(one.name): axes for one in node.outputs if one.name and axes}
    return found


def tables(node: "ir.Node", axes: Axes, tokens: Tokens) -> list[tuple[int, tuple[int, ...]]]:
    """Return the places of stored operands of an elementwise node that have an entry a token, with the axes of these.

    Args:
        node: of the graph.
        axes: of its output's tokens.
        tokens: what is followed.
    """
    if node.op_type not in ELEMENTWISE:
        return []
    rank = len(tokens.shape(node.outputs[0]))
    found = []
    for place, one in enumerate(node.inputs):
        if one is None or one.const_value is None:
            continue
        shape = tokens.shape(one)
        own = [axis - rank + len(shape) for axis in sorted(axes)]
        some = tuple(axis for axis in own if axis >= 0 and shape[axis] == tokens.length)
        if some:
            found.append((place, some))
    return found


def _elementwise(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    rank = len(tokens.shape(node.outputs[0]))
    values = list(zip(node.inputs, given, strict=True))
    axes = frozenset(axis + rank - len(tokens.shape(one)) for one, some in values if one is not None for axis in some)
    for one, some in values:
        if one is None or one.const_value is not None:
            continue
        shape = tokens.shape(one)
        here = {axis + rank - len(shape) for axis in some}
        if any(shape[axis - rank + len(shape)] != 1 for axis in axes - here if axis - rank + len(shape) >= 0):
            raise NotMatchedError(f"{said(node)} puts tokens beside something else")
    return axes


def _matmul(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    left, right = (tokens.shape(one) for one in node.inputs if one is not None)
    rank = len(tokens.shape(node.outputs[0]))
    over = (len(left) - 1 in given[0], len(right) - 2 in given[1])
    if any(over) and not (all(over) and tokens.mixing):
        raise NotMatchedError(f"{said(node)} sums over tokens")
    axes = {axis + rank - len(left) for axis in given[0] if axis < len(left) - 1}
    axes |= {axis + rank - len(right) for axis in given[1] if axis != len(right) - 2}
    return frozenset(axes)


def _gemm(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:  # noqa: ARG001  # a rule's
    if given[0] != {0} or node.attributes.get_int("transA", 0) == 1 or any(given[1:]):
        raise NotMatchedError(f"{said(node)} sums over tokens")
    return given[0]


def _transpose(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    rank = len(tokens.shape(node.outputs[0]))
    order = list(node.attributes.get_ints("perm", None) or reversed(range(rank)))
    return frozenset(order.index(axis) for axis in given[0])


def _reshape(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    before, after = tokens.shape(node.inputs[0]), tokens.shape(node.outputs[0])  # type: ignore[arg-type]
    axes = set()
    for axis in given[0]:
        lead = math.prod(before[:axis])
        found = [at for at, size in enumerate(after) if size == tokens.length and math.prod(after[:at]) == lead]
        if not found:
            raise NotMatchedError(f"{said(node)} joins tokens with what is beside them, or cuts them apart")
        axes.add(found[0])
    return frozenset(axes)


def _normalized(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    rank = len(tokens.shape(node.outputs[0]))
    first = (node.attributes.get_int("axis", -1) or 0) % rank
    if any(axis >= first for axis in given[0]) or any(given[1:]):
        raise NotMatchedError(f"{said(node)} works across tokens")
    return given[0]


def _softmax(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    rank = len(tokens.shape(node.outputs[0]))
    over = (node.attributes.get_int("axis", -1) or 0) % rank
    if over in given[0] and not tokens.mixing:
        raise NotMatchedError(f"{said(node)} works across tokens")
    return given[0]


def _mean(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    rank = len(tokens.shape(node.inputs[0]))  # type: ignore[arg-type]  # it takes something
    stored = node.inputs[1] if len(node.inputs) > 1 else None
    listed = None if stored is None or stored.const_value is None else stored.const_value.numpy().ravel()
    over = listed if listed is not None else node.attributes.get_ints("axes", None)
    gone = {int(axis) % rank for axis in (range(rank) if over is None else over)}
    if gone & given[0] and not tokens.mixing:
        raise NotMatchedError(f"{said(node)} works across tokens")
    left = given[0] - gone
    if node.attributes.get_int("keepdims", 1) == 1:
        return left
    return frozenset(axis - sum(one < axis for one in gone) for axis in left)


def _gather(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    data, index = (tokens.shape(one) for one in node.inputs if one is not None)
    axis = (node.attributes.get_int("axis", 0) or 0) % len(data)
    if axis in given[0]:
        raise NotMatchedError(f"{said(node)} takes single tokens")
    kept = {one if one < axis else one - 1 + len(index) for one in given[0]}
    return frozenset(kept | {axis + one for one in given[1]})


def _beside(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    """Take a Split or Concat along another axis."""
    rank = len(tokens.shape(node.outputs[0]))
    axes = frozenset().union(*given)
    if (node.attributes.get_int("axis", 0) or 0) % rank in axes or len({one for one in given if one}) > 1:
        raise NotMatchedError(f"{said(node)} cuts or joins tokens")
    if node.op_type == "Concat" and any(not one for one in given):
        raise NotMatchedError(f"{said(node)} joins tokens with something else")
    return axes


def _slice(node: "ir.Node", given: list[Axes], tokens: Tokens) -> Axes:
    if tokens.shape(node.inputs[0]) != tokens.shape(node.outputs[0]):  # type: ignore[arg-type]  # it takes something
        after = tokens.shape(node.outputs[0])
        if any(after[axis] != tokens.length for axis in given[0]):
            raise NotMatchedError(f"{said(node)} cuts tokens off")
    return given[0]


Rule = Callable[["ir.Node", list[Axes], Tokens], Axes]
_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, _elementwise),
        **dict.fromkeys(_MEANS, _mean),
        **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
        **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalized),
        **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
        **dict.fromkeys(("Concat", "Split"), _beside),
        "MatMul": _matmul,
        "Gemm": _gemm,
        "Transpose": _transpose,
        # how many tokens there are is stored where shapes are settled, and the batch is no matter of theirs
        "Shape": lambda node, given, tokens: NO_AXES,  # noqa: ARG005
        "Gather": _gather,
        "Slice": _slice,
    }
)
