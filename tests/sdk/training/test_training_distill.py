"""PyTorch nets that learn from others."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def cases(run_cases: Callable[..., Any]) -> Any:
    return run_cases("sdk.training.distill_cases", needs=("torch", "sklearn"))


def test_a_student_learns_from_its_teacher_alone(cases: Any) -> None:
    assert cases["learns"]["score"] > 0.9
    assert cases["learns"]["teacher stays"]
    assert cases["learns"]["model"]


def test_alpha_weighs_teacher_and_labels_of_a_net(cases: Any) -> None:
    assert cases["alphas"] == {"hard alone": True, "both": True}


@pytest.mark.parametrize(
    ("which", "kind", "message"),
    [
        ("teacher", "UsageError", "a 'builtins.object' is no torch.nn.Module"),
        ("temperature", "UsageError", "temperature 0 is not above 0"),
        ("alpha", "UsageError", "alpha 1.5 is not between 0 and 1"),
        ("shapes", "DataError", "the student's outputs are of shapes [(40, 10)], the teacher's of [(40, 64)]"),
        ("iterator", "DataError", "train_data can be gone through only once: it is an iterator"),
        ("batch", "DataError", "batch 0 of train_data is not (inputs, target) but of type 'ndarray'"),
    ],
)
def test_what_cannot_be_distilled_is_refused(cases: Any, which: str, kind: str, message: str) -> None:
    assert cases["refusals"][which]["type"] == kind
    assert message in cases["refusals"][which]["message"]
