"""Agreement and accuracy, against figures worked out by hand."""

import math

import numpy as np
import pytest

from edgekit import _metrics
from edgekit._metrics.intervals import wilson
from edgekit.errors import DataError, UsageError


def test_equal_outputs_agree_exactly(rng: np.random.Generator) -> None:
    a = rng.normal(size=(5, 4)).astype(np.float32)
    got = _metrics.agreement({"o": a}, {"o": a.copy()})
    assert (got.max_abs, got.top1) == (0.0, 1.0)
    assert got.cosine == pytest.approx(1.0)
    assert math.isinf(got.snr_db)


def test_the_worst_output_counts() -> None:
    a = np.array([[1.0, 0.0], [0.0, 1.0]])
    got = _metrics.agreement({"p": a, "q": a}, {"p": a, "q": a + 0.1})
    assert got.max_abs == pytest.approx(0.1)
    assert got.snr_db == pytest.approx(10 * math.log10(2 / 0.04))
    assert got.outputs is not None
    assert got.outputs["p"].max_abs == 0


def test_a_missing_or_misshapen_output_is_named() -> None:
    with pytest.raises(DataError, match="output 'o' is missing"):
        _metrics.agreement({"o": np.zeros((1, 2))}, {})
    with pytest.raises(DataError, match="has shape"):
        _metrics.agreement({"o": np.zeros((1, 2))}, {"o": np.zeros((1, 3))})


def test_top1_and_drop() -> None:
    labels = {"y": np.array([0, 1, 1, 0])}
    source = {"o": np.array([[2, 1], [1, 2], [1, 2], [2, 1]])}
    artifact = {"o": np.array([[2, 1], [1, 2], [3, 2], [2, 1]])}
    got = _metrics.accuracy("top1", labels, artifact, source)
    assert (got.source, got.artifact, got.drop) == (1.0, 0.75, 0.25)


def test_the_wilson_interval_matches_the_published_example() -> None:
    # 81 of 263: 0.2553 to 0.3662 (R. G. Newcombe, Statistics in Medicine 17, 1998, table I, method 3)
    low, high = wilson(81, 263)
    assert low == pytest.approx(0.2553, abs=5e-5)
    assert high == pytest.approx(0.3662, abs=5e-5)


def test_a_label_outside_the_classes_is_refused() -> None:
    with pytest.raises(DataError, match="outside the model's 2 classes"):
        _metrics.accuracy("top1", {"y": np.array([2])}, {"o": np.zeros((1, 2))})


def test_outputs_without_classes_have_no_top1() -> None:
    with pytest.raises(DataError, match="needs an output of shape"):
        _metrics.accuracy("top1", {"y": np.array([0])}, {"o": np.zeros((1, 1))})


def test_an_unknown_metric_names_the_known() -> None:
    with pytest.raises(UsageError, match="there are: top1"):
        _metrics.check_metric("mAP")
