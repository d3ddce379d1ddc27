"""Agreement and accuracy, against figures worked out by hand."""

import math
import uuid
from collections.abc import Callable
from pathlib import Path

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


def test_top5_counts_equal_scores_in_their_order() -> None:
    outputs = {"o": np.array([[6, 5, 4, 3, 2, 1, 0], [0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]])}
    labels = {"y": np.array([4, 4, 5])}
    got = _metrics.accuracy("top5", labels, outputs)
    assert got.artifact == pytest.approx(2 / 3)
    assert got.ci95 == wilson(2, 3)


def test_one_hot_labels_are_class_numbers_and_a_row_with_nan_is_wrong() -> None:
    outputs = {"o": np.array([[1, 2], [2, 1], [np.nan, 9]])}
    assert _metrics.score("top1", {"y": np.eye(2)[[1, 0, 1]]}, outputs) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("metric", "wanted"), [("mae", (1 + 2) / 4), ("mse", (1 + 4) / 4)])
def test_errors_are_better_when_lower(metric: str, wanted: float) -> None:
    labels = {"y": np.array([[0.0, 1.0], [2.0, 3.0]])}
    worse = {"o": np.array([[1.0, 1.0], [2.0, 5.0]])}
    got = _metrics.accuracy(metric, labels, worse, {"o": labels["y"]})
    assert (got.source, got.artifact, got.drop) == (0, wanted, wanted)
    assert not got.higher_is_better
    assert got.drop_ci95 is not None
    assert got.drop_ci95[0] <= wanted <= got.drop_ci95[1]


def test_without_labels_the_source_s_outputs_are_what_is_wanted() -> None:
    source = {"a": np.array([[1.0, 0.0], [0.0, 1.0]]), "b": np.array([1.0, 2.0])}
    got = _metrics.accuracy("mae", None, {"a": source["a"] + 1, "b": source["b"]}, source)
    assert (got.source, got.artifact, got.drop) == (0, 0.5, 0.5)
    turned = _metrics.accuracy("cosine", None, {"a": source["a"][:, ::-1], "b": source["b"]}, source)
    assert (turned.source, turned.artifact, turned.drop) == (1, 0.5, 0.5)
    with pytest.raises(DataError, match="top1 needs labels"):
        _metrics.accuracy("top1", None, source, source)
    with pytest.raises(DataError, match="mae needs labels"):
        _metrics.accuracy("mae", None, source)
    with pytest.raises(DataError, match="output 'b' is missing"):
        _metrics.accuracy("mae", None, {"a": source["a"]}, source)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_auc_and_f1_are_scikit_learn_s(rng: np.random.Generator, classes: int) -> None:
    from sklearn import metrics

    labels = rng.integers(0, max(2, classes), 60)
    # coarse, so that many are equal
    scores = np.round(rng.random((60, classes)) + 0.3 * (labels[:, None] == np.arange(max(1, classes))), 1)
    scores = scores / scores.sum(axis=1, keepdims=True) if classes > 1 else scores * 0.7
    wanted = metrics.roc_auc_score(
        labels, scores if classes > 2 else scores[:, -1], multi_class="ovr" if classes > 2 else "raise"
    )
    assert _metrics.score("auc", {"y": labels}, {"o": scores}) == pytest.approx(wanted)
    predicted = scores.argmax(axis=1) if classes > 1 else (scores[:, 0] >= 0.4).astype(int)
    wanted = metrics.f1_score(labels, predicted, average="macro" if classes > 1 else "binary")
    metric = "f1" if classes > 1 else "f1:threshold=0.4"
    assert _metrics.score(metric, {"y": labels}, {"o": scores}) == pytest.approx(wanted)


def test_spearman_is_scipy_s_with_equal_values(rng: np.random.Generator) -> None:
    spearmanr = pytest.importorskip("scipy.stats").spearmanr
    labels, scores = np.round(rng.normal(size=(2, 80)), 1)
    scores = scores + labels
    got = _metrics.accuracy("spearman", {"y": labels}, {"o": scores[:, None]})
    assert got.artifact == pytest.approx(spearmanr(labels, scores).statistic)
    assert got.ci95[0] < got.artifact < got.ci95[1]


def test_spearman_of_embeddings_is_that_of_the_pairs_cosines(rng: np.random.Generator) -> None:
    spearmanr = pytest.importorskip("scipy.stats").spearmanr
    labels, rows = rng.normal(size=20), rng.normal(size=(40, 6))
    a, b = rows[0::2], rows[1::2]
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    got = _metrics.score("spearman", {"y": labels}, {"o": rows})
    assert got == pytest.approx(spearmanr(labels, cosines).statistic)


def test_a_weighted_sample_counts_as_if_it_were_there_so_often(rng: np.random.Generator) -> None:
    """The bootstrap draws by weights: each metric must give what the repeated samples give."""
    labels, weights = rng.integers(0, 3, 30), rng.integers(0, 4, 30)
    outputs = rng.random((30, 3)).round(1)
    again = np.repeat(np.arange(30), weights)
    for name in ("top1", "auc", "f1"):
        prepared = _metrics.resolve(name).of({"o": outputs}, {"y": labels})
        assert prepared.of(weights) == pytest.approx(
            _metrics.score(name, {"y": labels[again]}, {"o": outputs[again]})
        ), name
    for name in ("spearman", "mae"):
        prepared = _metrics.resolve(name).of({"o": outputs[:, 0]}, {"y": labels})
        assert prepared.of(weights) == pytest.approx(
            _metrics.score(name, {"y": labels[again]}, {"o": outputs[again, 0]})
        ), name


