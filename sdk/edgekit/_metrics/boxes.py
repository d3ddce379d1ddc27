"""`map`: the outputs of a detector and labelled boxes, brought to one form and scored."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgekit._metrics.matching import MOST_DETECTIONS, Image, Matches, average_precision, matched
from edgekit._metrics.scored import Scored, Values, Weights, label
from edgekit.errors import DataError
from edgekit_converters.model import Array, Arrays

_SIDES = 4
_ROW, _DETECTION_OUTPUT = 6, 7  # values of a detection in outputs that hold all of it
_PIXELS_FROM = 2  # shares of a picture reach a little over 1, pixels far more

_NOTHING = Image(np.empty((0, _SIDES)), np.empty(0), np.empty((0, _SIDES)), np.empty(0, dtype=bool))

Detections = tuple[Values, Values, NDArray[np.int64] | None]
"""Of one image: boxes [D, 4] as left, top, right, bottom; scores [D] or [D, classes]; classes [D]."""


def mean_average_precision(outputs: Arrays, labels: Arrays) -> Scored:
    """COCO's box mAP: the mean over classes and IoU 0.50 to 0.95 of the area under precision over recall.

    The same numbers as pycocotools gives for all areas and 100 detections an image and class. Outputs, each
    [N, ...], after the model's own non-maximum suppression:

    1. TFLite's post-processing: boxes [N, M, 4] as top, left, bottom, right; classes and scores [N, M]; count [N].
    2. boxes [N, M, 4] as left, top, right, bottom; scores [N, M]; classes [N, M] where there are several.
    3. boxes as in 2; scores [N, M, classes], each of which is a detection.
    4. one output [N, M, 6]: left, top, right, bottom, score, class.
    5. OpenVINO's DetectionOutput [N, 1, M, 7]: image (negative: none), class, score, left, top, right, bottom.

    Labels: `y_boxes` [N, G, 4] as left, top, right, bottom in the unit of the outputs; `y_classes` [N, G],
    `y_count` [N], `y_crowd` [N, G]. With `y_size` [N, 2] (height, width of the input) they are shares of it, and
    outputs whose coordinates exceed 2 are taken for pixels.

    Raises:
        DataError: if boxes or scores cannot be told among the outputs, or labels are missing.
    """
    corners = label(labels, "y_boxes", "map")
    if corners.ndim != 3 or corners.shape[2] != _SIDES:  # noqa: PLR2004
        raise DataError(f"map needs labels 'y_boxes' [N, M, 4] and they have shape {list(corners.shape)}")
    found = _detections(outputs, len(corners))
    if "y_size" in labels:
        found = _as_shares(found, labels["y_size"])
    truth = [_truth(labels, place) for place in range(len(corners))]
    several = any(classes is not None or scores.ndim > 1 for _, scores, classes in found)
    numbers = sorted({int(number) for _, classes, _ in truth for number in classes}) if several else [None]
    matches = [
        matched([_image(one, known, number) for one, known in zip(found, truth, strict=True)]) for number in numbers
    ]
    there = [one for one in matches if one.wanted.any()]
    if not there:
        raise DataError("map needs labelled boxes and there are none")
    return Scored(len(corners), partial(_mean, there))


def _mean(matches: list[Matches], weights: Weights) -> float:
    each = [average_precision(one, weights) for one in matches]
    there = [one for one in each if one is not None]
    return float(np.mean(there)) if there else float("nan")


def _truth(labels: Arrays, place: int) -> tuple[Values, NDArray[np.int64], NDArray[np.bool_]]:
    """Return one image's boxes, classes and whether each is a crowd."""
    boxes = np.asarray(labels["y_boxes"][place], dtype=np.float64)
    count = int(labels["y_count"][place]) if "y_count" in labels else len(boxes)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (np.arange(len(boxes)) < count)
    classes = np.asarray(labels["y_classes"][place] if "y_classes" in labels else np.zeros(len(boxes)), dtype=np.int64)
    crowd = np.asarray(labels["y_crowd"][place] if "y_crowd" in labels else np.zeros(len(boxes)), dtype=bool)
    return boxes[kept], classes[kept], crowd[kept]


def _image(found: Detections, truth: tuple[Values, NDArray[np.int64], NDArray[np.bool_]], number: int | None) -> Image:
    """Return what is of one class, None stands for all; rows that are filled up with NaN are left out."""
    (boxes, scores, classes), (wanted, numbers, crowd) = found, truth
    if number is not None:
        of_class = numbers == number
        wanted, crowd = wanted[of_class], crowd[of_class]
        if scores.ndim > 1:
            scores = scores[:, number] if 0 <= number < scores.shape[1] else np.empty(0)
            boxes = boxes[: len(scores)]
        elif classes is not None:
            boxes, scores = boxes[classes == number], scores[classes == number]
    if not len(scores) and not len(wanted):  # most pictures hold none of most classes
        return _NOTHING
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    boxes, scores = boxes[finite], scores[finite]
    order = np.argsort(-scores, kind="stable")[:MOST_DETECTIONS]
    return Image(boxes[order], scores[order], wanted, crowd)


