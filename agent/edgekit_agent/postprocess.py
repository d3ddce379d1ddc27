"""From a model's outputs to an answer: how it is described, in a configuration and in a bundle's manifest.

Standard library only; what is described is done by `answering`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from edgekit_agent.errors import ConfigError

KINDS = ("auto", "classes", "boxes", "raw")
ACTIVATIONS = ("none", "softmax", "sigmoid")
FORMS = ("xyxy", "yxyx", "xywh", "ssd", "grid")
UNITS = ("share", "pixel")
MOST_ANSWERS = 1000
_MOST_LEVELS = 16
_MOST_PRIORS = 32
_MOST_NAME = 512
_MOST_SIDE = 16_384

Output = int | str
Side = float
Level = tuple[tuple[Side, Side], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Postprocess:
    """How outputs become classes or boxes. Quantized outputs become real values first.

    `kind` is `classes`, `boxes`, `raw` (what the outputs are like), or `auto`: the best class where an output has
    several values a sample, else raw. Outputs are named, or numbered from 0.

    Classes: `output` holds a score a class; the `top` best of at least `threshold` are the answer, after `activation`.

    Boxes: `boxes` is [..., N, 4], `scores` is [..., N, classes]. Without `scores` the boxes' output holds them behind
    the four, first the score that there is anything (`objectness`), by which they are multiplied, if it has one.
    `transposed` outputs are [..., values, N]. With `numbers` an output holds the class of each box, and `scores`
    one value a box. `background` is a class that is none. `activation` is of the scores. `form`:

    - `xyxy`, `yxyx` (corners), `xywh` (middle and size), in `unit`: shares of the model's picture, or its pixels;
    - `ssd`: relative to priors, one at every step of `strides` (pixels) for each of that level's `sizes` (height and
      width, or a square's side, in pixels), scaled by two `variances`, priors cut to the picture where `clip` is set;
    - `grid`: relative to the cells of `strides`, without priors: (x + column, y + row, exp w, exp h) times the stride.

    Of boxes of one class that overlap by more than `iou` the best stays. They are told in the source's pixels.
    """

    kind: str = "auto"
    output: Output | None = None
    activation: str = "none"
    top: int | None = None
    threshold: float | None = None
    boxes: Output | None = None
    scores: Output | None = None
    numbers: Output | None = None
    objectness: bool = False
    transposed: bool = False
    background: int | None = None
    form: str = "xyxy"
    unit: str = "share"
    iou: float = 0.5
    strides: tuple[int, ...] = ()
    sizes: tuple[Level, ...] = ()
    variances: tuple[float, float] = (0.1, 0.2)
    clip: bool = False

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Postprocess":
        """Check and take values as TOML or JSON give them.

        Raises:
            ConfigError: naming the key that is unknown, wrong or does not go with another.
        """
        known = {field.name for field in fields(cls)}
        for key in values:
            if key not in known:
                raise ConfigError(f"postprocess has no '{key[:80]}'; it has: {', '.join(sorted(known))}")
        found = cls(**{key: _CHECKS[key](key, value) for key, value in values.items()})
        for key in values:
            if key not in _KEYS[found.kind]:
                raise ConfigError(f"postprocess '{key}' does not go with kind '{found.kind}'")
        if found.kind == "boxes":
            found._check_boxes()
        return found

    def _check_boxes(self) -> None:
        if self.boxes is None:
            raise ConfigError("postprocess of kind 'boxes' needs 'boxes', the output that holds them")
        if bool(self.strides) != (self.form in {"ssd", "grid"}):
            raise ConfigError("postprocess 'strides' goes with the forms 'ssd' and 'grid', and only with them")
        if self.form == "ssd" and len(self.sizes) != len(self.strides):
            raise ConfigError("postprocess 'sizes' is not one list of sizes for each of 'strides'")
        if self.form != "ssd" and self.sizes:
            raise ConfigError("postprocess 'sizes' goes with the form 'ssd', and only with it")
        if self.numbers is not None and (self.scores is None or self.background is not None):
            raise ConfigError("postprocess 'numbers' goes with 'scores', and not with 'background'")

    def to_mapping(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as JSON and TOML take them."""
        return {
            field.name: _plain(value) for field in fields(self) if (value := getattr(self, field.name)) != field.default
        }


def _plain(value: object) -> object:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _wrong(key: str, wanted: str) -> ConfigError:
    return ConfigError(f"postprocess '{key}' is not {wanted}")


def _one_of(*allowed: str) -> Callable[[str, object], str]:
    def check(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _wrong(key, f"one of: {', '.join(allowed)}")
        return value

    return check


def _number(low: float, high: float) -> Callable[[str, object], float]:
    def check(key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _wrong(key, f"a number between {low:g} and {high:g}")
        return float(value)

    return check


def _whole(low: int, high: int) -> Callable[[str, object], int]:
    def check(key: str, value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _wrong(key, f"a whole number between {low} and {high}")
        return value

    return check


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, "true or false")
    return value


def _output(key: str, value: object) -> Output:
    if isinstance(value, str) and 0 < len(value) <= _MOST_NAME:
        return value
    if type(value) is not int or value < 0:
        raise _wrong(key, "an output's name or number (from 0)")
    return value


def _list(key: str, value: object, most: int) -> list[object]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= most:
        raise _wrong(key, f"a list of 1 to {most}")
    return list(value)


def _strides(key: str, value: object) -> tuple[int, ...]:
    check = _whole(1, _MOST_SIDE)
    return tuple(check(key, one) for one in _list(key, value, _MOST_LEVELS))


def _sizes(key: str, value: object) -> tuple[Level, ...]:
    return tuple(
        tuple(_size(key, one) for one in _list(key, level, _MOST_PRIORS)) for level in _list(key, value, _MOST_LEVELS)
    )


def _size(key: str, value: object) -> tuple[Side, Side]:
    check = _number(0.001, _MOST_SIDE)
    if not isinstance(value, list | tuple):
        side = check(key, value)
        return side, side
    if len(value) != 2:  # noqa: PLR2004  # height and width
        raise _wrong(key, "made of sides of squares, or heights and widths")
    return check(key, value[0]), check(key, value[1])


def _variances(key: str, value: object) -> tuple[float, float]:
    check = _number(1e-6, 1e6)
    if not isinstance(value, list | tuple) or len(value) != 2:  # noqa: PLR2004  # of the middle and of the size
        raise _wrong(key, "two numbers: of the middle and of the size")
    return check(key, value[0]), check(key, value[1])


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "kind": _one_of(*KINDS),
    "output": _output,
    "activation": _one_of(*ACTIVATIONS),
    "top": _whole(1, MOST_ANSWERS),
    "threshold": _number(-1e30, 1e30),
    "boxes": _output,
    "scores": _output,
    "numbers": _output,
    "objectness": _flag,
    "transposed": _flag,
    "background": _whole(0, 1 << 20),
    "form": _one_of(*FORMS),
    "unit": _one_of(*UNITS),
    "iou": _number(0, 1),
    "strides": _strides,
    "sizes": _sizes,
    "variances": _variances,
    "clip": _flag,
}
_CLASSES = frozenset({"kind", "output", "activation", "top", "threshold"})
_BOXES = frozenset(_CHECKS) - {"output"}
_KEYS: Mapping[str, frozenset[str]] = {
    "auto": frozenset({"kind"}), "classes": _CLASSES, "boxes": _BOXES, "raw": frozenset({"kind"})
}  # fmt: skip
