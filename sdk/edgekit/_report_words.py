"""How the report's page says figures: metrics in their own unit, times, ratios, sizes, shapes and grids."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit._metrics import METRICS
from edgekit._report import SLOWER

Document = Mapping[str, Any]

NONE = "\N{EN DASH}"
FLOAT = "fp32"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
_SAME_SPEED = 0.03
_MANY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric's name, unit and better end; `factor` turns a value into what an axis shows."""

    name: str
    higher_is_better: bool
    unit: str

    @classmethod
    def of(cls, accuracy: Document) -> "Metric":
        """Return the metric of an artifact's accuracy."""
        name = accuracy["metric"]
        known = METRICS.get(name.partition(":")[0])
        percent = known is not None and known.percent
        return cls(name=name, higher_is_better=accuracy["higher_is_better"], unit=" %" if percent else "")

    @property
    def factor(self) -> float:
        """100 for shares."""
        return 100.0 if self.unit else 1.0

    def text(self, value: float | None) -> str:
        """Return a value as `91.38 %` or `0.8203`."""
        return f"{100 * value:.2f} %" if self.unit and value is not None else significant(value, 4)

    def span(self, interval: Sequence[float | None]) -> str:
        """Return an interval as `89.23 to 93.13 %`."""
        if None in interval:
            return NONE
        low, high = (self.text(end) for end in interval)
        return f"{low.removesuffix(self.unit)} to {high}"

    def amount(self, change: float) -> str:
        """Return a difference without its sign: `0.12 points` or `0.0031`."""
        return f"{100 * abs(change):.2f} points" if self.unit else significant(abs(change), 3)

    def against_source(self, drop: float | None) -> str:
        """Return a drop (positive is worse) in words."""
        if drop is None:
            return ""
        amount = self.amount(drop)
        if not any(digit in amount for digit in "123456789"):
            return "same as the source"
        return f"{amount} {'worse' if drop > 0 else 'better'} than the source"

    def signed(self, drop: float | None) -> str:
        """Return a drop as a figure; positive is worse."""
        return NONE if drop is None else f"{'+' if drop > 0 else MINUS if drop < 0 else ''}{self.amount(drop)}"

    def drop_span(self, accuracy: Document) -> str:
        """Return the interval of an artifact's drop as `drop 95 %: -0.10 to +0.35 points`, or nothing."""
        paired = accuracy["drop_ci95"]
        if not paired or None in paired or not any(paired):
            return ""
        low, high = (self.signed(end) for end in paired)
        return f"drop 95 %: {low.removesuffix(' points')} to {high}"

    def limit(self, source: float, max_drop: float) -> float:
        """Return the worst value that passes the gate."""
        return source - max_drop if self.higher_is_better else source + max_drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What artifacts were judged by: the source's value and the worst that passes, where they are known."""

    metric: Metric
    by_labels: bool = False
    source: float | None = None
    limit: float | None = None

    @classmethod
    def of(cls, document: Document) -> "Judged":
        """Return what a report's artifacts were judged by."""
        accuracy = next((one["accuracy"] for one in document["artifacts"] if one["accuracy"]), None)
        if accuracy is None:
            return cls(metric=Metric(name="score", higher_is_better=True, unit=""))
        metric, source, allowed = Metric.of(accuracy), accuracy["source"], document["data"].get("max_drop")
        limit = None if source is None or allowed is None else metric.limit(source, allowed)
        return cls(metric=metric, by_labels=True, source=source, limit=limit)

    def lines(self) -> list[tuple[str, float, str]]:
        """Return (kind, value as an axis shows it, words) of what artifacts are held against."""
        known = (("source", self.source, "source"), ("gate", self.limit, "worst that passes"))
        return [
            (kind, self.metric.factor * value, f"{said} {self.metric.text(value)}")
            for kind, value, said in known
            if value is not None
        ]

    @property
    def axis(self) -> str:
        """The metric and its unit."""
        return f"{self.metric.name}, %" if self.metric.unit else self.metric.name

    @property
    def least_span(self) -> float:
        """The smallest span of an axis: less than 0.4 points is not worth magnifying."""
        return 0.4 if self.metric.unit else 0.0


def significant(value: float | None, digits: int) -> str:
    """Return a value with that many significant digits, and no exponent where people would not write one."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    text = f"{value:,.{max(0, digits - 1 - exponent)}f}" if -5 <= exponent <= 7 else f"{value:.{digits - 1}e}"  # noqa: PLR2004
    return text.replace("-", MINUS)


def time_text(milliseconds: float | None) -> str:
    """Return a latency as `0.0632 ms`."""
    return NONE if milliseconds is None else f"{significant(milliseconds, 3)} ms"


def span_text(seconds: float) -> str:
    """Return how long something took: `0.8 s`, `83 s`, `12 min 5 s`, `2 h 3 min`."""
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size_text(size: float | None) -> str:
    """Return a size as `52.1 KiB`."""
    if size is None:
        return NONE
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def speed_text(speedup: float) -> str:
    """Return a ratio of latencies, float to artifact, in words."""
    if abs(speedup - 1) < _SAME_SPEED:
        return "as fast as float"
    return f"{speedup:.2f}{TIMES} faster" if speedup > 1 else f"{1 / speedup:.2f}{TIMES} slower"


def smaller_text(base: float, size: float) -> str:
    """Return a ratio of sizes, float to artifact, in words."""
    if abs(base - size) < 0.005 * base:  # it would be said as 1.00
        return "as large as float"
    return f"{base / size:.2f}{TIMES} smaller" if size < base else f"{size / base:.2f}{TIMES} larger"


def share_text(share: float | None) -> str:
    """Return a share as percent with three significant digits: `12.3 %`."""
    return NONE if share is None else f"{significant(100 * share, 3)} %"


def agreement_text(agreement: Document) -> str:
    """Return the signal-to-noise ratio of an artifact against its source."""
    if agreement["max_abs"] == 0:
        return "exact"
    return NONE if agreement["snr_db"] is None else f"{significant(agreement['snr_db'], 3)} dB"


def name_of(artifact: Document) -> str:
    """Return what an artifact is called: `tflite int8`."""
    return f"{artifact['format']} {artifact['precision']}"


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a shape as `? x 49 x 10` with the sign of multiplication."""
    return f" {TIMES} ".join("?" if size is None else str(size) for size in shape) or "scalar"


def grid_text(values: Sequence[float]) -> str:
    """Return a scale or zero points: one value, or the first few of a value a channel."""
    said = ", ".join(f"{value:.6g}" for value in values[:_MANY])
    return f"{said}, … ({len(values)} values)" if len(values) > _MANY else said or NONE


def setting_text(value: object) -> str:
    """Return a setting of the document (a text, figure, list or mapping) as a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {setting_text(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(setting_text(item) for item in value)
    return NONE if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def base_of(artifact: Document, artifacts: Sequence[Document]) -> Document | None:
    """Return the float artifact of the same format, if there is one that could be made."""
    return next(
        (one for one in artifacts if one["precision"] == FLOAT and one["format"] == artifact["format"] and one["path"]),
        None,
    )


def is_slower(artifact: Document) -> bool:
    """Return whether a measured artifact is slower than its float form on the same runtime."""
    latency = artifact["latency"]
    speedup = latency and latency["speedup"]
    return speedup is not None and speedup < SLOWER and artifact["precision"] != FLOAT
