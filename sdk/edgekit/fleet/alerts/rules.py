"""What an alert rule is, and how it is written: `p99 > 50` for so long, of each device. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from edgekit.errors import UsageError
from edgekit_agent.protocol import Reason

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_WHEN = re.compile(r"\s*([a-z0-9-]+)\s*(>|<)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)?")
_UNITS = MappingProxyType({"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0})
LONGEST_S = 30 * 86400.0
QUANTILES = MappingProxyType({"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999})
GAUGES = MappingProxyType(
    {"temperature": "temp", "cpu": "cpu", "memory": "rss", "throttled": "thr", "power": "pow", "waiting": "depth"}
)
CRASHES = (Reason.WORKER_CRASHED, Reason.WORKER_HUNG, Reason.WORKER_OUT_OF_MEMORY, Reason.CRASH_LOOP)
DRIFT = (Reason.DRIFT_SUSPECTED,)


class Severity(StrEnum):
    """How much it matters; only for who reads it."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Signal(StrEnum):
    """What is watched, beside the quantiles (ms) and gauges."""

    ERROR_RATE = "error-rate"  # failed of all inferences, 0 to 1
    DROPPED = "dropped"  # inferences left out in the window
    REPORTS = "reports"  # in the window
    SILENT = "silent"  # seconds since anything was heard
    CRASHES = "crashes"  # in the window
    DRIFT = "drift"  # suspicions in the window
    EVENTS = "events"  # with one of `codes`, in the window
    ROLLOUT = "rollout-stopped"  # 1 for a rollout that was stopped or goes back


# what a signal's values are in; those that are not here are counts, shares or yes and no
UNITS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(QUANTILES, "ms") | {"temperature": "°C", "cpu": "%", "memory": "B", "power": "W", "silent": "s"}
)
SIGNALS = (*QUANTILES, *GAUGES, *Signal)
PER_DEVICE = frozenset({Signal.SILENT, Signal.CRASHES, Signal.DRIFT, Signal.EVENTS})
GROUPS = ("device", "version", "hardware", "model", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Latencies are milliseconds, rates 0 to 1, temperatures degrees Celsius, memory bytes.

    A group (a device, a version, ...) alerts when its value is beyond `threshold` for `for_s` without a break, and is
    over when it was not beyond `clear` for `resolve_s`.
    """

    name: str
    signal: str
    above: bool
    threshold: float
    clear: float
    for_s: float = 60.0
    resolve_s: float = 60.0
    window_s: float = 300.0
    by: str = "device"
    stage: str = "infer"
    model: str | None = None
    version: str | None = None
    filter: str = ""
    codes: tuple[str, ...] = ()
    least: int = 1
    severity: str = Severity.WARNING
    notify: tuple[str, ...] = ()
    note: str = ""
    enabled: bool = True

    def __post_init__(self) -> None:
        """Check all of it.

        Raises:
            UsageError: naming what is wrong.
        """
        _check(self)

    @classmethod
    def written(cls, name: str, when: str, **settings: Any) -> Self:  # noqa: ANN401  # any field
        """Return the rule of `SIGNAL > NUMBER`; durations may be text: `90s`, `5m`, `1h`.

        Raises:
            UsageError: if it is not of that form, or a setting is wrong.
        """
        found = _WHEN.fullmatch(when)
        if not found:
            raise UsageError(f"'{when[:80]}' is not of the form SIGNAL > NUMBER, as in 'p99 > 50'")
        renamed = {_ALIASES.get(key, key): value for key, value in settings.items() if value is not None}
        if unknown := set(renamed) - {one.name for one in fields(cls)}:
            raise UsageError(f"rule '{name}': there is no setting '{min(unknown)}'")
        for key in ("for_s", "resolve_s", "window_s"):
            if key in renamed:
                renamed[key] = seconds(renamed[key])
        for key in ("notify", "codes"):
            if key in renamed:
                renamed[key] = _texts(key, renamed[key])
        threshold = float(found[3])
        renamed = {"clear": threshold, **renamed}
        return cls(name=name, signal=found[1], above=found[2] == ">", threshold=threshold, **renamed)

    @property
    def when(self) -> str:
        """The condition as it is written."""
        return f"{self.signal} {'>' if self.above else '<'} {self.threshold:g}"

    def beyond(self, value: float) -> bool:
        """Whether a value is beyond the threshold."""
        return value > self.threshold if self.above else value < self.threshold

    def calm(self, value: float) -> bool:
        """Whether a value is on the good side of `clear`."""
        return value <= self.clear if self.above else value >= self.clear

    def to_json(self) -> dict[str, Any]:
        """Return all fields, as `from_json` takes them."""
        return {**asdict(self), "notify": list(self.notify), "codes": list(self.codes)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return the rule of a document of `to_json`; what is not known is left out."""
        known = {one.name for one in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in body.items()
        }
        return cls(**{key: value for key, value in values.items() if key in known})


_ALIASES = MappingProxyType({"for": "for_s", "resolve": "resolve_s", "window": "window_s", "at_least": "least"})


def seconds(text: object) -> float:
    """Return a duration in seconds, of a number or `90s`, `5m`, `1h`, `2d`.

    Raises:
        UsageError: if it is none.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise UsageError(f"'{str(text)[:40]}' is no duration: 90s, 5m, 1h or 2d")
    return float(found[1]) * _UNITS[found[2]]


def _texts(key: str, value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise UsageError(f"'{key}' is a list of texts")
    return tuple(values)


def _check(rule: Rule) -> None:
    problems = {
        f"'{rule.name[:80]}' is no name: a-z, 0-9 and '-', at most 64": not NAME.fullmatch(rule.name),
        f"there is no signal '{rule.signal}'; there are: {', '.join(SIGNALS)}": rule.signal not in SIGNALS,
        f"'by' is one of: {', '.join(GROUPS)}": rule.by not in GROUPS,
        f'{rule.signal} is of each device: by = "device"': rule.signal in PER_DEVICE and rule.by != "device",
        f"'severity' is one of: {', '.join(Severity)}": rule.severity not in set(Severity),
        "'codes' is for events, which need at least one": (rule.signal == Signal.EVENTS) != bool(rule.codes),
        "'window' is at least 60 s": rule.window_s < 60,  # noqa: PLR2004  # what roll-ups can tell
        "a duration is at most 30 days, and not negative": any(
            not 0 <= one <= LONGEST_S for one in (rule.for_s, rule.resolve_s, rule.window_s)
        ),
        f"'clear' is not on the good side of {rule.threshold:g}": rule.beyond(rule.clear),
        "'least' is at least 1": rule.least < 1,
        "a text is too long": any(len(one) > 500 for one in (rule.filter, rule.note, *rule.codes, *rule.notify)),  # noqa: PLR2004
    }
    for problem, wrong in problems.items():
        if wrong:
            raise UsageError(f"rule '{rule.name[:80]}': {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Whom not to tell until when: rule and group are names, or `*` for any; both may end in `*`."""

    id: int
    rule: str
    group: str
    until_ms: int
    by: str = ""
    comment: str = ""
    created_ms: int = field(default=0)

    def covers(self, rule: str, group: str, now_ms: int) -> bool:
        """Whether it holds now for an alert."""
        return now_ms < self.until_ms and _fits(self.rule, rule) and _fits(self.group, group)


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
