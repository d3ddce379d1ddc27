"""Box mAP: pycocotools' own figures, and the forms detectors give their outputs in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import _metrics
from edgekit.errors import DataError

BOXES = Path(__file__).resolve().parents[1] / "data" / "boxes" / "boxes.npz"
Set = dict[str, Any]


def sets() -> list[tuple[Set, Set, float]]:
    """Return (outputs, labels, pycocotools' mAP)."""
    with np.load(BOXES, allow_pickle=False) as archive:
        count = 1 + max(int(name.partition(".")[0]) for name in archive.files)
        each = [{n.partition(".")[2]: archive[n] for n in archive.files if n.startswith(f"{i}.")} for i in range(count)]
    return [
        (
            {name: one[name] for name in ("boxes", "scores", "classes")},
            {name: array for name, array in one.items() if name.startswith("y_")},
            float(one["map"]),
        )
        for one in each
    ]


@pytest.mark.parametrize("number", range(12))
def test_the_figure_is_that_of_pycocotools(number: int) -> None:
    outputs, labels, wanted = sets()[number]
    assert _metrics.score("map", labels, outputs) == pytest.approx(wanted, abs=1e-9)


@pytest.fixture
def example() -> tuple[Set, Set, float]:
    return max(sets(), key=lambda one: one[2])


def ssd(outputs: Set) -> Set:
    names = [f"TFLite_Detection_PostProcess{end}" for end in ("", ":1", ":2", ":3")]
    count = np.full(len(outputs["boxes"]), outputs["boxes"].shape[1], np.float32)
    boxes = outputs["boxes"][..., [1, 0, 3, 2]]
    return dict(zip(names, (boxes, outputs["classes"].astype(np.float32), outputs["scores"], count), strict=True))


def rows(outputs: Set) -> Set:
    return {"out": np.concatenate([outputs["boxes"], outputs["scores"][..., None], outputs["classes"][..., None]], 2)}


def detection_output(outputs: Set) -> Set:
    columns = (np.zeros_like(outputs["scores"]), outputs["classes"], outputs["scores"])
    made = np.concatenate([np.stack(columns, 2), outputs["boxes"]], 2)
    ends = np.full((len(made), 3, 7), -1.0)
    return {"detection_out": np.concatenate([made, ends], 1)[:, None]}


def anonymous(outputs: Set) -> Set:
    return {"a": outputs["scores"], "b": outputs["boxes"], "c": outputs["classes"].astype(np.int32)}


def filled_up(outputs: Set) -> Set:
    end = np.full((len(outputs["boxes"]), 5), np.nan)
    return {
        "boxes": np.concatenate([outputs["boxes"], np.full((*end.shape, 4), np.nan)], 1),
        "scores": np.concatenate([outputs["scores"], end], 1),
        "classes": np.concatenate([outputs["classes"], np.zeros(end.shape, int)], 1),
    }


@pytest.mark.parametrize("form", [ssd, rows, detection_output, anonymous, filled_up], ids=lambda f: f.__name__)
def test_every_form_of_outputs_gives_the_same(example: tuple[Set, Set, float], form: Any) -> None:
    outputs, labels, wanted = example
    assert _metrics.score("map", labels, form(outputs)) == pytest.approx(wanted, abs=1e-9)


def test_a_score_for_every_class_is_a_detection_each(rng: np.random.Generator, example: tuple[Set, Set, float]) -> None:
    outputs, labels, _ = example
    boxes = outputs["boxes"][:, :20]
    scores = rng.random((*boxes.shape[:2], 5))
    apart = {
        "boxes": np.repeat(boxes, 5, axis=1),
        "scores": scores.reshape(len(boxes), -1),
        "classes": np.tile(np.arange(5), (len(boxes), 20)),
    }
    wanted = _metrics.score("map", labels, apart)
    assert wanted > 0
    assert _metrics.score("map", labels, {"boxes": boxes, "scores": scores}) == pytest.approx(wanted)


def test_worked_out_by_hand() -> None:
    """Two boxes; one is found exactly, the other with an overlap of 0.6: right at 3 of 10 thresholds."""
    labels = {"y_boxes": np.array([[[0, 0, 10, 10], [20, 0, 30, 10]]], float)}
    outputs = {"boxes": np.array([[[0, 0, 10, 10], [20, 0, 30, 6]]], float), "scores": np.array([[0.9, 0.8]])}
    found_one = 51 / 101  # recalls 0 to 0.50 of 101
    assert _metrics.score("map", labels, outputs) == pytest.approx(0.3 * 1 + 0.7 * found_one)


def test_labels_in_shares_fit_outputs_in_pixels() -> None:
    labels = {
        "y_boxes": np.array([[[0.1, 0.25, 0.5, 0.75]]]),
        "y_classes": np.array([[1]]),
        "y_size": np.array([[20, 40]]),
    }
    pixels = {"boxes": np.array([[[4, 5, 20, 15]]], float), "scores": np.array([[0.9]]), "classes": np.array([[1]])}
    shares = {**pixels, "boxes": labels["y_boxes"]}
    assert _metrics.score("map", labels, pixels) == pytest.approx(1)
    assert _metrics.score("map", labels, shares) == pytest.approx(1)


def test_interval_and_drop_come_from_the_same_pictures(example: tuple[Set, Set, float]) -> None:
    outputs, labels, wanted = example
    worse = {**outputs, "boxes": outputs["boxes"] + 2}
    got = _metrics.accuracy("map", labels, worse, outputs)
    assert got.source == pytest.approx(wanted)
    assert got.drop is not None
    assert got.drop == pytest.approx(wanted - got.artifact)
    assert got.ci95[0] < got.artifact < got.ci95[1]
    assert got.drop_ci95 is not None
    assert got.drop_ci95[0] < got.drop < got.drop_ci95[1]
    assert got.samples == len(labels["y_boxes"])
    assert _metrics.accuracy("map", labels, outputs, outputs).drop_ci95 == (0, 0)


@pytest.mark.parametrize(
    ("outputs", "labels", "says"),
    [
        ({"o": np.zeros((1, 3))}, {"y_boxes": np.ones((1, 1, 4))}, "finds no boxes"),
        ({"o": np.zeros((1, 3, 4))}, {"y_boxes": np.ones((1, 1, 4))}, "finds no boxes"),
        ({"o": np.zeros((2, 3, 6))}, {"y_boxes": np.ones((1, 1, 4))}, "of 2 images and the labels of 1"),
        ({"o": np.zeros((1, 3, 6))}, {"y": np.ones(1)}, "needs the labels 'y_boxes'; the data has y"),
        ({"o": np.zeros((1, 3, 6))}, {"y_boxes": np.ones((1, 4))}, "have shape"),
        ({"o": np.zeros((1, 3, 6))}, {"y_boxes": np.zeros((1, 2, 4))}, "needs labelled boxes and there are none"),
    ],
)
def test_what_is_no_detection_is_one_sentence(outputs: Set, labels: Set, says: str) -> None:
    with pytest.raises(DataError, match=says):
        _metrics.score("map", labels, outputs)