def test_the_bootstrap_s_interval_is_that_of_the_normal_for_a_mean(rng: np.random.Generator) -> None:
    values = rng.normal(size=2000)
    got = _metrics.accuracy("mae", {"y": np.zeros(2000)}, {"o": np.abs(values)})
    half = 1.96 * np.abs(values).std() / np.sqrt(2000)
    # a thousand draws know the ends to some 5 % of the half-width
    assert _metrics.half_width(got) == pytest.approx(half, rel=0.1)
    assert _metrics.accuracy("mae", {"y": np.zeros(2000)}, {"o": np.abs(values)}) == got


@pytest.mark.parametrize(
    ("metric", "labels", "outputs", "says"),
    [
        ("spearman", [1, 1], [[1.0], [2.0]], "labels that differ"),
        ("spearman", [1, 2, 3], [[1.0, 2.0]] * 3, r"needs an output \[3\]"),
        ("spearman", [1, 2], [np.nan, 1.0], "NaN"),
        ("mae", [1.0, 2.0], [[1.0, 2.0]] * 2, "needs an output of the labels' shape"),
        ("mae", [1.0, 2.0], [1.0, np.inf], "NaN or infinite"),
        ("auc", [1, 1], [0.1, 0.2], "two classes"),
        ("auc", [0, 2], [0.1, 0.2], "label 2 is outside the model's 2 classes"),
        ("top5", [0, 1], np.zeros((2, 5)), "always 1: take top1"),
        ("top1", [0.5, 1], np.zeros((2, 5)), "class numbers"),
        ("top1", [0, 1, 2], np.zeros((2, 5)), "3 labels for outputs of 2 samples"),
        ("f1", [0, 7], np.zeros((2, 5)), "label 7 is outside"),
    ],
)
def test_labels_and_outputs_that_do_not_fit_are_one_sentence(
    metric: str, labels: object, outputs: object, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        _metrics.score(metric, {"y": np.asarray(labels)}, {"o": np.asarray(outputs)})


def test_predictions_that_are_all_equal_correlate_with_nothing() -> None:
    assert _metrics.score("spearman", {"y": np.arange(4)}, {"o": np.ones(4)}) == 0
    assert _metrics.score("auc", {"y": np.array([0, 1, 1])}, {"o": np.ones(3)}) == 0.5


@pytest.mark.parametrize("name", ["top1:best=2", "f1:threshold=high", "f1:low=1", "nope"])
def test_an_unknown_metric_or_option_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="metric"):
        _metrics.check_metric(name)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a module of the user's into the current folder; return its name."""
    monkeypatch.chdir(tmp_path)

    def write(body: str) -> str:
        module = f"own_{uuid.uuid4().hex}"
        (tmp_path / f"{module}.py").write_text(f"import numpy as np\n{body}\n")
        return module

    return write


def test_a_metric_of_one_s_own_is_one_number_or_one_a_sample(own: Callable[[str], str]) -> None:
    module = own(
        "def worst(outputs, labels):\n    return np.abs(outputs['o'] - labels).max()\n"
        "worst.lower_is_better = True\n"
        "def near(outputs, labels):\n    return np.abs(outputs['o'] - labels) < 0.5\n"
    )
    labels, outputs, source = {"y": np.arange(4.0)}, {"o": np.array([0, 1, 2, 5.0])}, {"o": np.arange(4.0)}
    got = _metrics.accuracy(f"{module}:worst", labels, outputs, source)
    assert (got.source, got.artifact, got.drop, got.higher_is_better) == (0, 2, 2, False)
    assert got.ci95 == (0, 2)
    near = _metrics.accuracy(f"{module}:near", labels, outputs, source)
    assert (near.artifact, near.drop, near.samples) == (0.75, 0.25, 4)


def test_a_metric_of_one_s_own_gets_all_labels_and_pairs_stay_together(own: Callable[[str], str]) -> None:
    module = own(
        "def f(outputs, labels):\n"
        "    o = outputs['o'].reshape(-1, 2)\n"
        "    assert (o[:, 0] + 1 == o[:, 1]).all() and len(labels['y_mask']) == len(outputs['o'])\n"
        "    return float(o.mean())\n"
    )
    labels = {"y": np.arange(3), "y_mask": np.ones(6)}
    got = _metrics.accuracy(f"{module}:f", labels, {"o": np.arange(6.0)})
    assert got.artifact == 2.5
    assert got.ci95[0] < 2.5 < got.ci95[1]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("    raise ValueError('no words')", "raises ValueError: no words"),
        ("    return [1, 2, 3]", "returns 3 values, not one or one for each of 2"),
        ("    return 'good'", "where numbers are expected"),
        ("    return float('nan')", "returns NaN"),
        ("    return None", "where numbers are expected"),
    ],
)
def test_what_goes_wrong_in_a_metric_of_one_s_own_is_one_sentence(
    own: Callable[[str], str], body: str, says: str
) -> None:
    module = own(f"def f(outputs, labels):\n{body}")
    with pytest.raises(DataError, match=says):
        _metrics.accuracy(f"{module}:f", {"y": np.arange(2)}, {"o": np.arange(2)})


def test_shares_of_samples_are_shown_in_percent() -> None:
    assert _metrics.shown("top1", 0.8765) == "87.65%"
    assert _metrics.shown("mae", 0.012345) == "0.01235"
    assert _metrics.shown("top5", -0.01, signed=True) == "-1.00%"
