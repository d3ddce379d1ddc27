"""Strides, poolings and enlargements in a row.

Conv -> Relu, ... -> 1x1 Conv with stride 2     Conv with stride 2 -> Relu, ... -> 1x1 Conv: nothing is thrown away
MaxPool -> MaxPool, AveragePool -> AveragePool  one pooling
AveragePool -> GlobalAveragePool                GlobalAveragePool, where the windows cover the image evenly
Resize -> Resize (nearest, whole factors)       one Resize
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule, check_alone
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.compress.rules.elementwise import rebuilt, takes_channels
from edgekit_converters.compress.rules.linear import dilations_of, pads_of, strides_of
from edgekit_converters.compress.rules.pattern import Any, Found, op
from edgekit_converters.compress.rules.values import is_fixed, sizes_of, stored
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of

if TYPE_CHECKING:
    import onnx_ir as ir

_SPATIAL = 2  # the first axis behind the channels


@dataclass(frozen=True, slots=True)
class _Path:
    """From the convolution that gets the stride to those that lose it."""

    first: "ir.Node"
    between: "tuple[ir.Node, ...]"
    users: "tuple[ir.Node, ...]"
    strides: tuple[int, ...]


class StrideUp(Rule[_Path]):
    """Places that 1x1 convolutions with a stride throw away are not computed."""

    name = "stride-up"
    help = "the stride of 1x1 convolutions into the convolution before them"
    keeps_inner = True

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield the first of the strided 1x1 convolutions on a value that is computed."""
        if not _is_strided_point(node) or node.inputs[0] is None or node.inputs[0].producer() is None:
            return
        users = [use.node for use in node.inputs[0].uses()]
        if node.graph is not None and next(one for one in node.graph if any(one is user for user in users)) is node:
            yield Match(model, node, Found((node,)))

    def check(self, match: Match) -> _Path:
        """Take a convolution behind nothing but ops on single elements, all of whose users have the stride."""
        value = match.root.inputs[0]
        if value is None:
            raise AssertionError("a convolution takes something")
        spatial = len(match.root.inputs[1].shape) - _SPATIAL  # type: ignore[union-attr, arg-type]  # it is strided
        strides = strides_of(match.root, spatial)
        users = tuple({id(use.node): use.node for use in value.uses()}.values())
        if any(not _is_strided_point(one) or strides_of(one, spatial) != strides for one in users):
            raise RefusedError("what it takes goes elsewhere too, with another stride")
        if any(one.inputs[0] is not value or one.graph is not match.root.graph for one in users):
            raise RefusedError("what it takes goes elsewhere too")
        between: list[ir.Node] = []
        inside = {id(one) for one in users}
        node = value.producer()
        while node is not None and node.op_type != "Conv":
            check_alone(node, inside)
            value = takes_channels(node, spatial)
            between.append(node)
            inside.add(id(node))
            node = value.producer()
        if node is None or node.graph is not match.root.graph or node.domain not in ONNX:
            raise RefusedError("there is no convolution before it")
        check_alone(node, inside)
        if pads_of(node, spatial) is None:
            raise RefusedError("its padding follows from its stride", node)
        own = strides_of(node, spatial)
        return _Path(node, tuple(reversed(between)), users, tuple(a * b for a, b in zip(own, strides, strict=True)))

    def rewrite(self, draft: Draft, match: Match, plan: _Path) -> str:  # noqa: ARG002  # the port's
        """Write all of them anew."""
        first = plan.first
        old, new = first.outputs[0], draft.op("Conv", *first.inputs, like=first, attributes={"strides": plan.strides})
        for node in plan.between:
            new = rebuilt(draft, node, old, new)
            old = node.outputs[0]
        for node in plan.users:
            ones: dict[str, Given] = {"strides": (1,) * len(plan.strides)}
            draft.instead(draft.op("Conv", new, *node.inputs[1:], like=node, attributes=ones), node.outputs[0])
        draft.finish([*plan.users, *reversed(plan.between), first])
        return f"its stride into '{name_of(first)}'"


def _is_strided_point(node: "ir.Node") -> bool:
    weights = node.inputs[1] if node.op_type == "Conv" and node.domain in ONNX else None
    if weights is None or weights.shape is None:
        return False
    kernel = tuple(weights.shape)[_SPATIAL:]
    plain = all(size == 1 for size in kernel) and pads_of(node, len(kernel)) == (0,) * 2 * len(kernel)
    return plain and any(step > 1 for step in strides_of(node, len(kernel)))


