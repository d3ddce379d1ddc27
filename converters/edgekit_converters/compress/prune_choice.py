"""Which units of channels go, until a budget is kept to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.compress.groups.units import Block
from edgekit_converters.compress.prune_scores import Scores

_STEPS = 64
"""Of a block's units as many go at once as this part of them is: wide layers are not looked at channel by channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much is to go: `cost` tells what is left with so many units of each block gone, `most` what may be left."""

    cost: Callable[[Sequence[int]], float]
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`multiple`: what remains of a block is a multiple of it, or all; `least`: units that remain at least.

    `even`: every block loses the same share; otherwise those go first that do least damage for what they save.
    """

    multiple: int = 1
    least: int = 1
    even: bool = False


def choose(blocks: Sequence[Block], scores: Scores, budget: Budget, limits: Limits) -> list[list[int]]:
    """Return the units of each block that go, those that went first in front.

    They may fall short of the budget where no block has more to lose.
    """
    gone: list[list[int]] = [[] for _ in blocks]
    cuts = list[tuple[float, int, list[int]]]()
    here = budget.cost([0] * len(blocks))
    while here > budget.most:
        best: tuple[float, int, list[int], float, float] | None = None
        for at, block in enumerate(blocks):
            units, damage = _next(block, gone[at], scores, limits)
            if not units:
                continue
            after = budget.cost([len(one) + (len(units) if place == at else 0) for place, one in enumerate(gone)])
            saved = max(here - after, 1e-9)
            worth = (len(gone[at]) + len(units)) / len(block.units) if limits.even else damage / saved
            if best is None or worth < best[0]:
                best = worth, at, units, after, damage
        if best is None:
            break
        _, at, units, here, damage = best
        gone[at] += units
        cuts.append((damage, at, units))
        scores.remove(units)
    return gone if limits.even or here > budget.most else _given_back(gone, cuts, budget)


def _given_back(
    gone: Sequence[list[int]], cuts: Sequence[tuple[float, int, list[int]]], budget: Budget
) -> list[list[int]]:
    """Return what goes without what need not: the last cut, if it was a large one, may leave room for earlier ones."""
    kept = [list(one) for one in gone]
    for _, at, units in sorted(cuts, key=lambda one: -one[0]):
        counts = [len(one) - (len(units) if place == at else 0) for place, one in enumerate(kept)]
        if budget.cost(counts) <= budget.most:
            kept[at] = [unit for unit in kept[at] if unit not in units]
    return kept


def _next(block: Block, gone: Sequence[int], scores: Scores, limits: Limits) -> tuple[list[int], float]:
    """Return the units of a block that would go next, and their damage."""
    left = len(block.units) - len(gone)
    multiple = limits.multiple
    count = max(1, len(block.units) // _STEPS // multiple) * multiple if left % multiple == 0 else left % multiple
    if left - count < max(limits.least, 1):
        return [], 0.0
    damages = np.where(np.isin(block.units, gone), np.inf, scores.of(block))
    order = np.argsort(damages, kind="stable")[:count]
    return block.units[order].tolist(), float(damages[order].sum())
