"""From an image, a sound or a table's row to a model's input, the same on the host's evaluation and on the device."""

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
MAX_RATE = 768_000
_MAX_SIDE = 16_384
_MAX_LENGTH = 1 << 28
_MAX_COLUMNS = 1 << 16
_LARGEST = 1e30  # float32 holds it; not a number is not at most it

Number = int | float
Vector = Number | tuple[Number, ...]
Column = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How an image, a sound or a row of a table becomes an array; each takes the keys that are its own.

    Images: `resize` is the length of the short side (the shape is kept) or (height, width); `crop` is
    taken from the middle, a square or (height, width). Resizing is bilinear. `order` and `layout` are of
    the channels.

    Sounds: `rate` in hertz is resampled to, `length` is a number of samples: longer sounds are cut,
    shorter ones end in silence.

    Tables: `columns` are the inputs and `label` is the label, by name or number (from 0).

    All of them end as (value * scale - mean) / std, one number each or one a channel (in the channel
    order) or column. A pixel's values are 0 to 255, a sound's -1 to 1.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    scale: Vector = 1
    mean: Vector = 0
    std: Vector = 1
    order: str = "rgb"
    layout: str = "nhwc"
    rate: int | None = None
    length: int | None = None
    columns: tuple[Column, ...] = ()
    label: Column | None = None

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

        picture = self._cropped(self._resized(opened(source), size))
        if size is not None and (picture.height, picture.width) != size:
            wanted, got = f"{size[0]}x{size[1]}", f"{picture.height}x{picture.width}"
            raise InputDataError(f"an image is {got} after preprocessing and the model takes {wanted}")
        pixels = np.asarray(picture.convert("L" if self.order == "gray" else "RGB"), dtype=np.float32)
        if self.order == "gray":
            pixels = pixels[..., None]
        elif self.order == "bgr":
            pixels = pixels[..., ::-1]
        values = self.normalized(pixels, "channels")
        return np.ascontiguousarray(values.transpose(2, 0, 1) if self.layout == "nchw" else values, dtype=np.float32)

    def sound(self, source: Path) -> tuple[Array, int]:
        """Return a `.wav` file's samples as float32 [N], and their rate in hertz.

        Raises:
            InputDataError: if it cannot be read.
        """
        import numpy as np

        from edgekit_agent.sound import read_wav, resampled

        samples, rate = read_wav(source)
        if self.rate is not None:
            samples, rate = resampled(samples, rate, self.rate), self.rate
        if self.length is not None:
            kept = samples[: self.length]
            samples = np.zeros(self.length, np.float32)
            samples[: len(kept)] = kept
        return self.normalized(samples[:, None], "channels")[:, 0], rate

    def normalized(self, values: Array, what: str) -> Array:
        """Return (values * scale - mean) / std in float32, where the last axis holds the channels or columns.

        Raises:
            InputDataError: if there is neither one scale, mean or std nor one for each of them.
        """
        import numpy as np

        for name in ("scale", "mean", "std"):
            if len(_each(getattr(self, name))) not in {1, values.shape[-1]}:
                raise InputDataError(
                    f"preprocess '{name}' is not one number or one for each of {values.shape[-1]} {what}"
                )
        scale, mean, std = (np.asarray(value, dtype=np.float32) for value in (self.scale, self.mean, self.std))
        return np.asarray((values.astype(np.float32) * scale - mean) / std, dtype=np.float32)

    def placed(self, height: int, width: int) -> "Placement":
        """Return where a picture's pixels end up after resize and crop.

        Raises:
            InputDataError: if it becomes too large, or is smaller than the crop.
        """
        tall, wide = self._resized_size(height, width, None)
        cut_tall, cut_wide = self._crop_size(tall, wide)
        return Placement(
            size=(cut_tall, cut_wide),
            scale=(tall / height, wide / width),
            offset=((tall - cut_tall) // 2, (wide - cut_wide) // 2),
        )

    def _resized_size(self, height: int, width: int, size: tuple[int, int] | None) -> tuple[int, int]:
        wanted = size if self.resize is None and self.crop is None else self.resize
        if not isinstance(wanted, int):
            return wanted or (height, width)
        short = min(height, width)
        tall, wide = (max(1, round(side * wanted / short)) for side in (height, width))
        if tall * wide > MAX_PIXELS:
            raise InputDataError(f"an image of {height}x{width} is too long to be resized to {wanted}")
        return tall, wide

    def _crop_size(self, height: int, width: int) -> tuple[int, int]:
        if self.crop is None:
            return height, width
        tall, wide = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
        if tall > height or wide > width:
            raise InputDataError(f"an image of {height}x{width} is smaller than crop {tall}x{wide}")
        return tall, wide

    def _resized(self, picture: "Image", size: tuple[int, int] | None) -> "Image":
        from PIL.Image import Resampling

        height, width = self._resized_size(picture.height, picture.width, size)
        return picture if picture.size == (width, height) else picture.resize((width, height), Resampling.BILINEAR)

    def _cropped(self, picture: "Image") -> "Image":
        height, width = self._crop_size(picture.height, picture.width)
        if (height, width) == (picture.height, picture.width):
            return picture
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A picture's place after preprocessing, rows before columns: pixel * scale - offset, in a picture of `size`."""

    size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[int, int]


def opened(source: "Path | Image") -> "Image":
    """Return a picture, read whole where a file is given.

    Raises:
        InputDataError: if it cannot be read or is larger than 64 million pixels.
        RuntimeMissingError: if Pillow is not installed.
    """
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


def _whole(most: int, unit: str) -> Any:  # noqa: ANN401  # a checker
    def check(key: str, value: object) -> int:
        if type(value) is not int or not 0 < value <= most:
            raise ConfigError(f"preprocess '{key}' is not a number of {unit} between 1 and {most}")
        return value

    return check


def _columns(key: str, value: object) -> tuple[Column, ...]:
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not given or len(given) > _MAX_COLUMNS:
        raise ConfigError(f"preprocess '{key}' is not a list of columns")
    return tuple(_column(key, one) for one in given)


def _column(key: str, value: object) -> Column:
    if isinstance(value, str) and value:
        return value
    if type(value) is not int or value < 0:
        raise ConfigError(f"preprocess '{key}' is not a column's name or number (from 0)")
    return value


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
    "rate": _whole(MAX_RATE, "hertz"),
    "length": _whole(_MAX_LENGTH, "samples"),
    "columns": _columns,
    "label": _column,
}
