"""From an image to a model's input, the same on the host's evaluation and on the device."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit_agent.errors import ConfigError, InputDataError, RuntimeMissingError
from edgekit_agent.runtimes.base import Array

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
_LAYOUTS = ("nhwc", "nchw")
_ORDERS = ("rgb", "bgr", "gray")
_MAX_SIDE = 16_384
_LARGEST = 1e30  # float32 holds it; not a number is not at most it

Number = int | float
Vector = Number | tuple[Number, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How an image becomes an array: resize, crop, then (pixel * scale - mean) / std, channel order, layout.

    `resize` is the length of the short side (the shape is kept) or (height, width); `crop` is taken
    from the middle, a square or (height, width). `scale`, `mean` and `std` are one number or one a
    channel, in the channel order. Resizing is bilinear.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    scale: Vector = 1
    mean: Vector = 0
    std: Vector = 1
    order: str = "rgb"
    layout: str = "nhwc"

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Check and take values as TOML or the command line give them.

        Raises:
            ConfigError: naming the key that is unknown or wrong.
        """
        known = {field.name for field in fields(cls)}
        for key in values:
            if key not in known:
                raise ConfigError(f"preprocess has no '{key}'; it has: {', '.join(sorted(known))}")
        checked = {key: _CHECKS[key](key, value) for key, value in values.items()}
        if 0 in _each(checked.get("std", 1)):
            raise ConfigError("preprocess 'std' is 0")
        return cls(**checked)

    def to_mapping(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as JSON and TOML take them."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    def image(self, source: "Path | Image", size: tuple[int, int] | None = None) -> Array:
        """Return one image as float32 [H, W, C] or [C, H, W].

        Args:
            source: a file Pillow reads, or an opened image.
            size: (height, width) the model takes; an image that has another size after resize and
                crop is refused when one of them is set, and resized to it when none is.

        Raises:
            InputDataError: if it cannot be read, is larger than 64 million pixels, or ends up with another size.
            RuntimeMissingError: if Pillow is not installed.
        """
        import numpy as np

        picture = self._cropped(self._resized(_opened(source), size))
        if size is not None and (picture.height, picture.width) != size:
            wanted, got = f"{size[0]}x{size[1]}", f"{picture.height}x{picture.width}"
            raise InputDataError(f"an image is {got} after preprocessing and the model takes {wanted}")
        pixels = np.asarray(picture.convert("L" if self.order == "gray" else "RGB"), dtype=np.float32)
        if self.order == "gray":
            pixels = pixels[..., None]
        elif self.order == "bgr":
            pixels = pixels[..., ::-1]
        for name in ("scale", "mean", "std"):
            if len(_each(getattr(self, name))) not in {1, pixels.shape[2]}:
                raise InputDataError(
                    f"preprocess '{name}' is not one number or one for each of {pixels.shape[2]} channels"
                )
        scale, mean, std = (np.asarray(value, dtype=np.float32) for value in (self.scale, self.mean, self.std))
        values = (pixels * scale - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1) if self.layout == "nchw" else values, dtype=np.float32)

    def _resized(self, picture: "Image", size: tuple[int, int] | None) -> "Image":
        from PIL.Image import Resampling

        wanted = size if self.resize is None and self.crop is None else self.resize
        if wanted is None:
            return picture
        if isinstance(wanted, int):
            short = min(picture.size)
            width, height = (max(1, round(side * wanted / short)) for side in picture.size)
            if width * height > MAX_PIXELS:
                raise InputDataError(
                    f"an image of {picture.height}x{picture.width} is too long to be resized to {wanted}"
                )
        else:
            height, width = wanted
        return picture if picture.size == (width, height) else picture.resize((width, height), Resampling.BILINEAR)

    def _cropped(self, picture: "Image") -> "Image":
        if self.crop is None:
            return picture
        height, width = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
        if height > picture.height or width > picture.width:
            raise InputDataError(f"an image of {picture.height}x{picture.width} is smaller than crop {height}x{width}")
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))


def _opened(source: "Path | Image") -> "Image":
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as exc:
        error = RuntimeMissingError("images need Pillow, which is not installed")
        error.add_note("pip install 'edgekit-agent[images]'")
        raise error from exc
    if not isinstance(source, Path):
        return source
    try:
        with Image.open(source) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputDataError(f"image '{source}' has more than {MAX_PIXELS} pixels")
            picture.load()
            return picture.copy()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, Warning) as exc:
        raise InputDataError(f"image '{source}' cannot be read") from exc


def _each(value: Vector) -> tuple[Number, ...]:
    return value if isinstance(value, tuple) else (value,)


def _vector(key: str, value: object) -> Vector:
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not numbers or not all(type(one) in {int, float} and abs(one) <= _LARGEST for one in numbers):
        raise ConfigError(f"preprocess '{key}' is not a number or one a channel")
    return numbers if len(numbers) > 1 else numbers[0]


def _size(key: str, value: object) -> int | tuple[int, int]:
    sides = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(sides) not in {1, 2} or not all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides):
        raise ConfigError(f"preprocess '{key}' is not a number of pixels or height and width, up to {_MAX_SIDE}")
    return sides if len(sides) == 2 else sides[0]  # noqa: PLR2004  # height and width


def _one_of(*allowed: str) -> Any:  # noqa: ANN401  # a checker
    def check(key: str, value: object) -> str:
        if value not in allowed:
            raise ConfigError(f"preprocess '{key}' is '{value}' and not one of: {', '.join(allowed)}")
        return str(value)

    return check


_CHECKS: Mapping[str, Any] = {
    "resize": _size,
    "crop": _size,
    "scale": _vector,
    "mean": _vector,
    "std": _vector,
    "order": _one_of(*_ORDERS),
    "layout": _one_of(*_LAYOUTS),
}
