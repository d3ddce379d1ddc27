"""The table of metrics: what each takes, and in which direction it is better."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from edgekit._metrics import boxes, classes, function, values
from edgekit._metrics.scored import Scored
from edgekit.errors import UsageError
from edgekit_converters import user_function
from edgekit_converters.model import Arrays

RESAMPLES, FEW_RESAMPLES = 1000, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric: outputs by name and labels by name to its value.

    `against_source` compares with the source model's outputs where there are no labels. The 95 % interval of a
    share of samples is Wilson's, of others it is a bootstrap of `resamples` draws.
    """

    takes: str
    labels: str
    of: Callable[..., Scored]
    against_source: Callable[[Arrays, Arrays], Scored] | None = None
    higher_is_better: bool = True
    percent: bool = False
    resamples: int = RESAMPLES
    options: Mapping[str, Callable[[str], float]] = field(default_factory=dict)


def _of_values(name: str, each: values.OneSample, *, higher_is_better: bool) -> Metric:
    return Metric(
        takes="[N, ...]",
        labels="y [N, ...], or none: the source's outputs",
        of=partial(values.against_labels, each=each, metric=name),
        against_source=partial(values.against_source, each=each),
        higher_is_better=higher_is_better,
    )


_NUMBERS = "y: class numbers [N] or one-hot"
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "top1": Metric(takes="[N, classes]", labels=_NUMBERS, of=partial(classes.top, best=1), percent=True),
        "top5": Metric(takes="[N, classes]", labels=_NUMBERS, of=partial(classes.top, best=5), percent=True),
        "mae": _of_values("mae", values.absolute, higher_is_better=False),
        "mse": _of_values("mse", values.squared, higher_is_better=False),
        "spearman": Metric(takes="[N], or pairs of embeddings [2N, D]", labels="y [N]", of=values.spearman),
        "cosine": _of_values("cosine", values.cosines, higher_is_better=True),
        "auc": Metric(takes="[N] or [N, classes]", labels=_NUMBERS, of=classes.auc),
        "f1": Metric(takes="[N] or [N, classes]", labels=_NUMBERS, of=classes.f1, options={"threshold": float}),
        "map": Metric(
            takes="boxes [N, M, 4] and scores",
            labels="y_boxes [N, M, 4], y_classes [N, M], y_count [N]",
            of=boxes.mean_average_precision,
            resamples=FEW_RESAMPLES,
        ),
    }
)


def check_metric(name: str) -> str:
    """Return a metric's name unchanged.

    Raises:
        UsageError: if there is no such metric or option.
        DataError: if it names a function that is not there.
    """
    resolve(name)
    return name


def resolve(text: str) -> Metric:
    """Return the metric called `NAME`, `NAME:option=value` or `package.module:function`.

    Raises:
        UsageError: if there is no such metric or option.
        DataError: if it names a function that is not there.
    """
    name, _, settings = text.partition(":")
    if name not in METRICS and user_function.is_function_name(text):
        lower = bool(getattr(function.find(text), "lower_is_better", False))
        return Metric(
            takes="whatever the function takes",
            labels="y, y_...",
            of=partial(function.scored, text),
            higher_is_better=not lower,
            resamples=FEW_RESAMPLES,
        )
    if name not in METRICS:
        raise UsageError(f"there is no metric '{name}'; there are: {', '.join(METRICS)}, and package.module:function")
    metric = METRICS[name]
    if not settings:
        return metric
    return _with(metric, name, settings)


def _with(metric: Metric, name: str, settings: str) -> Metric:
    given: dict[str, float] = {}
    for setting in settings.split(","):
        key, _, value = setting.partition("=")
        if key not in metric.options:
            has = ", ".join(metric.options) or "none"
            raise UsageError(f"metric '{name}' has no option '{key}'; it has: {has}")
        try:
            given[key] = metric.options[key](value)
        except ValueError as exc:
            raise UsageError(f"metric '{name}': '{value}' is no {key}") from exc
    return Metric(takes=metric.takes, labels=metric.labels, of=partial(metric.of, **given), resamples=metric.resamples)


def shown(metric: str, value: float, *, signed: bool = False) -> str:
    """Return a metric's value as people read it: shares of samples in percent."""
    known = METRICS.get(metric.partition(":")[0])
    sign = "+" if signed else ""
    return f"{value:{sign}.2%}" if known is not None and known.percent else f"{value:{sign}.4g}"
