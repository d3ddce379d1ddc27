"""Whether a new release may stay, by what it and the one that serves did in the same time. Pure: no I/O, no clock."""

from dataclasses import dataclass

from edgekit_agent.config import UpdateConfig
from edgekit_agent.crew import Tally
from edgekit_agent.protocol import Reason

MORE_ERRORS = 0.02
"""By how much the share of failed inferences may be above that of the release that serves: chance, in few of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The end of a trial: `reason` is None where the new release may stay."""

    reason: Reason | None
    detail: dict[str, object]


def verdict(old: Tally | None, new: Tally, elapsed_s: float, config: UpdateConfig) -> Verdict | None:
    """Judge a trial; None while it has to go on.

    Args:
        old: what the release that serves has done since all workers of the new one are ready; None where none serves.
        new: what the new one has done since then.
        elapsed_s: how long that is.
        config: how long a trial takes, and how many inferences it needs.
    """
    if elapsed_s < config.trial_s:
        return None
    detail: dict[str, object] = {
        "inferences": new.inferences,
        "errors": new.errors,
        "crashes": new.crashes,
        "trial_s": round(elapsed_s, 1),
    }
    before = old or Tally()
    if new.crashes > before.crashes:
        return Verdict(reason=Reason.TRIAL_CRASHES, detail=detail)
    done = new.inferences + new.errors
    if done < config.trial_inferences:
        if elapsed_s < config.trial_limit_s / 2:
            return None
        if before.inferences >= config.trial_inferences:
            return Verdict(reason=Reason.TRIAL_QUIET, detail=detail)
        # nobody asked either of them: the golden vectors have to do
    if _share(new) > _share(before) + MORE_ERRORS:
        return Verdict(reason=Reason.TRIAL_ERRORS, detail=detail)
    return Verdict(reason=None, detail=detail)


def since(before: Tally, now: Tally) -> Tally:
    """Return what was done between two moments."""
    return Tally(
        inferences=now.inferences - before.inferences,
        errors=now.errors - before.errors,
        crashes=now.crashes - before.crashes,
    )


def _share(tally: Tally) -> float:
    """Return the share of failed inferences; `inferences` are those that succeeded."""
    return tally.errors / max(1, tally.inferences + tally.errors)
