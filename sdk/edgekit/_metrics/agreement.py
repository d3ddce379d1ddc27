"""How near an artifact's outputs are to its source's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.errors import DataError
from edgekit_converters.model import Array, Arrays


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
