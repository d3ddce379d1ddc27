"""What outputs mean, by labels and by what stands before them."""

from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.learning.heads import heads_of
from edgekit_converters.compress.learning.narrow import narrow, same_places, same_values
from edgekit_converters.errors import UnsupportedError
from tests.converters.compress.learning_nets import classifier, model, regressor

NUMBERS = np.arange(6) % 10


def only(made: Any, labels: Any, kind: str = "auto") -> Any:
    (head,) = heads_of(made, None if labels is None else {"y": labels}, kind)
    return head


def test_behind_a_softmax_are_the_logits() -> None:
    head = only(classifier(), NUMBERS)
    assert (head.output, head.logits, head.axis, head.numbers, head.classes) == ("y", "l", 1, True, 10)


@pytest.mark.parametrize("moved", ["Identity(p)", "Reshape(p, s)", "Flatten(p)"])
def test_a_softmax_is_seen_behind_what_moves_its_classes(moved: str) -> None:
    made = model(f"p = Softmax(x) y = {moved}", "float[N,4] x", "float[N,4] y", {"s": np.array([-1, 4])})
    head = only(made, None)
    assert (head.logits, head.axis) == ("x", 1)


def test_class_numbers_alone_make_classes_of_plain_logits() -> None:
    made = classifier(softmax=False)
    assert only(made, NUMBERS).axis == 1
    assert only(made, NUMBERS).logits == "y"
    assert only(made, None).axis is None
    assert only(made, None, "classes").axis == 1


@pytest.mark.parametrize(
    ("shape", "labels", "axis"),
    [
        ("N,5,4,3", (6, 4, 3), 1),
        ("N,4,3,5", (6, 4, 3), 3),
        ("N,7,5", (6, 7), 2),
        ("N,5", (6, 1), 1),
        ("N,5,1,1", (6,), 1),
    ],
)
def test_the_classes_axis_is_the_one_that_labels_do_without(shape: str, labels: tuple[int, ...], axis: int) -> None:
    made = model("y = Relu(x)", f"float[{shape}] x", f"float[{shape}] y", {})
    assert only(made, np.zeros(labels, np.int64)).axis == axis


def test_a_label_for_every_value_is_a_value_or_a_share() -> None:
    one_hot = np.eye(10)[NUMBERS]
    assert only(classifier(), one_hot).is_classes
    assert not only(classifier(), one_hot).numbers
    assert not only(classifier(softmax=False), one_hot).is_classes
    assert not only(regressor(), np.zeros((6, 2))).is_classes


@pytest.mark.parametrize(
    ("made", "labels", "kind", "why"),
    [
        (classifier, NUMBERS + 5, "auto", "output 'y' has 10 classes, and the labels go from 5 to 10"),
        (classifier, NUMBERS - 1, "auto", "output 'y' has 10 classes, and the labels go from -1 to 4"),
        (classifier, NUMBERS, "values", "labels of shape 6 and dtype int64 do not fit output 'y' of shape [?]x10"),
        (classifier, np.zeros((6, 3)), "auto", "labels of shape 6x3 and dtype float64 do not fit"),
        (classifier, np.full(6, 0.5), "auto", "labels of shape 6 and dtype float64 do not fit"),
        (regressor, np.full((6, 2), np.nan), "auto", "the labels 'y' hold NaN or infinite values"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused(made: Any, labels: Any, kind: str, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        only(made(), labels, kind)


def test_labels_of_several_outputs_are_told_apart_by_name() -> None:
    made = model("y = Relu(x) z = Softmax(x)", "float[N,4] x", "float[N,4] y, float[N,4] z", {})
    labels = {"y": np.zeros((3, 4)), "y_z": np.array([0, 1, 2])}
    assert [(one.output, one.labels, one.is_classes) for one in heads_of(made, labels, "auto")] == [
        ("y", "y", False),
        ("z", "y_z", True),
    ]
    with pytest.raises(UnsupportedError, match="no output that the labels 'y_boxes' are of: labels are y, y_y, y_z"):
        heads_of(made, {"y_boxes": labels["y"]}, "auto")
    whole = model("y = Cast<to=7>(x)", "float[N,4] x", "int64[N,4] y", {})
    with pytest.raises(UnsupportedError, match="no output of floating-point numbers"):
        heads_of(whole, None, "auto")


def test_a_residual_block_is_narrow_behind_its_sum_alone() -> None:
    assert list(narrow(classifier())) == ["stem", "inner", "p", "f", "l"]


def test_pruned_inside_a_block_a_student_still_has_the_values_around_it() -> None:
    student, teacher = classifier(width=3), classifier()
    assert [name for name, _ in same_values(student, teacher)] == ["stem", "inner", "p", "f", "l"]
    assert same_places(student, teacher) == (("inner", "inner"), ("p", "p"))
