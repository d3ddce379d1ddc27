"""Which form and rank each layer gets: by what may be lost of its outputs, by its size, or by a budget for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.compress.base import Values
from edgekit_converters.compress.lowrank.factors import parameters_of
from edgekit_converters.compress.lowrank.forms import Form, Ranks
from edgekit_converters.compress.lowrank.sites import Site

BUDGETS = ("parameters", "macs")
GOALS = ("energy", "error", "rank", "ratio", *BUDGETS)
DEFAULT = ("energy", 0.99)
_HALVINGS = 60
_ROUNDING = 1e-12
"""Of a layer's power: what rounding its weights to float32 costs at most, and so no loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What decides: one of `GOALS` with its number."""

    kind: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A layer in a form with ranks that make it smaller; `error` is the share of its outputs' power that is lost.

    `damage` is what a budget weighs it by: the share of the model's output power that is lost with it.
    """

    site: Site
    form: Form
    ranks: Ranks
    parameters: int
    macs: int
    error: float
    damage: float

    def cost(self, of: str) -> int:
        """Return its parameters or its macs."""
        return self.parameters if of == "parameters" else self.macs


def goal_of(values: Values) -> Goal | str:
    """Return what the options ask for, or why they are no goal."""
    given = [one for one in GOALS if values[one]]
    if len(given) > 1:
        return f"options {given[0]} and {given[1]} are two answers to one question"
    kind, value = (given[0], float(values[given[0]])) if given else DEFAULT
    return Goal(kind=kind, value=value)


def candidates(site: Site, forms: Sequence[Form], goal: Goal, multiple: int) -> list[Candidate]:
    """Return what a layer could become with fewer parameters and fewer multiplications."""
    found = []
    for form in forms:
        for ranks in [form.at(int(goal.value))] if goal.kind == "rank" else form.grid(multiple):
            size = _cost(site, form, ranks)
            if size[0] < site.size("parameters") and size[1] < site.size("macs"):
                lost = form.error(ranks)
                found.append(
                    Candidate(
                        site=site, form=form, ranks=ranks, parameters=size[0], macs=size[1], error=lost, damage=lost
                    )
                )
    return found


def _cost(site: Site, form: Form, ranks: Ranks) -> tuple[int, int]:
    factors = form.factors(ranks)
    return parameters_of(factors), site.macs_of(factors)


def pick(site: Site, found: Sequence[Candidate], goal: Goal) -> Candidate | str:
    """Return what a layer becomes by itself, or why it stays."""
    if not found:
        at = f"rank {goal.value:.0f}" if goal.kind == "rank" else "any rank it may have"
        return f"at {at} it has no fewer parameters and multiplications"
    if goal.kind in {"rank", "ratio"}:
        most = goal.value * site.size("parameters") if goal.kind == "ratio" else np.inf
        fitting = [one for one in found if one.parameters <= most]
        why = f"its smallest form has {_least(found) / site.size('parameters'):.3f} of its parameters"
        return min(fitting, key=lambda one: (one.error, one.macs)) if fitting else why
    allowed = 1 - goal.value if goal.kind == "energy" else goal.value**2
    fitting = [one for one in found if one.error <= allowed + _ROUNDING]
    why = f"no form with fewer parameters and multiplications keeps {1 - allowed:.8g} of its outputs' power"
    return min(fitting, key=lambda one: (one.macs, one.parameters, one.error)) if fitting else why


def _least(found: Sequence[Candidate]) -> int:
    return min(one.parameters for one in found)


def spread(found: Sequence[Sequence[Candidate]], sites: Sequence[Site], most: float, of: str) -> list[Candidate | None]:
    """Return a candidate or None (it stays) for each layer: together within `most`, with the least sum of damages.

    A price is put on a parameter (or multiplication), and every layer takes what costs it least with its damage; the
    lowest price that keeps to the budget is found by halving (Everett 1963, generalized Lagrange multipliers).
    """
    low, high = -40.0, 40.0  # powers of two
    best = _at(found, sites, 2.0**high, of)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        taken = _at(found, sites, 2.0**middle, of)
        if sum(_costs(taken, sites, of)) <= most:
            best, high = taken, middle
        else:
            low = middle
    return best


def smallest(found: Sequence[Sequence[Candidate]], sites: Sequence[Site], of: str) -> int:
    """Return how little the layers can take together."""
    return sum(_costs(_at(found, sites, 2.0**40, of), sites, of))


def _at(found: Sequence[Sequence[Candidate]], sites: Sequence[Site], price: float, of: str) -> list[Candidate | None]:
    """Return what each layer takes at a price: prices are of the mean layer, damages are shares."""
    unit = price / max(1.0, float(np.mean([site.size(of) for site in sites])))
    made: list[Candidate | None] = []
    for site, ones in zip(sites, found, strict=True):
        best = min(ones, key=lambda one: (one.damage + unit * one.cost(of), one.cost(of)), default=None)
        stays = best is None or unit * site.size(of) <= best.damage + unit * best.cost(of)
        made.append(None if stays else best)
    return made


def _costs(taken: Sequence[Candidate | None], sites: Sequence[Site], of: str) -> list[int]:
    return [site.size(of) if one is None else one.cost(of) for one, site in zip(taken, sites, strict=True)]
