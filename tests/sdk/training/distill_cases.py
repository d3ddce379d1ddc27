"""PyTorch nets that learn from others: run as `python -m tests.sdk.training.distill_cases FOLDER`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253  # a process of its own
from torch import nn  # noqa: TID253  # a process of its own

import edgekit
from tests.framework_cases import Shuffled, accuracy, digits, error_of, main

LOSS = nn.CrossEntropyLoss()
TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = digits(channels_first=True)
SCORE = accuracy(TEST_X, TEST_Y)


def net(width: int) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10))


def teacher() -> Any:
    made = net(64)
    edgekit.finetune(made, Shuffled(TRAIN_X, TRAIN_Y), LOSS, edgekit.TrainOptions(epochs=8, learning_rate=5e-3))
    return made


def learns(_work: Path) -> dict[str, Any]:
    """From the teacher alone: the labels are wrong."""
    taught, student = teacher(), net(16)
    before = {name: one.clone() for name, one in taught.state_dict().items()}
    options = edgekit.TrainOptions(epochs=10, learning_rate=1e-2)
    data = Shuffled(TRAIN_X, np.zeros_like(TRAIN_Y))
    done = edgekit.distill(taught, student, data, None, options, evaluate=SCORE)
    return {
        "score": max(done.course.scores),
        "teacher stays": all(bool((one == before[name]).all()) for name, one in taught.state_dict().items()),
        "model": done.model is student,
    }


def alphas(_work: Path) -> dict[str, Any]:
    taught = teacher()
    options = edgekit.TrainOptions(epochs=1)
    found = []
    for alpha in (0.0, 0.5):
        student = net(16)
        edgekit.distill(taught, student, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options, alpha=alpha)
        found.append(student[1].weight.detach().numpy())
    plain = net(16)
    edgekit.finetune(plain, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options)
    wanted = plain[1].weight.detach().numpy()
    return {"hard alone": bool(np.array_equal(found[0], wanted)), "both": not np.array_equal(found[1], wanted)}


def refusals(_work: Path) -> dict[str, Any]:
    data = Shuffled(TRAIN_X, TRAIN_Y)
    return {
        "teacher": error_of(lambda: edgekit.distill(object(), net(4), data)),
        "temperature": error_of(lambda: edgekit.distill(net(4), net(4), data, temperature=0)),
        "alpha": error_of(lambda: edgekit.distill(net(4), net(4), data, alpha=1.5)),
        "shapes": error_of(lambda: edgekit.distill(nn.Sequential(nn.Flatten(), nn.Linear(64, 64)), net(4), data)),
        "iterator": error_of(lambda: edgekit.distill(net(4), net(4), iter([(TRAIN_X, TRAIN_Y)]))),
        "batch": error_of(lambda: edgekit.distill(net(4), net(4), [TRAIN_X])),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main({"learns": learns, "alphas": alphas, "refusals": refusals})
