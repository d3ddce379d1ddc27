"""Counts of answers, and what a closer look at some of them says."""

import numpy as np
import pytest

from edgekit_agent.answering import Answer, Answering, Scored
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.runtimes.base import TensorSpec
from edgekit_agent.statistics import Statistics

SCORES = TensorSpec(name="y", shape=(1, 3), dtype="float32")
LOGITS = Answer([np.array([[5.0, -1.0, 2.0]], np.float32)], [Scored(0, 5.0)])


@pytest.mark.parametrize(("activation", "told"), [("softmax", 1), ("none", 0)])
def test_a_softmax_behind_the_model_makes_its_scores_probabilities(activation: str, told: int) -> None:
    answering = Answering(Postprocess(kind="classes", activation=activation), [SCORES])
    statistics = Statistics([], [SCORES], softmax=answering.softmax)
    statistics.add([], LOGITS, 1)
    assert statistics.take().get("conf", {"n": 0})["n"] == told


def test_every_answer_is_counted_though_few_are_looked_at_closely() -> None:
    statistics = Statistics([], [SCORES], softmax=True)
    for number in range(1000):
        statistics.add([], LOGITS, 1, label=number % 2)
    found = statistics.take()
    assert found["top1"] == {"0": 1000}
    assert (found["labelled"], found["correct"]) == (1000, 500)
    assert found["conf"]["n"] == 1
    assert statistics.take() == {}
