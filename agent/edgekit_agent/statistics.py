"""What a model's outputs are like over time: counts that are added over windows and workers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from edgekit_agent.answering import Answer
from edgekit_agent.observing import Observer
from edgekit_agent.runtimes.base import Array, TensorSpec

MAX_CLASSES = 1000


class Statistics:
    """Fed with every answer; `take` gives what has come since it was last called."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, softmax: bool = False) -> None:
        """Take the model's tensors, and whether its scores become probabilities by a softmax behind it."""
        self._observer = Observer(inputs, outputs, softmax=softmax)
        # counted when they are asked for: an append is all that an inference pays
        self._top1: list[int] = []
        self._found: list[int] = []
        self._labelled = self._correct = 0

    def add(self, arrays: Sequence[Array], answer: Answer, now_ns: int, label: int | None = None) -> None:
        """Count an answer, and look at some of them more closely.

        Args:
            arrays: the inputs, as the model stores them.
            answer: what came of them.
            now_ns: `time.perf_counter_ns`.
            label: the right class where it is known.
        """
        if now_ns >= self._observer.due_ns:
            self._observer.observe(arrays, answer.outputs)
        if answer.classes:
            self._top1.append(answer.classes[0].number)
        elif answer.boxes:
            self._found += [box.number for box in answer.boxes]
        if label is not None:
            self._labelled += 1
            self._correct += bool(answer.classes) and answer.classes[0].number == label

    def take(self) -> dict[str, Any]:
        """Return the counts by name, and begin again."""
        told = self._observer.take()
        for name, numbers in (("top1", self._top1), ("boxes", self._found)):
            if numbers:
                told[name] = {str(number): count for number, count in Counter(numbers).most_common(MAX_CLASSES)}
                numbers.clear()
        if self._labelled:
            told |= {"labelled": self._labelled, "correct": self._correct}
            self._labelled = self._correct = 0
        return told
