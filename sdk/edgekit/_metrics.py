"""How good an artifact is: agreement with its source, and accuracy against labels."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, UsageError
from edgekit_converters.model import Array, Arrays

_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near an artifact's outputs are to the source's, the worst over all outputs.

    `snr_db` is infinite and `cosine` 1 for equal outputs. `top1` is the share of samples with the
    same largest class, where an output [N, classes] has more than one class.
    """

    samples: int
    max_abs: float
    snr_db: float
    cosine: float
    top1: float | None
    outputs: "Mapping[str, Agreement] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A metric against labels: `ci95` is the artifact's 95 % confidence interval, `drop` = source - artifact."""

    metric: str
    samples: int
    source: float | None
    artifact: float
    drop: float | None
    ci95: tuple[float, float]


def agreement(source: Arrays, artifact: Arrays) -> Agreement:
    """Compare outputs [N, ...] by name.

    Raises:
        DataError: if an output is missing or has another shape.
    """
    each = {}
    for name, wanted in source.items():
        got = artifact.get(name)
        if got is None or got.shape != wanted.shape:
            how = "is missing" if got is None else f"has shape {got.shape} where the source has {wanted.shape}"
            raise DataError(f"output '{name}' {how}")
        each[name] = _compare(wanted, got)
    shares = [one.top1 for one in each.values() if one.top1 is not None]
    return Agreement(
        samples=len(next(iter(source.values()))),
        max_abs=max(one.max_abs for one in each.values()),
        snr_db=min(one.snr_db for one in each.values()),
        cosine=min(one.cosine for one in each.values()),
        top1=min(shares) if shares else None,
        outputs=each,
    )


def _compare(wanted: Array, got: Array) -> Agreement:
    a, b = np.asarray(wanted, dtype=np.float64).ravel(), np.asarray(got, dtype=np.float64).ravel()
    noise, signal = float(np.sum((a - b) ** 2)), float(np.sum(a**2))
    norms = math.sqrt(signal) * float(np.linalg.norm(b))
    snr = math.inf if noise == 0 else (10 * math.log10(signal / noise) if signal else -math.inf)
    same = None
    if wanted.ndim == 2 and wanted.shape[1] > 1:  # noqa: PLR2004  # [N, classes]
        same = float(np.mean(wanted.argmax(axis=1) == got.argmax(axis=1)))
    return Agreement(
        samples=len(wanted),
        max_abs=float(np.max(np.abs(a - b), initial=0.0)),
        snr_db=snr,
        cosine=min(1.0, float(a @ b) / norms) if norms else (1.0 if noise == 0 else 0.0),
        top1=same,
    )


def top1(outputs: Arrays, labels: Array) -> NDArray[np.bool_]:
    """Return for each sample whether the largest class of the classifying output is its label.

    The classifying output is the only one of shape [N, classes]; with several, the first.
    """
    for array in outputs.values():
        flat = array.reshape(len(array), -1)
        if array.ndim >= 2 and flat.shape[1] > 1 and flat.shape[1] == max(array.shape[1:]):  # noqa: PLR2004  # [N, C], [N, C, 1, 1]
            if labels.max(initial=0) >= flat.shape[1] or labels.min(initial=0) < 0:
                raise DataError(f"label {labels.max()} is outside the model's {flat.shape[1]} classes")
            return np.asarray(flat.argmax(axis=1) == labels)
    raise DataError("top1 needs an output of shape [N, classes] and the model has none")


# name -> right or wrong, a sample
METRICS: Mapping[str, Callable[[Arrays, Array], NDArray[np.bool_]]] = MappingProxyType({"top1": top1})


def check_metric(name: str) -> str:
    """Return a metric's name unchanged.

    Raises:
        UsageError: if there is no such metric.
    """
    if name not in METRICS:
        raise UsageError(f"there is no metric '{name}'; there are: {', '.join(METRICS)}")
    return name


def accuracy(metric: str, labels: Array, artifact: Arrays, source: Arrays | None = None) -> Accuracy:
    """Score an artifact's outputs (and the source's) against labels [N]."""
    score = METRICS[metric]
    hits = score(artifact, labels)
    share = float(np.mean(hits))
    before = None if source is None else float(np.mean(score(source, labels)))
    return Accuracy(
        metric=metric,
        samples=len(labels),
        source=before,
        artifact=share,
        drop=None if before is None else before - share,
        ci95=wilson(int(hits.sum()), len(labels)),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson score interval, E. B. Wilson 1927)."""
    share, z2 = successes / trials, _Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)