class PoolPair(Rule[dict[str, Given]]):
    """The greatest of the greatest is the greatest of all; so is the mean of means where windows do not overlap."""

    name = "pool-pair"
    help = "two poolings in a row into one"
    patterns = (
        op("MaxPool", op("MaxPool", Any("x"), name="first")),
        op("AveragePool", op("AveragePool", Any("x"), name="first")),
        op("GlobalAveragePool", op("AveragePool", Any("x"), name="first")),
    )

    def check(self, match: Match) -> dict[str, Given]:
        """Take poolings without padding whose windows cover the same places once."""
        first, second = match.node("first"), match.root
        kernel = first.attributes.get_ints("kernel_shape", ())
        steps = strides_of(first, len(kernel))
        for node in (first, second):
            _check_plain(node, len(kernel))
        if second.op_type == "GlobalAveragePool":
            sizes = sizes_of(match.value("x"))
            if tuple(kernel) != steps or sizes is None or not is_fixed(sizes[_SPATIAL:]):
                raise RefusedError("the windows overlap or leave gaps, or the size is not known", first)
            if any(int(size or 0) % step for size, step in zip(sizes[_SPATIAL:], steps, strict=True)):
                raise RefusedError("the windows leave out an edge", first)
            return {}
        outer = second.attributes.get_ints("kernel_shape", ())
        if first.op_type == "AveragePool" and tuple(kernel) != steps:
            raise RefusedError("the windows overlap or leave gaps, and weigh places differently", first)
        if any(step > size for size, step in zip(kernel, steps, strict=True)):
            raise RefusedError("the windows leave gaps", first)
        more = strides_of(second, len(kernel))
        return {
            "kernel_shape": [(b - 1) * step + a for a, b, step in zip(kernel, outer, steps, strict=True)],
            "strides": [a * b for a, b in zip(steps, more, strict=True)],
        }

    def rewrite(self, draft: Draft, match: Match, plan: dict[str, Given]) -> str:
        """Write one pooling."""
        node = match.root
        draft.instead(draft.op(node.op_type, match.value("x"), like=node, attributes=plan))
        return f"'{name_of(match.node('first'))}' into it"


def _check_plain(node: "ir.Node", spatial: int) -> None:
    if node.op_type == "GlobalAveragePool":
        return
    if pads_of(node, spatial) != (0,) * 2 * spatial:
        raise RefusedError("it pads", node)
    if node.attributes.get_int("ceil_mode", 0) == 1 or any(step != 1 for step in dilations_of(node, spatial)):
        raise RefusedError("it rounds its size up, or its window has gaps", node)
    if any(one.uses() or one.is_graph_output() for one in node.outputs[1:]):
        raise RefusedError("the places of the greatest are used", node)


class ResizePair(Rule[list[float]]):
    """Every element repeated, and every one of those again."""

    name = "resize-pair"
    help = "two enlargements by repetition (Resize nearest, whole factors) in a row into one"
    patterns = (op("Resize", op("Resize", Any("x"), name="first")),)

    def check(self, match: Match) -> list[float]:
        """Take whole factors, and ways to round that repeat every element as often."""
        match.need_opset("Resize with these attributes", 11)
        first, second = (repeats_of(one) for one in (match.node("first"), match.root))
        return [float(a * b) for a, b in zip(first, second, strict=True)]

    def rewrite(self, draft: Draft, match: Match, plan: list[float]) -> str:
        """Write one Resize."""
        made = write_repeats(draft, match.value("x"), plan, match.root)
        draft.instead(made)
        return f"'{name_of(match.node('first'))}' into it"


_REPEATING = frozenset(
    {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("pytorch_half_pixel", "round_prefer_floor")}
)


def repeats_of(node: "ir.Node") -> list[int]:
    """Return how often a Resize repeats every element along every axis.

    Raises:
        RefusedError: if it does something else.
    """
    if node.attributes.get_string("mode", "nearest") != "nearest":
        raise RefusedError("it mixes neighbours", node)
    how = (
        node.attributes.get_string("coordinate_transformation_mode", "half_pixel"),
        node.attributes.get_string("nearest_mode", "round_prefer_floor"),
    )
    if how not in _REPEATING:
        raise RefusedError(f"with {how[0]} and {how[1]} elements are repeated differently often", node)
    if (
        node.attributes.get_ints("axes", None)
        or node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        raise RefusedError("its factors are of some axes, or follow from the size", node)
    before, after = (None if one is None else sizes_of(one) for one in (node.inputs[0], node.outputs[0]))
    scales = stored(node.inputs[2]) if len(node.inputs) > 2 else None  # noqa: PLR2004  # its factors
    if scales is None and before is not None and after is not None:
        scales = np.array(_factors(before, after, node))
    if scales is None or np.any(scales != np.rint(scales)) or np.any(scales < 1):
        raise RefusedError("its factors are not whole numbers from 1 on, or not known", node)
    return [int(one) for one in scales]


def _factors(before: Sequence[int | str | None], after: Sequence[int | str | None], node: "ir.Node") -> list[float]:
    found = []
    for old, new in zip(before, after, strict=True):
        if isinstance(old, int) and isinstance(new, int):
            found.append(new / old)
        elif old == new and old is not None:
            found.append(1.0)
        else:
            raise RefusedError("its factors are not whole numbers from 1 on, or not known", node)
    return found


def write_repeats(draft: Draft, source: "ir.Value", factors: Sequence[float], like: "ir.Node") -> "ir.Value":
    """Write a Resize that repeats elements."""
    import onnx_ir as ir

    scales = draft.floats(np.array(factors), ir.Value(type=ir.TensorType(ir.DataType.FLOAT)), "scales")
    how: dict[str, Given] = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return draft.op("Resize", source, None, scales, name=name_of(like), attributes=how)
