"""How good an artifact is: agreement with its source, and accuracy by a metric."""

from edgekit._metrics.accuracy import Accuracy, accuracy, half_width, score
from edgekit._metrics.agreement import Agreement, agreement
from edgekit._metrics.table import METRICS, Metric, check_metric, resolve, shown

__all__ = [
    "METRICS", "Accuracy", "Agreement", "Metric", "accuracy", "agreement", "check_metric", "half_width", "resolve",
    "score", "shown",
]  # fmt: skip
