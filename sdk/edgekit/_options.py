"""The options of a conversion: from Python, the command line or a recipe, checked in one place."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError, UsageError

if TYPE_CHECKING:
    from edgekit_agent.preprocess import Preprocess

TARGETS = ("tflite", "openvino", "onnx")
DEFAULT_TARGETS = ("tflite", "openvino")
LAYOUTS = ("keep", "nhwc", "nchw")  # as converters have them: no import for three words
LANES = ("tensorflow", "onnx")
IO_DTYPES = ("float", "quantized")
AUTO = "auto"
AUTO_MAX_DROP = 0.005
"""What `auto` lets be lost where nothing is said: half a point."""
# What `auto` measures of each target; those with a * only with calibration data.
_CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "tflite": ("fp32", "fp16", "int8*", "int8-dynamic", "int8-weights"),
    "openvino": ("fp32", "fp16", "int8*", "int8:preset=mixed*", "int8-weights"),
    "onnx": ("fp32", "int8*", "int8-dynamic"),
}
_MAX_TOML_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What to convert, into what, and how to judge it.

    `precisions` empty means fp32 and, with calibration data, int8. `max_drop` is in the metric's unit; shares such
    as top1 are of 1: 0.005 is half a point.
    """

    to: tuple[str, ...] = DEFAULT_TARGETS
    precisions: tuple[str, ...] = ()
    calib: str | None = None
    eval: str | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "top1"
    max_drop: float | None = None
    io_layout: str = "keep"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    lane: str = "tensorflow"
    """How Keras models and SavedModels get there: by TensorFlow's own converter, or over ONNX."""
    bench: bool = True
    threads: int = 1
    seed: int = 0
    io_dtype: str = "float"
    """Inputs and outputs of static integer artifacts: the source's own dtypes, or `quantized`: as they store them."""
    float_layers: tuple[str, ...] = ()
    """Layers no precision is to touch: names, globs, or `op:SOFTMAX`."""
    time_budget: float | None = None
    """Seconds the search for layers to leave in float may take."""
    bundle: str | None = None
    """The version of the bundles to write; none are written where there is none."""
    compress: tuple[str, ...] = ()
    """Steps done to the canonical graph first, in this order: `prune-channels:ratio=0.5`."""

    def __post_init__(self) -> None:
        """Check what needs no model.

        Raises:
            UsageError: naming the option and what it may be.
        """
        for target in self.to:
            _known("target", target, TARGETS)
        _known("layout", self.io_layout, LAYOUTS)
        _known("lane", self.lane, LANES)
        _known("io-dtype", self.io_dtype, IO_DTYPES)
        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise UsageError(f"max-drop {self.max_drop} is not 0 or more (of a share, 0.005 is half a point)")
        if self.max_drop is not None and self.eval is None:
            raise UsageError("max-drop needs labelled data: give --eval")
        if self.time_budget is not None and not self.time_budget >= 0:
            raise UsageError(f"time-budget {self.time_budget} is not a number of seconds")
        if self.auto and (self.eval is None or not self.bench):
            missing = "labelled data: give --eval" if self.eval is None else "measuring: leave --no-bench out"
            raise UsageError(f"precision auto takes the fastest that passes; it needs {missing}")
        if self.threads < 1:
            raise UsageError(f"threads {self.threads} is not 1 or more")
        if self.bundle is not None:
            from edgekit._bundle_options import BundleOptions

            BundleOptions(version=self.bundle)

    @property
    def wanted(self) -> tuple[tuple[str, str], ...]:
        """Every (format, precision) asked for, once each, in order; `auto` is its candidates."""
        precisions = self.precisions or (("fp32", "int8") if self.calib else ("fp32",))
        return tuple(
            dict.fromkeys(
                (target, one)
                for target in self.to
                for precision in precisions
                for one in (self._candidates(target) if precision == AUTO else (precision,))
            )
        )

    def _candidates(self, target: str) -> tuple[str, ...]:
        return tuple(one.rstrip("*") for one in _CANDIDATES[target] if self.calib or not one.endswith("*"))

    @property
    def auto(self) -> bool:
        """Whether the fastest that passes is to be found."""
        return AUTO in self.precisions

    @property
    def limit(self) -> float | None:
        """What may be lost of the metric; None where nothing was said and nothing is to be chosen."""
        return AUTO_MAX_DROP if self.max_drop is None and self.auto else self.max_drop

    @property
    def how_images_are_read(self) -> "Preprocess | None":
        """The preprocessing of image folders, or None where nothing was said."""
        from edgekit_agent.errors import ConfigError
        from edgekit_agent.preprocess import Preprocess

        try:
            return Preprocess.from_mapping(dict(self.preprocess)) if self.preprocess else None
        except ConfigError as exc:
            raise UsageError(str(exc)) from exc


