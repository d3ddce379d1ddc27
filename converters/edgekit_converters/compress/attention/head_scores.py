"""What a layer's output loses with a head, by the rows the layer behind takes on calibration data.

The second moments H of those rows tell it without running the model again: the power of what a head puts in, or what is
left missing when the other heads' rows are fitted to make up for it (the block form of optimal brain surgeon: Hassibi
and Stork, 1992; Kurtic et al., "The optimal BERT surgeon", 2022).
"""

from collections.abc import Sequence

import numpy as np

from edgekit_converters.compress.attention.tracing import Numbers
from edgekit_converters.compress.moments import Moments
from edgekit_converters.graph.weights import Reals

DAMPING = 1e-3
"""Of the mean power of the rows, added to each."""


class Losses:
    """What going without heads costs a layer's output, relative to its power; heads are taken one by one."""

    def __init__(self, matrix: Reals, rows: Numbers, moments: Moments, by: str) -> None:
        """Prepare them for a layer.

        Args:
            matrix: the layer behind, [rows, outputs].
            rows: which of them are a head's, [heads, width].
            moments: of what it takes.
            by: `obs`, `activation` or `l2`.
        """
        mean = moments.total / moments.count
        gram = moments.gram / moments.count
        # behind a re-fit the bias makes up for what the rows are on average
        self._gram = gram - np.outer(mean, mean) if by == "obs" else gram
        if by == "l2":
            self._gram = np.eye(len(gram))
        damping = DAMPING * max(float(np.trace(self._gram)) / len(gram), 1e-12)
        self._inverse = np.linalg.inv(self._gram + damping * np.eye(len(gram))) if by == "obs" else None
        self._matrix, self._rows = matrix.copy(), rows
        self._power = max(float((matrix * (self._gram @ matrix)).sum()), 1e-30)
        self.left = list(range(len(rows)))

    def next(self) -> tuple[float, int]:
        """Return the head that costs least, and what it costs."""
        return min((self._loss(head), head) for head in self.left)

    def take(self, head: int) -> None:
        """Go without a head; with `obs` the others' rows make up for it as well as they can."""
        some = self._rows[head]
        self.left.remove(head)
        if self._inverse is not None:
            step = self._inverse[:, some] @ np.linalg.inv(self._inverse[np.ix_(some, some)])
            self._matrix = self._matrix - step @ self._matrix[some]
            self._inverse = self._inverse - step @ self._inverse[some]

    def _loss(self, head: int) -> float:
        some = self._rows[head]
        part = self._matrix[some]
        if self._inverse is None:
            return float((part * (self._gram[np.ix_(some, some)] @ part)).sum()) / self._power
        return float((part * np.linalg.solve(self._inverse[np.ix_(some, some)], part)).sum()) / self._power


def taken(losses: Sequence[Losses], ratio: float, *, everywhere: bool) -> list[tuple[list[int], float]]:
    """Take heads until the ratio is reached, at least one of a layer staying.

    Args:
        losses: of each attention.
        ratio: the share of heads that go, rounded down.
        everywhere: whether it is the share of each attention, not of all together.

    Returns:
        For each attention the heads that go, and what they cost.
    """
    gone: list[list[int]] = [[] for _ in losses]
    costs = [0.0] * len(losses)

    def take(places: Sequence[int], count: int) -> None:
        for _ in range(count):
            some = [(*losses[at].next(), at) for at in places if len(losses[at].left) > 1]
            if not some:
                return
            cost, head, at = min(some)
            losses[at].take(head)
            gone[at].append(head)
            costs[at] += cost

    if everywhere:
        for at, one in enumerate(losses):
            take([at], int(ratio * len(one.left)))
    else:
        take(range(len(losses)), int(ratio * sum(len(one.left) for one in losses)))
    return list(zip(gone, costs, strict=True))
