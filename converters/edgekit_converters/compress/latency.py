"""A budget of measured time: the largest share of the multiplications that keeps to it, found by trials.

Time goes down with the multiplications, but by how much only a runtime can tell. So a step with a budget of time is
tried with budgets of multiplications, on few samples and in one round: the time is the shapes', which hardly depend on
more. It is then carried out with the budget that was found. Measured times differ from run to run; what was found
stands in the step's text, and repeats bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit_converters.compress.base import Effect, Figures
from edgekit_converters.compress.steps import RecipeStep, with_options
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Arrays
from edgekit_converters.precisions import Value

OPTION, NEED = "latency", "measuring"
"""The option's name, and what a technique needs for it."""
TRIALS = 7
NEAR = 0.03
"""Of the budget: so close below it, a search ends."""
SAMPLES = 64
"""Of the calibration data, for a trial."""
_STEPS = 100  # a share is sought in hundredths

Timed = Callable[[Path, Path], float]
"""Gets two ONNX files, a model and a candidate; returns the candidate's share of the model's time, measured in turns.

Raises `ConversionError` where one of them cannot be run.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The step with a budget of multiplications, and the shares of the time that trials left, by those budgets."""

    step: RecipeStep
    budget: float
    shares: dict[float, float | None]
    """None where the technique cannot take so much."""

    def told(self, effect: Effect, share: float) -> Effect:
        """Return the effect with what was found out; `share` of the time is what the step itself left."""
        trials = [f"macs={macs} {'none' if one is None else f'{one:.3f}'}" for macs, one in self.shares.items()]
        found: Figures = {
            "latency_budget": self.budget,
            "latency_share": round(share, 3),
            "latency_trials": "; ".join(trials),
        }
        return replace(effect, figures={**effect.figures, **found})


def choose(
    step: RecipeStep,
    carry_out: Callable[[RecipeStep], Path],
    share_of: Callable[[Path], float],
    tell: Callable[[str], None],
) -> Chosen:
    """Return the step with the largest budget of multiplications that keeps to its budget of time.

    Args:
        step: with the options `latency`, `macs`, `refit` and `rounds`.
        carry_out: returns the ONNX file behind a trial; UnsupportedError where the technique cannot take so much.
        share_of: returns what that file leaves of the time.
        tell: gets what a trial came to, in a few words.

    Raises:
        UnsupportedError: if the technique can take nothing, or not enough.
        ConversionError: if a model cannot be timed.
    """
    budget = float(step.values[OPTION])
    refused = list[UnsupportedError]()

    def attempt(macs: float) -> float | None:
        trial = with_options(step, latency=0.0, macs=macs, **_plain(step))
        try:
            made = carry_out(trial)
        except UnsupportedError as exc:
            refused.append(exc)
            tell(f"macs={macs} cannot be had")
            return None
        share = share_of(made)
        tell(f"macs={macs} leaves {share:.1%} of the time, {budget:.1%} are wanted")
        return share

    shares = search(budget, attempt)
    kept = [macs for macs, share in shares.items() if share is not None and share <= budget]
    if not kept and not (step.optional and len(refused) == len(shares)):
        raise _out_of_reach(step, budget, shares, refused)
    macs = max(kept, default=budget)  # an optional step that nothing can be done to is carried out, and left out there
    return Chosen(step=with_options(step, latency=0.0, macs=macs), budget=budget, shares=shares)


def search(budget: float, attempt: Callable[[float], float | None]) -> dict[float, float | None]:
    """Return what was tried: shares of the time by shares of the multiplications, halving what is between.

    Answers need not be monotone: what one trial said is never doubted, and the next lies on the side it points to.

    Args:
        budget: the share of the time that may be left, above 0 and below 1.
        attempt: returns the share of the time with a share of the multiplications; None if so little cannot be had.
    """
    tried: dict[float, float | None] = {}
    least, most = 0, _STEPS
    at = min(max(round(budget * _STEPS), 1), _STEPS - 1)
    while least < at < most and len(tried) < TRIALS:
        share = tried[at / _STEPS] = attempt(at / _STEPS)
        if share is not None and (1 - NEAR) * budget <= share <= budget:
            break
        least, most = (at, most) if share is None or share <= budget else (least, at)
        at = (least + most) // 2
    return tried


def _plain(step: RecipeStep) -> dict[str, Value]:
    """Return the options that make a trial cheap and leave the shapes as they are."""
    return {"rounds": 1, "refit": "off" if step.values["refit"] == "off" else "layers"}


def few(calibration: Arrays) -> Arrays:
    """Return as many of the samples as a trial takes, from all over them."""
    count = len(next(iter(calibration.values())))
    return {name: array[:: -(-count // SAMPLES)] for name, array in calibration.items()}


def _out_of_reach(
    step: RecipeStep, budget: float, shares: dict[float, float | None], refused: list[UnsupportedError]
) -> UnsupportedError:
    measured = {macs: share for macs, share in shares.items() if share is not None}
    if not measured:
        return refused[-1]
    macs = min(measured, key=lambda one: measured[one])
    error = UnsupportedError(
        f"technique {step.text} is out of reach: the fastest of {len(measured)} trials leaves {measured[macs]:.1%} of"
        f" the time (macs={macs}), not {budget:.1%}"
    )
    if refused:
        error.add_note(str(refused[-1]))
    return error