def _known(what: str, given: str, values: tuple[str, ...]) -> None:
    if given not in values:
        raise UsageError(f"there is no {what} '{given}'; there are: {', '.join(values)}")


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `name=1x3x224x224`.

    Raises:
        UsageError: if it is not of that form with sizes of 1 or more.
    """
    name, equals, sizes = text.rpartition("=")
    parts = sizes.lower().split("x")
    if not equals or not name or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"shape '{text}' is not of the form name=1x3x224x224")
    return name, tuple(int(part) for part in parts)


def parse_constant(text: str) -> tuple[str, float]:
    """Read `name=16000`; `true` and `false` are values too.

    Raises:
        UsageError: if it is not of that form with a number.
    """
    name, equals, value = text.rpartition("=")
    number = {"true": True, "false": False}.get(value.lower(), _number(value))
    if not equals or not name or isinstance(number, str) or not math.isfinite(number):
        raise UsageError(f"constant '{text}' is not of the form name=16000")
    return name, number


def parse_preprocess(text: str) -> dict[str, Any]:
    """Read `resize=224,mean=127:127:127,std=128,layout=nchw`, or a TOML file of the same keys.

    Numbers of several channels are separated by `:`; a size is `224` (short side) or `240x320` (height x width).

    Raises:
        UsageError: if a part is not `key=value`.
        DataError: if the file cannot be read.
    """
    if text.endswith(".toml"):
        return read_toml(Path(text))
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.strip().partition("=")
        if not equals or not key or not value:
            raise UsageError(f"preprocess '{part}' is not of the form key=value")
        found[key] = _value(key, value)
    return found


def _value(key: str, text: str) -> object:
    separator = "x" if key in {"resize", "crop", "letterbox"} else ":"
    parts = [_number(part) for part in text.split(separator)]
    return parts[0] if len(parts) == 1 else parts


def _number(text: str) -> float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_postprocess(path: Path) -> dict[str, Any]:
    """Read how outputs become an answer from a TOML or JSON file.

    Raises:
        DataError: if it cannot be read, is larger than a person writes, or is neither.
    """
    if path.suffix != ".json":
        return read_toml(path)
    try:
        if path.stat().st_size > _MAX_TOML_BYTES:
            raise DataError(f"'{path}' is larger than {_MAX_TOML_BYTES} bytes")
        found = json.loads(path.read_bytes())
    except OSError as exc:
        raise DataError(f"'{path}' cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise DataError(f"'{path}' is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise DataError(f"'{path}' holds no JSON object")
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        DataError: if it cannot be read, is larger than a person writes, or is not TOML.
    """
    try:
        if path.stat().st_size > _MAX_TOML_BYTES:
            raise DataError(f"'{path}' is larger than {_MAX_TOML_BYTES} bytes")
        return tomllib.loads(path.read_text())
    except OSError as exc:
        raise DataError(f"'{path}' cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"'{path}' is not TOML: {exc}") from exc


def override(options: ConvertOptions, **given: object) -> ConvertOptions:
    """Return the options with those given replaced; None and empty mean "not given"."""
    return replace(options, **{key: value for key, value in given.items() if value not in (None, (), {})})  # type: ignore[arg-type]  # checked by the class