def _as_shares(found: list[Detections], sizes: Array) -> list[Detections]:
    largest = max((float(np.nanmax(np.abs(boxes), initial=0)) for boxes, _, _ in found), default=0.0)
    if largest <= _PIXELS_FROM:
        return found
    return [
        (boxes / np.asarray([width, height, width, height], dtype=np.float64), scores, classes)
        for (boxes, scores, classes), (height, width) in zip(found, sizes, strict=True)
    ]


def _detections(outputs: Arrays, images: int) -> list[Detections]:
    for name, array in outputs.items():
        if len(array) != images:
            raise DataError(f"output '{name}' is of {len(array)} images and the labels of {images}")
    for form in _FORMS:
        found = form(outputs)
        if found is not None:
            return found
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    error = DataError(f"map finds no boxes [N, M, 4] with scores [N, M] among the outputs: {shapes}")
    error.add_note("write a metric of your own: --metric package.module:function")
    raise error


def _rows(outputs: Arrays) -> list[Detections] | None:
    """Case 4."""
    if len(outputs) != 1:
        return None
    (array,) = outputs.values()
    if array.ndim != 3 or array.shape[2] != _ROW:  # noqa: PLR2004
        return None
    return [_split(np.asarray(rows, dtype=np.float64), (0, 1, 2, 3), 4, 5) for rows in array]


def _detection_output(outputs: Arrays) -> list[Detections] | None:
    """Case 5."""
    if len(outputs) != 1:
        return None
    (array,) = outputs.values()
    if array.shape[-1] != _DETECTION_OUTPUT or array.size % (len(array) * _DETECTION_OUTPUT):
        return None
    images = np.asarray(array, dtype=np.float64).reshape(len(array), -1, _DETECTION_OUTPUT)
    return [_split(rows[rows[:, 0] >= 0], (3, 4, 5, 6), 2, 1) for rows in images]


def _split(rows: Values, sides: tuple[int, ...], score: int, number: int) -> Detections:
    return rows[:, sides], rows[:, score], np.rint(rows[:, number]).astype(np.int64)


def _separate(outputs: Arrays) -> list[Detections] | None:
    """Cases 1 to 3."""
    boxes = _boxes(outputs)
    if boxes is None:
        return None
    corners = np.asarray(outputs[boxes], dtype=np.float64)
    rest = {name: array for name, array in outputs.items() if name != boxes}
    flat = {name: array for name, array in rest.items() if array.shape == corners.shape[:2]}
    counts = [array.reshape(-1) for name, array in rest.items() if array.size == len(corners) and name not in flat]
    if not flat:
        many = [array for array in rest.values() if array.ndim == 3 and array.shape[:2] == corners.shape[:2]]  # noqa: PLR2004
        return (
            [(c, np.asarray(s, dtype=np.float64), None) for c, s in zip(corners, many[0], strict=True)]
            if many
            else None
        )
    scores, classes = _told_apart(flat)
    if len(flat) > 1 and counts:
        corners = corners[..., [1, 0, 3, 2]]
    found = []
    for place, corner in enumerate(corners):
        count = int(counts[0][place]) if len(flat) > 1 and counts else len(corner)
        numbers = None if classes is None else np.rint(flat[classes][place][:count]).astype(np.int64)
        found.append((corner[:count], np.asarray(flat[scores][place][:count], dtype=np.float64), numbers))
    return found


def _boxes(outputs: Arrays) -> str | None:
    """Return the output of boxes: by its shape, and of several the one whose name says so."""
    fits = [name for name, array in outputs.items() if array.ndim == 3 and array.shape[2] == _SIDES]  # noqa: PLR2004
    named = [name for name in fits if "box" in name.lower() or "loc" in name.lower()]
    return next(iter(named or fits), None)


def _told_apart(flat: Arrays) -> tuple[str, str | None]:
    """Return which output holds scores and which classes: by name, else classes are whole, else classes come first."""
    names = list(flat)
    if len(names) == 1:
        return names[0], None
    for name in names:
        others = [other for other in names if other != name]
        if "score" in name.lower() or "conf" in name.lower():
            return name, others[0]
        if "class" in name.lower() or "label" in name.lower():
            return others[0], name
    whole = [name for name in names if flat[name].dtype.kind in "iu" or bool((flat[name] == np.rint(flat[name])).all())]
    if len(whole) == 1:
        return next(name for name in names if name != whole[0]), whole[0]
    return names[1], names[0]


_FORMS: tuple[Callable[[Arrays], list[Detections] | None], ...] = (_rows, _detection_output, _separate)
