"""Where a picture's pixels go: resized, cropped from the middle, or fitted whole into a box with a rim."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit_agent.errors import InputDataError

MAX_PIXELS = 64_000_000

Size = tuple[int, int]
"""Height and width, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A picture's place after preprocessing, rows before columns: pixel * scale - offset, in a picture of `size`.

    An offset below zero is the rim of a letterbox. `source` is the size it had, `between` that after the resize.
    """

    source: Size
    between: Size
    size: Size
    offset: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """By how much rows and columns became more."""
        return self.between[0] / self.source[0], self.between[1] / self.source[1]


def resized(source: Size, resize: int | Size | None) -> Size:
    """Return the size after a resize to a short side (the shape is kept) or to height and width.

    Raises:
        InputDataError: if it would have more than 64 million pixels.
    """
    if not isinstance(resize, int):
        return resize or source
    return _within(source, resize, resize / min(source))


def cropped(source: Size, crop: int | Size | None) -> Size:
    """Return the size of what is cut from the middle.

    Raises:
        InputDataError: if the picture is smaller.
    """
    if crop is None:
        return source
    tall, wide = box(crop)
    if tall > source[0] or wide > source[1]:
        raise InputDataError(f"an image of {source[0]}x{source[1]} is smaller than crop {tall}x{wide}")
    return tall, wide


def fitted(source: Size, letterbox: int | Size) -> Size:
    """Return the largest size of the picture's own shape in a box."""
    inside = box(letterbox)
    tall, wide = _within(source, letterbox, min(inside[0] / source[0], inside[1] / source[1]))
    return min(tall, inside[0]), min(wide, inside[1])


def box(sides: int | Size) -> Size:
    """Return height and width of a box, or of a square by its one side."""
    return (sides, sides) if isinstance(sides, int) else sides


def placed(source: Size, resize: int | Size | None, crop: int | Size | None, letterbox: int | Size | None) -> Placement:
    """Return where a picture's pixels end up.

    Raises:
        InputDataError: if it becomes too large, or is smaller than the crop.
    """
    if letterbox is None:
        between = resized(source, resize)
        size = cropped(between, crop)
    else:
        between, size = fitted(source, letterbox), box(letterbox)
    return Placement(
        source=source,
        between=between,
        size=size,
        offset=(_half(between[0] - size[0]), _half(between[1] - size[1])),
    )


def _half(spare: int) -> int:
    """Return half of what is cut away, or (below zero) of the rim that is added, towards zero."""
    return spare // 2 if spare >= 0 else -(-spare // 2)


def _within(source: Size, wanted: int | Size, scale: float) -> Size:
    tall, wide = (max(1, round(side * scale)) for side in source)
    if tall * wide > MAX_PIXELS:
        raise InputDataError(f"an image of {source[0]}x{source[1]} is too long to be resized to {wanted}")
    return tall, wide


def picture_size(shape: Sequence[int], layout: str) -> Size | None:
    """Return the height and width of an image input's shape, None where it is no image or one of them is free."""
    if len(shape) != 4:  # noqa: PLR2004  # samples, height, width, channels
        return None
    height, width = shape[2:4] if layout == "nchw" else shape[1:3]
    return (height, width) if height > 0 and width > 0 else None
