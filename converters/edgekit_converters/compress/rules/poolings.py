"""Forms of the mean over an image, and poolings and enlargements that change places with 1x1 convolutions.

AveragePool over all of the image, ReduceMean over its sides    GlobalAveragePool
GlobalAveragePool, then Flatten, Reshape, Squeeze to [N, C]     ReduceMean that drops the sides
1x1 Conv -> AveragePool, GlobalAveragePool                      the pooling first: it leaves fewer places to convolve
Resize that enlarges -> 1x1 Conv                                the convolution first
"""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.compress.rules.linear import pads_of, strides_of
from edgekit_converters.compress.rules.normalisation import axes_of
from edgekit_converters.compress.rules.pattern import Any, op
from edgekit_converters.compress.rules.shapes import RESHAPES
from edgekit_converters.compress.rules.values import is_fixed, sizes_of, stored
from edgekit_converters.graph.reading import name_of

if TYPE_CHECKING:
    import onnx_ir as ir

_SIDES = 2  # the first axis behind the channels
_AXES_AS_INPUT = 18  # the opset from which ReduceMean takes its axes as an input


class GlobalMean(Rule[None]):
    """A mean over all places is one op with its own kernels."""

    name = "global-mean"
    help = "AveragePool over all of an image and ReduceMean over its sides into GlobalAveragePool"
    patterns = (op("ReduceMean AveragePool", Any("x")),)

    def check(self, match: Match) -> None:
        """Take what covers every place of every channel once and leaves one element a side."""
        node, sizes = match.root, sizes_of(match.value("x"))
        if sizes is None or len(sizes) <= _SIDES:
            raise RefusedError("it is no image, or its dimensions are not known")
        if node.op_type == "ReduceMean":
            # Along one axis alone it may as well be the mean of a sequence, or half a normalization.
            if (
                len(sizes) == _SIDES + 1
                or axes_of(node) != list(range(_SIDES, len(sizes)))
                or node.attributes.get_int("keepdims", 1) != 1
            ):
                raise RefusedError("it does not go along the sides of an image alone, or drops them")
            return
        if not is_fixed(sizes[_SIDES:]) or tuple(node.attributes.get_ints("kernel_shape", ())) != sizes[_SIDES:]:
            raise RefusedError("its window is not the image, or the size is not known")
        if pads_of(node, len(sizes) - _SIDES) != (0,) * 2 * (len(sizes) - _SIDES):
            raise RefusedError("it pads")

    def rewrite(self, draft: Draft, match: Match, plan: None) -> str:  # noqa: ARG002  # the port's
        """Write the op."""
        draft.instead(draft.op("GlobalAveragePool", match.value("x"), name=str(match.root.name or "")))
        return f"{match.root.op_type} into GlobalAveragePool"


class MeanFlatten(Rule[int]):
    """A mean that drops its axes needs no reshape behind it."""

    name = "mean-flatten"
    help = "GlobalAveragePool and a reshape to [N, C] into one ReduceMean"
    patterns = (op(RESHAPES, op("GlobalAveragePool", Any("x"))),)

    def check(self, match: Match) -> int:
        """Take a result of two dimensions: the image's batch and channels."""
        before, after = sizes_of(match.value("x")), sizes_of(match.root.outputs[0])
        if before is None or after is None or None in after or after != before[:_SIDES]:
            raise RefusedError("its result is not [batch, channels], or shapes are not known")
        return len(before)

    def rewrite(self, draft: Draft, match: Match, plan: int) -> str:
        """Write the mean."""
        axes, name, value = list(range(_SIDES, plan)), str(match.root.name or ""), match.value("x")
        how: dict[str, Given] = {"keepdims": 0}
        if match.opset < _AXES_AS_INPUT:
            made = draft.op("ReduceMean", value, name=name, attributes={**how, "axes": axes})
        else:
            made = draft.op("ReduceMean", value, draft.whole(axes, "axes"), name=name, attributes=how)
        draft.instead(made)
        return f"GlobalAveragePool and {match.root.op_type} into ReduceMean"


