"""The value of a metric for an artifact and its source, with 95 % confidence intervals."""

from dataclasses import dataclass

from edgekit._metrics.intervals import bootstrap, wilson
from edgekit._metrics.scored import Scored, Weights
from edgekit._metrics.table import Metric, resolve
from edgekit.errors import DataError
from edgekit_converters.model import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A metric, with the artifact's 95 % confidence interval `ci95`.

    `drop` is by how much the artifact is worse than the source, in the metric's unit whatever its direction, and
    `drop_ci95` its interval from drawing the same samples for both.
    """

    metric: str
    samples: int
    source: float | None
    artifact: float
    drop: float | None
    ci95: tuple[float, float]
    higher_is_better: bool = True
    drop_ci95: tuple[float, float] | None = None


def half_width(accuracy: Accuracy) -> float:
    """Return half the width of the artifact's confidence interval."""
    low, high = accuracy.ci95
    return (high - low) / 2


def score(metric: str, labels: Arrays | None, outputs: Arrays, source: Arrays | None = None) -> float:
    """Return a metric's value alone: what a search needs of every candidate.

    Raises:
        DataError: as `accuracy` does.
    """
    return _scored(metric, resolve(metric), labels, outputs, source).value


def accuracy(metric: str, labels: Arrays | None, artifact: Arrays, source: Arrays | None = None) -> Accuracy:
    """Score an artifact's outputs, and the source's where they are given.

    Args:
        metric: its name; see `table`.
        labels: by name (`y`, `y_boxes`, ...), or None to compare with the source's outputs.
        artifact: the outputs by name, [N, ...].
        source: the source model's.

    Raises:
        DataError: if the metric needs other labels or outputs, or a value is NaN.
    """
    how = resolve(metric)
    got = _scored(metric, how, labels, artifact, source)
    before = None if source is None else _scored(metric, how, labels, source, source)
    if before is not None and before.samples != got.samples:
        raise DataError(f"the source's outputs are of {before.samples} samples and the artifact's of {got.samples}")
    value = got.value
    first = None if before is None else before.value
    own, paired = _intervals(how, got, before)
    return Accuracy(
        metric=metric,
        samples=got.samples,
        source=first,
        artifact=value,
        drop=None if first is None else _worse(how, first, value),
        ci95=own,
        higher_is_better=how.higher_is_better,
        drop_ci95=paired,
    )


def _scored(metric: str, how: Metric, labels: Arrays | None, outputs: Arrays, source: Arrays | None) -> Scored:
    if labels is not None:
        return how.of(outputs, labels)
    if how.against_source is None or source is None:
        raise DataError(f"{metric} needs labels: {how.labels}")
    return how.against_source(outputs, source)


def _worse(how: Metric, source: float, artifact: float) -> float:
    return source - artifact if how.higher_is_better else artifact - source


def _intervals(
    how: Metric, got: Scored, before: Scored | None
) -> tuple[tuple[float, float], tuple[float, float] | None]:
    share = None if got.hits is None else wilson(got.hits, got.samples)
    if share is not None and before is None:
        return share, None

    def both(weights: Weights) -> tuple[float, ...]:
        value = got.of(weights)
        return (value,) if before is None else (value, _worse(how, before.of(weights), value))

    drawn = bootstrap(both, got.samples, how.resamples)
    return share or drawn[0], drawn[1] if before is not None else None
