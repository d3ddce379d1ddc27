"""Descriptions of post-processing, classes and raw answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent.answering import Answer, Answering, activated
from edgekit_agent.errors import ConfigError, ModelError
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.runtimes.base import TensorSpec

SCORES = TensorSpec(name="scores", shape=(1, 4), dtype="float32")
STORED = TensorSpec(name="scores", shape=(1, 4), dtype="int8", scale=(0.5,), zero_point=(-3,))


def answering(values: Mapping[str, Any], *outputs: TensorSpec, labels: Sequence[str] = ()) -> Answering:
    return Answering(Postprocess.from_mapping(values), outputs, labels=labels)


def floats(*values: float) -> "list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]":
    return [np.array([values], np.float32)]


def classes(answer: Answer) -> list[tuple[int, float]]:
    return [(one.number, round(one.score, 4)) for one in answer.classes]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"nms": 1}, "has no 'nms'"),
        ({"kind": "masks"}, "'kind' is not one of"),
        ({"kind": ["boxes"]}, "'kind' is not one of"),
        ({"top": 3}, "'top' does not go with kind 'auto'"),
        ({"kind": "classes", "top": 0}, "'top' is not a whole number"),
        ({"kind": "classes", "top": True}, "'top' is not a whole number"),
        ({"kind": "classes", "threshold": "high"}, "'threshold' is not a number"),
        ({"kind": "classes", "threshold": float("nan")}, "'threshold' is not a number"),
        ({"kind": "classes", "iou": 0.5}, "'iou' does not go with kind 'classes'"),
        ({"kind": "classes", "output": -1}, "'output' is not an output's name"),
        ({"kind": "boxes"}, "needs 'boxes'"),
        ({"kind": "boxes", "boxes": 0, "form": "ssd"}, "'strides' goes with"),
        ({"kind": "boxes", "boxes": 0, "strides": [8]}, "'strides' goes with"),
        ({"kind": "boxes", "boxes": 0, "form": "ssd", "strides": [8], "sizes": [[1], [2]]}, "one list of sizes"),
        ({"kind": "boxes", "boxes": 0, "form": "grid", "strides": [8], "sizes": [[1]]}, "'sizes' goes with"),
        ({"kind": "boxes", "boxes": 0, "numbers": 1}, "'numbers' goes with 'scores'"),
        ({"kind": "boxes", "boxes": 0, "sizes": [[[1, 2, 3]]]}, "heights and widths"),
        ({"kind": "boxes", "boxes": 0, "sizes": [1]}, "a list of 1 to"),
        ({"kind": "boxes", "boxes": 0, "variances": [0.1]}, "two numbers"),
        ({"kind": "boxes", "boxes": 0, "clip": 1}, "'clip' is not true or false"),
        ({"kind": "boxes", "boxes": 0, "iou": 2}, "'iou' is not a number between 0 and 1"),
    ],
)
def test_a_wrong_description_is_one_sentence(values: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Postprocess.from_mapping(values)


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
_KEYS = ["kind", "top", "boxes", "scores", "form", "strides", "sizes", "variances", "iou", "clip", "background", "x"]


@given(st.dictionaries(st.sampled_from(_KEYS), _anything | st.sampled_from(["boxes", "classes", "ssd"]), max_size=6))
def test_any_mapping_is_taken_or_refused_and_survives_there_and_back(values: Mapping[str, Any]) -> None:
    try:
        found = Postprocess.from_mapping(values)
    except ConfigError:
        return
    assert Postprocess.from_mapping(found.to_mapping()) == found


def test_without_a_description_the_best_class_is_the_answer() -> None:
    assert classes(answering({}, SCORES).answer(floats(0.1, 0.7, 0.7, 0.2))) == [(1, 0.7)]


def test_stored_values_become_real_ones() -> None:
    answer = answering({}, STORED).answer([np.array([[0, 5, 1, -128]], np.int8)])
    assert classes(answer) == [(1, 4.0)]


def test_an_output_quantized_per_channel_is_compared_in_real_values() -> None:
    spec = TensorSpec(name="s", shape=(1, 2), dtype="int8", scale=(0.1, 1.0), zero_point=(0, 0), axis=1)
    assert classes(answering({}, spec).answer([np.array([[90, 10]], np.int8)])) == [(1, 10.0)]


def test_the_best_few_above_a_threshold() -> None:
    how = {"kind": "classes", "top": 3, "threshold": 0.15}
    assert classes(answering(how, SCORES).answer(floats(0.1, 0.2, 0.5, 0.2))) == [(2, 0.5), (1, 0.2), (3, 0.2)]
    assert classes(answering({**how, "top": 1}, SCORES).answer(floats(0, 0.1, 0, 0))) == []


def test_softmax_and_sigmoid_are_of_real_values() -> None:
    logits = np.array([-2.0, 0.5, 1.5, 3.0])
    soft = np.exp(logits) / np.exp(logits).sum()
    stored = [np.array([logits / 0.5 - 3], np.int8)]
    found = answering({"kind": "classes", "activation": "softmax"}, STORED).answer(stored)
    assert classes(found) == [(number, round(soft[number], 4)) for number in (3, 2, 1, 0)]
    found = answering({"kind": "classes", "activation": "sigmoid", "top": 1}, STORED).answer(stored)
    assert classes(found) == [(3, round(1 / (1 + np.exp(-3.0)), 4))]


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_activations_of_any_numbers_are_probabilities(values: list[float]) -> None:
    logits = np.array(values, np.float32)
    soft, sigmoid = activated(logits, "softmax"), activated(logits, "sigmoid")
    # a sum of 20 float32
    assert soft.sum() == pytest.approx(1, abs=1e-5)
    assert ((sigmoid >= 0) & (sigmoid <= 1)).all()


def test_outputs_that_are_no_numbers_are_an_error() -> None:
    for how in ({}, {"kind": "classes"}):
        with pytest.raises(ModelError, match="'scores' holds values that are no numbers"):
            answering(how, SCORES).answer(floats(0, np.nan, 0, 1))


def test_an_output_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ModelError, match="output 'logits'") as caught:
        answering({"kind": "classes", "output": "logits"}, SCORES)
    assert caught.value.__notes__ == ["its outputs are: scores"]
    with pytest.raises(ModelError, match="no output of the model has several values"):
        answering({"kind": "classes"}, TensorSpec(name="y", shape=(1, 5, 5, 3), dtype="float32"))


def test_an_output_is_chosen_by_name_or_number() -> None:
    other = TensorSpec(name="embedding", shape=(1, 3), dtype="float32")
    outputs = [*floats(9, 8, 7), *floats(0, 1, 0, 0)]
    for which in ("scores", 1):
        found = answering({"kind": "classes", "output": which, "top": 1}, other, SCORES).answer(outputs)
        assert classes(found) == [(1, 1.0)]


def test_answers_are_told_with_labels_where_there_are_some() -> None:
    one = answering({"kind": "classes", "top": 2}, SCORES, labels=("cat", "dog"))
    assert one.told(one.answer(floats(0, 0.25, 0, 0.123456789))) == {
        "classes": [{"class": 1, "label": "dog", "score": 0.25}, {"class": 3, "score": 0.12346}]
    }


def test_other_outputs_are_summed_up() -> None:
    spec = TensorSpec(name="y", shape=(1, 2, 1), dtype="uint8", scale=(0.5,), zero_point=(2,))
    one = answering({}, spec)
    told = one.told(one.answer([np.array([[[2], [6]]], np.uint8)]))
    assert told == {
        "outputs": [{"name": "y", "shape": [1, 2, 1], "min": 0.0, "max": 2.0, "mean": 1.0, "values": [0.0, 2.0]}]
    }
    big = answering({}, TensorSpec(name="y", shape=(1, 9, 9, 3), dtype="float32"))
    assert "values" not in big.told(big.answer([np.zeros((1, 9, 9, 3), np.float32)]))["outputs"][0]


@settings(max_examples=50)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_the_best_few_are_those_of_a_plain_sort(count: int, top: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-5, 5, count).astype(np.float32)
    spec = TensorSpec(name="s", shape=(1, count), dtype="float32")
    found = answering({"kind": "classes", "top": top}, spec).answer([values[None]])
    wanted = sorted(range(count), key=lambda number: (-values[number], number))[:top]
    assert [one.number for one in found.classes] == wanted
