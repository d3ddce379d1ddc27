"""Transposes and reshapes in a row are one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft, check_stand_in
from edgekit_converters.compress.rules.pattern import Any, Found, op
from edgekit_converters.compress.rules.values import sizes_of

if TYPE_CHECKING:
    import onnx_ir as ir

RESHAPES = "Reshape Flatten Squeeze Unsqueeze"


class TransposePair(Rule[tuple[int, ...]]):
    """Two orders of axes in a row are one order."""

    name = "transpose-pair"
    help = "two Transposes in a row into one"
    keeps_inner = True
    patterns = (op("Transpose", op("Transpose", Any("x"), name="first")),)

    def check(self, match: Match) -> tuple[int, ...]:
        """Put one order after the other."""
        first, second = order_of(match.node("first")), order_of(match.root)
        return tuple(first[at] for at in second)

    def rewrite(self, draft: Draft, match: Match, plan: tuple[int, ...]) -> str:
        """Write one Transpose; where it moves nothing, `no-op` takes it out."""
        draft.instead(draft.op("Transpose", match.value("x"), like=match.root, attributes={"perm": plan}))
        return f"two Transposes into {'none' if list(plan) == sorted(plan) else 'one'}"


def order_of(node: "ir.Node") -> tuple[int, ...]:
    """Return a Transpose's order of axes.

    Raises:
        RefusedError: if it is the reverse of an unknown number of axes.
    """
    given = node.attributes.get_ints("perm", None)
    value = node.inputs[0]
    if given is None and (value is None or value.shape is None):
        raise RefusedError("the number of its dimensions is not known", node)
    return tuple(given) if given is not None else tuple(reversed(range(len(value.shape))))  # type: ignore[union-attr, arg-type]  # known


class ReshapePair(Rule[list[int]]):
    """Reshape, Flatten, Squeeze and Unsqueeze in a row are one Reshape to the last one's shape."""

    name = "reshape-pair"
    help = "reshapes in a row into one"
    keeps_inner = True
    patterns = (op(RESHAPES, op(RESHAPES, Any("x"), name="first")),)

    def check(self, match: Match) -> list[int]:
        """Take a shape with no more than one size that is not a number."""
        match.need_opset("Reshape with a shape as input", 5)
        return target_of(match.root.outputs[0])

    def rewrite(self, draft: Draft, match: Match, plan: list[int]) -> str:
        """Write one Reshape."""
        source = match.value("x")
        draft.instead(draft.op("Reshape", source, draft.whole(plan, "shape"), name=str(match.root.name or "")))
        return f"{match.node('first').op_type} and {match.root.op_type} into Reshape"


def target_of(value: "ir.Value") -> list[int]:
    """Return a value's shape as a Reshape takes it: -1 for a size that is not known.

    Raises:
        RefusedError: if several are not known, or it is empty.
    """
    sizes = sizes_of(value)
    if sizes is None or sum(not isinstance(size, int) for size in sizes) > 1:
        raise RefusedError("more than one size of its result is not known")
    if 0 in sizes:
        raise RefusedError("its result is empty")
    return [size if isinstance(size, int) else -1 for size in sizes]


class SplitConcat(Rule["ir.Value"]):
    """Parts that are joined again in their order are the whole."""

    name = "split-concat"
    help = "a Split joined again in the same order is taken out"
    keeps_inner = True

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield a Concat of what one Split makes."""
        first = node.inputs[0] if node.op_type == "Concat" and node.inputs else None
        split = None if first is None else first.producer()
        if split is not None and split.op_type == "Split" and all(_makes(split, one) for one in node.inputs):
            yield Match(model, node, Found((node, split), {"x": split.inputs[0]}))  # type: ignore[dict-item]  # a Split takes one

    def check(self, match: Match) -> "ir.Value":
        """Take all of the parts, in order, along the same axis."""
        node, split = match.found.nodes
        rank = None if split.inputs[0] is None or split.inputs[0].shape is None else len(split.inputs[0].shape)
        axes = [one.attributes.get_int("axis", 0) or 0 for one in (node, split)]
        if rank is None or axes[0] % rank != axes[1] % rank:
            raise RefusedError("it is joined along another axis, or its dimensions are not known")
        if [id(one) for one in node.inputs] != [id(one) for one in split.outputs]:
            raise RefusedError("its parts are joined in another order, or not all of them")
        check_stand_in(match.value("x"), node.outputs[0])
        return match.value("x")

    def rewrite(self, draft: Draft, match: Match, plan: "ir.Value") -> str:  # noqa: ARG002  # the port's
        """Let what was split stand for it."""
        draft.instead(plan)
        return "Split and Concat taken out"


def _makes(node: "ir.Node", value: "ir.Value | None") -> bool:
    return value is not None and value.producer() is node