class PoolUp(Rule[None]):
    """The mean of what a 1x1 convolution makes is what it makes of the mean."""

    name = "pool-up"
    help = "a mean behind a 1x1 convolution before it: fewer places to convolve"
    patterns = (op("AveragePool GlobalAveragePool", op("Conv", Any("x"), name="conv")),)

    def check(self, match: Match) -> None:
        """Take poolings without padding, that leave fewer places."""
        conv, pool = match.node("conv"), match.root
        check_point(conv)
        sides = len(conv.inputs[1].shape) - _SIDES  # type: ignore[union-attr, arg-type]  # checked
        if pool.op_type == "AveragePool":
            if pads_of(pool, sides) != (0,) * 2 * sides or pool.attributes.get_int("ceil_mode", 0) == 1:
                raise RefusedError("it pads, or rounds its size up")
            if all(step == 1 for step in strides_of(pool, sides)):
                raise RefusedError("it leaves about as many places as there were")
        outputs, inputs = tuple(conv.inputs[1].shape)[:_SIDES]  # type: ignore[union-attr, arg-type]  # checked
        if not isinstance(inputs, int) or not isinstance(outputs, int) or inputs * _group(conv) > 2 * outputs:
            raise RefusedError("it would pool more than twice the channels", conv)

    def rewrite(self, draft: Draft, match: Match, plan: None) -> str:  # noqa: ARG002  # the port's
        """Write both in the other order."""
        conv = match.node("conv")
        pooled = draft.op(match.root.op_type, match.value("x"), like=match.root)
        draft.instead(draft.op("Conv", pooled, *conv.inputs[1:], like=conv))
        return f"before '{name_of(conv)}'"


class ResizeDown(Rule[None]):
    """An enlargement mixes neighbours of a channel, a 1x1 convolution channels of a place: their order is free."""

    name = "resize-down"
    help = "an enlargement before a 1x1 convolution behind it: fewer places to convolve"
    patterns = (op("Conv", op("Resize", Any("x"), name="resize")),)

    def check(self, match: Match) -> None:
        """Take an enlargement of the sides whose weights sum to 1."""
        conv, resize = match.root, match.node("resize")
        check_point(conv)
        if resize.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
            raise RefusedError("it puts another value around", resize)
        scales = stored(resize.inputs[2]) if len(resize.inputs) > _SIDES else None
        if scales is None or "axes" in resize.attributes:
            raise RefusedError("its factors are computed, of some axes, or follow from a size", resize)
        if np.any(scales[:_SIDES] != 1) or np.any(scales < 1):
            raise RefusedError("it resizes the batch or channels, or makes a side smaller", resize)
        outputs, inputs = tuple(conv.inputs[1].shape)[:_SIDES]  # type: ignore[union-attr, arg-type]  # checked
        if not isinstance(inputs, int) or not isinstance(outputs, int) or outputs > inputs * _group(conv):
            raise RefusedError("the convolution makes more channels, which would all be enlarged", conv)

    def rewrite(self, draft: Draft, match: Match, plan: None) -> str:  # noqa: ARG002  # the port's
        """Write both in the other order."""
        conv, resize = match.root, match.node("resize")
        made = draft.op("Conv", match.value("x"), *conv.inputs[1:], like=conv)
        draft.instead(draft.op("Resize", made, *resize.inputs[1:], like=resize))
        return f"'{name_of(resize)}' behind it"


def check_point(conv: "ir.Node") -> None:
    """Refuse a convolution that looks at more than one place, or skips some."""
    weights = conv.inputs[1]
    if weights is None or weights.shape is None or any(size != 1 for size in tuple(weights.shape)[_SIDES:]):
        raise RefusedError("it is no 1x1 convolution", conv)
    sides = len(weights.shape) - _SIDES
    if pads_of(conv, sides) != (0,) * 2 * sides or any(step != 1 for step in strides_of(conv, sides)):
        raise RefusedError("it pads or has a stride", conv)


def _group(node: "ir.Node") -> int:
    return node.attributes.get_int("group", 1) or 1
