"""Options of a training, as `edgekit.training` checks them."""

import math
from typing import Any

import pytest

from edgekit.errors import UsageError
from edgekit.training._options import TrainOptions, check_precision


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs 0 is not 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate 0.0 is not between"),
        ({"learning_rate": math.nan}, "learning_rate nan is not between"),
        ({"clip_norm": -1.0}, "clip_norm -1.0"),
        ({"freeze_after": 1.5}, "freeze_after 1.5"),
        ({"patience": -1}, "patience -1"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainOptions(**given)


def test_a_precision_that_training_is_not_for_is_refused() -> None:
    with pytest.raises(UsageError, match="not for precision 'fp16'; it is for int8, int8-weights, int4-weights"):
        check_precision("fp16")
