"""What the scripts of both frameworks share: real digits, and each case's answer as JSON.

Run as `python -m tests.sdk.training.torch_cases FOLDER` and the like: a framework stays out of the tests' process.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Case = Callable[[Path], dict[str, Any]]


def digits(*, channels_first: bool) -> tuple[Any, Any, Any, Any]:
    """Return scikit-learn's handwritten digits: 1,200 images to train with, 597 to test, each with its class."""
    from sklearn.datasets import load_digits

    known = load_digits()
    images = (known.images / 16).astype(np.float32)
    images = images[:, None] if channels_first else images[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1200], order[1200:]
    labels = known.target.astype(np.int64)
    return images[train], labels[train], images[test], labels[test]


def spread(count: int) -> Any:
    """Return a factor for each channel: what flows in them gets 1,000 times apart, which the next layer takes back."""
    return np.random.default_rng(3).permutation(np.geomspace(1 / 32, 32, count)).astype(np.float32)


class Shuffled:
    """Batches in an order of the epoch's own, from NumPy's global generator, as many users' loaders do."""

    def __init__(self, inputs: Any, labels: Any, size: int = 40, kill_at: int = 0) -> None:
        """Take the samples; the process is killed when batch `kill_at` of all epochs (from 1) is asked for."""
        self.inputs, self.labels, self.size = inputs, labels, size
        self.given, self.kill_at = 0, kill_at

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return len(self.labels) // self.size

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield an epoch."""
        order = np.random.permutation(len(self.labels))  # noqa: NPY002  # see above
        for at in range(len(self)):
            self.given += 1
            if self.given == self.kill_at:
                raise KeyboardInterrupt
            rows = order[at * self.size : (at + 1) * self.size]
            yield self.inputs[rows], self.labels[rows]


def accuracy(inputs: Any, labels: Any) -> Callable[[Callable[[Any], Any]], float]:
    """Return the score of a net: its share of right classes."""
    return lambda predict: float((np.asarray(predict(inputs)).argmax(-1) == labels).mean())


def error_of(call: Callable[[], object]) -> dict[str, Any]:
    """Return what a call raises."""
    try:
        call()
    except Exception as exc:  # noqa: BLE001  # the test looks at which
        return {"type": type(exc).__name__, "message": str(exc), "notes": getattr(exc, "__notes__", [])}
    return {"type": None}


def main(cases: Mapping[str, Case]) -> None:
    """Run every case, and write what each returned, or how it failed, to `FOLDER/cases.json`."""
    folder = Path(sys.argv[1])
    answers: dict[str, Any] = {}
    for name, case in cases.items():
        work = folder / name
        work.mkdir(parents=True)
        try:
            answers[name] = case(work)
        except Exception:  # noqa: BLE001  # the test shows it
            answers[name] = {"failed": traceback.format_exc()}
    (folder / "cases.json").write_text(json.dumps(answers))
