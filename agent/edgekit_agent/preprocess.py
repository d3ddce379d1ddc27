"""From an image, a sound or a table's row to a model's input, the same on the host's evaluation and on the device."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit_agent.errors import ConfigError, InputDataError, RuntimeMissingError
from edgekit_agent.placing import MAX_PIXELS, Placement, Size, placed
from edgekit_agent.runtimes.base import Array

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")  # Pillow hands some others to programs outside
LAYOUTS = ("nhwc", "nchw")
INTERPOLATIONS = ("bilinear", "nearest", "box", "bicubic", "lanczos")
ORDERS = ("rgb", "bgr", "gray")
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
    taken from the middle, a square or (height, width). In place of both, `letterbox` is a square or
    (height, width) that the whole image is fitted into, in its own shape and in the middle, on a ground
    of `fill`. `interpolation` is Pillow's: where an image gets smaller, every pixel of it counts.
    `order` and `layout` are of the channels.

    Sounds: `rate` in hertz is resampled to, `length` is a number of samples: longer sounds are cut,
    shorter ones end in silence.

    Tables: `columns` are the inputs and `label` is the label, by name or number (from 0).

    All of them end as (value * scale - mean) / std, one number each or one a channel (in the channel
    order) or column. A pixel's values are 0 to 255, a sound's -1 to 1.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    letterbox: int | tuple[int, int] | None = None
    fill: int = 0
    interpolation: str = "bilinear"
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
        if "letterbox" in checked and ("resize" in checked or "crop" in checked):
            raise ConfigError("preprocess 'letterbox' stands in place of 'resize' and 'crop'")
        return cls(**checked)

    def to_mapping(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as JSON and TOML take them."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    def image(self, source: "Path | bytes | Image", size: Size | None = None) -> Array:
        """Return one image as float32 [H, W, C] or [C, H, W].

        Args:
            source: a file, its bytes (JPEG, PNG, BMP, WebP or PPM), or an opened image.
            size: (height, width) the model takes; an image that has another size after resize, crop or
                letterbox is refused when one of them is set, and resized to it when none is.

        Raises:
            InputDataError: if it cannot be read, is larger than 64 million pixels, or ends up with another size.
            RuntimeMissingError: if Pillow is not installed.
        """
        return self.image_and_place(source, size)[0]

    def image_and_place(self, source: "Path | bytes | Image", size: Size | None = None) -> tuple[Array, Placement]:
        """Return what `image` does, and where the image's pixels went."""
        import numpy as np

        picture = opened(source)
        placement = self.placed(picture.height, picture.width, size)
        if size is not None and placement.size != size:
            wanted, got = f"{size[0]}x{size[1]}", f"{placement.size[0]}x{placement.size[1]}"
            raise InputDataError(f"an image is {got} after preprocessing and the model takes {wanted}")
        picture = self._put(picture, placement).convert("L" if self.order == "gray" else "RGB")
        pixels = np.asarray(picture, dtype=np.float32)
        if self.order == "gray":
            pixels = pixels[..., None]
        elif self.order == "bgr":
            pixels = pixels[..., ::-1]
        values = self.normalized(pixels, "channels")
        values = values.transpose(2, 0, 1) if self.layout == "nchw" else values
        return np.ascontiguousarray(values, dtype=np.float32), placement

    def sound(self, source: Path) -> tuple[Array, int]:
        """Return a `.wav` file's samples as float32 [N], and their rate in hertz.

        Raises:
            InputDataError: if it cannot be read.
        """
        samples, rate = self.heard(source)
        return self.window(samples), rate

    def heard(self, source: Path) -> tuple[Array, int]:
        """Return a `.wav` file's samples [N] at the rate asked for, of any length and with their values unchanged.

        Raises:
            InputDataError: if it cannot be read.
        """
        from edgekit_agent.sound import read_wav, resampled

        samples, rate = read_wav(source)
        return (samples, rate) if self.rate is None else (resampled(samples, rate, self.rate), self.rate)

    def window(self, samples: Array) -> Array:
        """Return the first `length` samples [N] with their values changed; fewer end in silence."""
        import numpy as np

        if self.length is not None:
            kept = samples[: self.length]
            samples = np.zeros(self.length, np.float32)
            samples[: len(kept)] = kept
        return self.normalized(samples[:, None], "channels")[:, 0]

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

    def placed(self, height: int, width: int, size: Size | None = None) -> Placement:
        """Return where a picture's pixels end up; `size` is taken when nothing is said of sizes.

        Raises:
            InputDataError: if it becomes too large, or is smaller than the crop.
        """
        silent = self.resize is None and self.crop is None and self.letterbox is None
        return placed((height, width), size if silent else self.resize, self.crop, self.letterbox)

    def _put(self, picture: "Image", placement: Placement) -> "Image":
        from PIL import Image

        (tall, wide), (top, left) = placement.size, placement.offset
        between = placement.between
        if picture.mode in {"1", "P"}:  # Pillow would take the nearest pixel whatever is asked for
            picture = picture.convert("RGB")
        if (picture.height, picture.width) != between:
            picture = picture.resize((between[1], between[0]), Image.Resampling[self.interpolation.upper()])
        if self.letterbox is not None:
            inside, picture = picture.convert("RGB"), Image.new("RGB", (wide, tall), (self.fill,) * 3)
            picture.paste(inside, (-left, -top))
        elif between != (tall, wide):
            picture = picture.crop((left, top, left + wide, top + tall))
        return picture


def opened(source: "Path | bytes | Image") -> "Image":
    """Return a picture, read whole where a file or its bytes are given.

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
    if not isinstance(source, Path | bytes):
        return source
    what = f"image '{source}'" if isinstance(source, Path) else f"an image of {len(source)} bytes"
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputDataError(f"{what} has more than {MAX_PIXELS} pixels")
            picture.load()
            return picture.copy()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, Warning) as exc:
        raise InputDataError(f"{what} cannot be read") from exc


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


def _fill(key: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= 255:  # noqa: PLR2004  # a pixel's
        raise ConfigError(f"preprocess '{key}' is not a pixel's value from 0 to 255")
    return value


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
    "letterbox": _size,
    "fill": _fill,
    "interpolation": _one_of(*INTERPOLATIONS),
    "scale": _vector,
    "mean": _vector,
    "std": _vector,
    "order": _one_of(*ORDERS),
    "layout": _one_of(*LAYOUTS),
    "rate": _whole(MAX_RATE, "hertz"),
    "length": _whole(_MAX_LENGTH, "samples"),
    "columns": _columns,
    "label": _column,
}
