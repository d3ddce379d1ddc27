"""Boxes: decoding by the formulas, suppression against a plain reference, and the way back to the source's pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekit_agent import boxes
from edgekit_agent.answering import Answering, Found
from edgekit_agent.errors import ModelError
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import TensorSpec


def plain_iou(one: list[float], other: list[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, wide) * max(0.0, tall)
    areas = [max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared) if shared else 0.0


def plain_best(corners: list[list[float]], scores: list[float], classes: list[int], iou: float, most: int) -> list[int]:
    """Greedy suppression, one box after the other."""
    kept: list[int] = []
    for number in sorted(range(len(scores)), key=lambda one: (-scores[one], one)):
        beaten = any(
            classes[best] == classes[number] and plain_iou(corners[best], corners[number]) > iou for best in kept
        )
        if not beaten and len(kept) < most:
            kept.append(number)
    return kept


@settings(max_examples=200)
@given(st.integers(0, 60), st.integers(1, 3), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]), st.integers(0, 2**32 - 1))
def test_suppression_is_that_of_a_plain_reference(count: int, kinds: int, iou: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # whole numbers: areas are exact, and ties are met
    low = rng.integers(0, 20, (count, 2))
    corners = np.concatenate([low, low + rng.integers(0, 12, (count, 2))], axis=1).astype(np.float32)
    scores = (rng.integers(0, 10, count) / 8).astype(np.float32)
    classes = rng.integers(0, kinds, count)
    for most in (3, 100):
        found = boxes.best_of_overlapping(corners, scores, classes, iou, most)
        assert found.tolist() == plain_best(corners.tolist(), scores.tolist(), classes.tolist(), iou, most)


def test_suppression_is_that_of_opencv(rng: np.random.Generator) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: make setup-frameworks")
    for _ in range(20):
        low = rng.random((200, 2)) * 100
        corners = np.concatenate([low, low + 5 + rng.random((200, 2)) * 40], axis=1).astype(np.float32)
        scores = rng.random(200).astype(np.float32)
        sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        wanted = cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, 0.45)
        found = boxes.best_of_overlapping(corners, scores, np.zeros(200, np.intp), 0.45, 200)
        assert found.tolist() == np.asarray(wanted).ravel().tolist()


def outputs_of(*shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=f"out{n}", shape=shape, dtype="float32") for n, shape in enumerate(shapes))


def found(
    how: Mapping[str, Any], *arrays: "np.ndarray[tuple[int, ...], np.dtype[Any]]", picture: tuple[int, int] = (100, 200)
) -> list[Found]:
    described = Postprocess.from_mapping({"kind": "boxes", "boxes": 0, **how})
    outputs = [np.asarray(array, np.float32) for array in arrays]
    return list(
        Answering(described, outputs_of(*(array.shape for array in outputs)), picture=picture).answer(outputs).boxes
    )


ONE = np.array([[[0.9]]])


@pytest.mark.parametrize(
    ("how", "coded", "corners"),
    [
        ({"form": "xyxy"}, [0.1, 0.2, 0.5, 0.6], (20, 20, 100, 60)),
        ({"form": "yxyx"}, [0.2, 0.1, 0.6, 0.5], (20, 20, 100, 60)),
        ({"form": "xywh"}, [0.3, 0.4, 0.4, 0.4], (20, 20, 100, 60)),
        ({"form": "xyxy", "unit": "pixel"}, [20, 20, 100, 60], (20, 20, 100, 60)),
        ({"form": "xyxy"}, [-0.5, 0.2, 1.5, 0.6], (0, 20, 200, 60)),
    ],
)
def test_every_form_of_corners(how: Mapping[str, Any], coded: list[float], corners: tuple[float, ...]) -> None:
    (one,) = found({"scores": 1, **how}, np.array([[coded]]), ONE)
    assert one.corners == pytest.approx(corners, abs=1e-3)


def test_priors_are_scaled_and_moved() -> None:
    # one level of 2x4 cells of 50 pixels, a square of 40 and one of 20x60 in each
    how = {"form": "ssd", "strides": [50], "sizes": [[40, [20, 60]]], "scores": 1, "variances": [0.1, 0.2]}
    coded, scores = np.zeros((1, 16, 4)), np.zeros((1, 16, 1))
    number = 2 * (1 * 4 + 2) + 1  # row 1, column 2, the second size
    coded[0, number], scores[0, number] = [1.0, -2.0, np.log(2) / 0.2, 0.0], 0.8
    (one,) = found(how, coded, scores)
    # the middle (125, 75) moves by 0.1 * 1 * 60 and 0.1 * -2 * 20; the width 60 is doubled
    assert one.corners == pytest.approx((131 - 60, 71 - 10, 131 + 60, 71 + 10), abs=1e-3)


def test_cells_without_priors() -> None:
    how = {"form": "grid", "strides": [50, 100], "objectness": True}
    coded = np.zeros((1, 8 + 2, 4 + 1 + 2))
    coded[0, 8 + 1] = [0.25, 0.5, np.log(0.5), np.log(0.2), 0.5, 0.1, 0.9]  # the second cell of the second level
    (one,) = found(how, coded)
    assert one.number == 1
    assert one.score == pytest.approx(0.45)
    assert one.corners == pytest.approx((125 - 25, 50 - 10, 125 + 25, 50 + 10), abs=1e-3)


def test_outputs_with_the_boxes_last() -> None:
    coded = np.zeros((1, 4 + 2, 3))
    coded[0, :, 2] = [100, 50, 20, 10, 0.1, 0.7]
    (one,) = found({"form": "xywh", "unit": "pixel", "transposed": True}, coded)
    assert (one.number, one.corners) == (1, (90, 45, 110, 55))


def test_classes_in_an_output_of_their_own() -> None:
    corners = np.array([[[0.0, 0, 0.5, 0.5], [0, 0, 0.4, 0.4], [0, 0, 1, 1]]])
    ones = found({"scores": 1, "numbers": 2}, corners, np.array([[0.9, 0.8, 0.1]]), np.array([[7.0, 3.0, 1.0]]))
    assert [(one.number, round(one.score, 3)) for one in ones] == [(7, 0.9), (3, 0.8)]


def test_the_background_is_no_class_and_each_class_is_looked_at() -> None:
    corners, scores = np.array([[[0, 0, 1, 1]]]), np.array([[[0.99, 0.6, 0.5]]])
    ones = found({"scores": 1, "background": 0, "threshold": 0.4}, corners, scores)
    assert [(one.number, round(one.score, 3)) for one in ones] == [(1, 0.6), (2, 0.5)]


def test_scores_are_activated_before_they_are_compared() -> None:
    corners, scores = np.array([[[0, 0, 1, 1]]]), np.array([[[0.0, np.log(3)]]])
    (one,) = found({"scores": 1, "activation": "softmax", "background": 0}, corners, scores)
    assert one.score == pytest.approx(0.75)


def test_boxes_without_end_are_cut_to_the_picture() -> None:
    how = {"form": "grid", "strides": [100]}
    coded = np.zeros((1, 2, 5))
    coded[0, 0] = [0.5, 0.5, 500, 500, 0.9]
    (one,) = found(how, coded)
    assert one.corners == (0, 0, 200, 100)


@pytest.mark.parametrize(
    ("how", "shapes", "sentence"),
    [
        ({}, [(1, 3, 4)], "no scores among them"),
        ({"scores": 1}, [(1, 3, 5), (1, 3, 1)], "does not hold boxes"),
        ({"scores": 1}, [(1, 3, 4), (1, 4, 1)], "scores of 4 boxes, and 3 boxes"),
        ({"scores": 1}, [(4,), (1, 1, 1)], "does not hold boxes"),
        ({"form": "grid", "strides": [50]}, [(1, 9, 5)], "9 boxes, and postprocess's strides make 8"),
    ],
)
def test_outputs_of_another_shape_are_an_error(
    how: Mapping[str, Any], shapes: list[tuple[int, ...]], sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        found(how, *(np.ones(shape) for shape in shapes))


def test_steps_that_would_make_millions_of_boxes_are_an_error() -> None:
    with pytest.raises(ModelError, match="more than 1048576 boxes"):
        found({"form": "grid", "strides": [1]}, np.ones((1, 1, 5)), picture=(4000, 4000))


def test_a_picture_of_unknown_size_is_an_error() -> None:
    how = Postprocess.from_mapping({"kind": "boxes", "boxes": 0})
    with pytest.raises(ModelError, match="the size of the model's picture"):
        Answering(how, outputs_of((1, 1, 5))).answer([np.ones((1, 1, 5), np.float32)])


def test_no_more_than_a_thousand_candidates_are_looked_at(rng: np.random.Generator) -> None:
    coded = np.zeros((1, 5000, 5))
    coded[0, :, :4] = rng.random((5000, 4))
    coded[0, :, 4] = np.linspace(0.4, 0.9, 5000)
    ones = found({"iou": 1.0, "top": 1000}, coded)
    assert len(ones) == 1000
    assert ones[-1].score == pytest.approx(0.4 + 0.5 * 4000 / 4999, abs=1e-4)


@pytest.mark.parametrize(
    "how",
    [
        {"resize": [60, 80]}, {"resize": 50}, {"resize": 50, "crop": [40, 44]}, {"letterbox": 64},
        {"letterbox": [90, 50]}, {"crop": 40}, {},
    ],
)  # fmt: skip
def test_a_box_comes_back_to_where_it_was_in_the_source(how: Mapping[str, Any]) -> None:
    """A bright rectangle is drawn, the picture is prepared, the rectangle is found in it and told of the source."""
    picture = np.zeros((120, 200, 3), np.uint8)
    picture[50:72, 90:118] = 255
    prepare = Preprocess.from_mapping(how)
    pixels, placement = prepare.image_and_place(Image.fromarray(picture))
    bright = pixels[..., 0].astype(np.float32) > 127
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    corners = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    coded = np.array([[[*corners, 0.9]]], np.float32)
    described = Postprocess.from_mapping({"kind": "boxes", "boxes": 0, "unit": "pixel"})
    (one,) = Answering(described, outputs_of((1, 1, 5))).answer([coded], placement).boxes
    # half a pixel of what the model sees
    assert np.abs(np.array(one.corners) - [90, 50, 118, 72]).max() <= 0.51 / min(placement.scale)
