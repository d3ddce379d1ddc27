"""Zeros put around an image before a convolution or pooling that can put them there itself."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.compress.rules.linear import pads_of
from edgekit_converters.compress.rules.pattern import Any, op
from edgekit_converters.compress.rules.values import number_of, whole_numbers

if TYPE_CHECKING:
    import onnx_ir as ir

_AXES = 3  # the place of Pad's fourth input


@dataclass(frozen=True, slots=True)
class Padding:
    """What a Pad puts around: before every axis, then behind, and the number it puts there."""

    pads: tuple[int, ...]
    number: float

    @property
    def spatial(self) -> tuple[int, ...]:
        """The padding of the axes behind the channels'."""
        half = len(self.pads) // 2
        return (*self.pads[2:half], *self.pads[half + 2 :])


class PadInto(Rule[dict[str, Given]]):
    """A convolution, or a pooling that counts them, pads by itself."""

    name = "pad-into"
    help = "a Pad before a convolution or pooling into its own padding"
    patterns = (op("Conv MaxPool AveragePool", op("Pad", Any("x"), name="pad")),)

    def check(self, match: Match) -> dict[str, Given]:
        """Take a padding of the image's sides with what the op itself pads with."""
        node, padding = match.root, padding_of(match.node("pad"))
        half = len(padding.pads) // 2
        if half <= 2 or any(padding.pads[at] for at in (0, 1, half, half + 1)):  # noqa: PLR2004  # batch and channels
            raise RefusedError("it pads the batch or the channels", match.node("pad"))
        if min(padding.pads) < 0:
            raise RefusedError("it cuts something off", match.node("pad"))
        own = pads_of(node, half - 2)
        if own is None:
            raise RefusedError("its padding follows from the size")
        if node.attributes.get_int("ceil_mode", 0):
            raise RefusedError("it rounds its size up")
        attributes: dict[str, Given] = {
            "auto_pad": "NOTSET",
            "pads": [a + b for a, b in zip(own, padding.spatial, strict=True)],
        }
        return attributes | _CHECKS[node.op_type](match, padding, own)

    def rewrite(self, draft: Draft, match: Match, plan: dict[str, Given]) -> str:
        """Write the op with its padding."""
        node = match.root
        made = draft.op(node.op_type, match.value("x"), *node.inputs[1:], like=node, attributes=plan)
        draft.instead(made)
        return f"Pad into {node.op_type}"


def padding_of(node: "ir.Node") -> Padding:
    """Return what a Pad puts around all axes.

    Raises:
        RefusedError: if it is computed, or mirrors the image.
    """
    if node.attributes.get_string("mode", "constant") != "constant":
        raise RefusedError(f"it pads with the image ({node.attributes.get_string('mode')})", node)
    if len(node.inputs) == 1:  # up to opset 10
        given = node.attributes.get_ints("pads", ()) or node.attributes.get_ints("paddings", ())
        return Padding(tuple(given), node.attributes.get_float("value", 0.0) or 0.0)
    pads = whole_numbers(node.inputs[1])
    filling = node.inputs[2] if len(node.inputs) > 2 else None  # noqa: PLR2004  # its number
    number = 0.0 if filling is None else number_of(filling)
    if pads is None or number is None:
        raise RefusedError("its padding is computed", node)
    axes = node.inputs[_AXES] if len(node.inputs) > _AXES else None
    return Padding(tuple(pads) if axes is None else _spread(node, pads, whole_numbers(axes)), number)


def _spread(node: "ir.Node", pads: list[int], axes: list[int] | None) -> tuple[int, ...]:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is None or axes is None:
        raise RefusedError("its axes are computed, or its dimensions are not known", node)
    rank, half = len(shape), len(axes)
    spread = [0] * 2 * rank
    for at, axis in enumerate(axes):
        spread[axis % rank], spread[axis % rank + rank] = pads[at], pads[at + half]
    return tuple(spread)


def _zeros(match: Match, padding: Padding, own: tuple[int, ...]) -> dict[str, Given]:  # noqa: ARG001  # one of a table
    if padding.number != 0:
        raise RefusedError(f"it pads with {padding.number:g}, and a convolution with 0", match.node("pad"))
    return {}


def _average(match: Match, padding: Padding, own: tuple[int, ...]) -> dict[str, Given]:
    _zeros(match, padding, own)
    if any(own) and not match.root.attributes.get_int("count_include_pad", 0):
        raise RefusedError("it does not count its own padding, and the Pad's counts")
    if match.opset < 7:  # noqa: PLR2004  # count_include_pad came with it
        raise RefusedError("AveragePool that counts its padding is of opset 7")
    _check_below_kernel(match, padding, own)
    return {"count_include_pad": 1}


def _greatest(match: Match, padding: Padding, own: tuple[int, ...]) -> dict[str, Given]:
    """Refuse other numbers than those that are never the greatest: a MaxPool's padding is none."""
    source = match.value("x").producer()
    positive = padding.number == 0 and source is not None and source.op_type in {"Relu", "Sigmoid", "Softmax", "Abs"}
    if not positive and padding.number > -3e38 and not math.isinf(padding.number):  # noqa: PLR2004  # float32's least
        raise RefusedError(f"it pads with {padding.number:g}, which may be the greatest", match.node("pad"))
    if any(step != 1 for step in match.root.attributes.get_ints("dilations", ())):
        raise RefusedError("its window has gaps, which may lie on all that is no padding")
    if any(own) and not math.isinf(padding.number) and not positive:
        raise RefusedError("it pads by itself too, with nothing")
    _check_below_kernel(match, padding, own)
    return {}


def _check_below_kernel(match: Match, padding: Padding, own: tuple[int, ...]) -> None:
    kernel = match.root.attributes.get_ints("kernel_shape", ())
    total = [a + b for a, b in zip(own, padding.spatial, strict=True)]
    if any(size >= width for size, width in zip(total, (*kernel, *kernel), strict=True)):
        raise RefusedError("it pads as wide as the pooling's window, or wider")


_CHECKS = {"Conv": _zeros, "AveragePool": _average, "MaxPool": _greatest}
