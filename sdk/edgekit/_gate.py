"""The accuracy gate: an artifact that loses too much is made again, better, until it passes or nothing is left to try.

First other ways to quantize all of it, then the search for the few layers to leave in float.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit._events import Event, OnEvent
from edgekit._judge import Judge
from edgekit._layers import damages
from edgekit._ledger import Ledger
from edgekit._report import Search, Trial
from edgekit._search import Budget, Outcome, Verdict, search
from edgekit.errors import DataError
from edgekit_converters.backends import backend_for
from edgekit_converters.errors import ConversionError
from edgekit_converters.model import Artifact, Step
from edgekit_converters.precisions import parse

UNCORRECTED = {"bias": "off"}
# Options to try before layers are left in float, as far as the precision has them and the user did not say: of each
# group the one that loses least, on top of the best of the groups before.
VARIANTS = (
    ({"preset": "mixed"},),
    ({"ranges": "mse"}, {"ranges": "percentile"}),
    (UNCORRECTED,),
    ({"equalize": "on"}, {"correct": "on"}, {"equalize": "on", "correct": "on"}),
    ({"fit": "mse"}, {"scales": "on"}),
)

RANK_S = 60.0
"""Seconds to follow layers to the outputs, to rank them."""
WORTH = 0.95
"""A model whose weights take more than this share of float's is no quantized model any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What came of an artifact: the one to keep, and how it was found."""

    artifact: Artifact
    search: Search
    found: frozenset[str] = frozenset()
    """Layers left in float by the search and not by the user, as the artifact names them."""


@dataclass(slots=True, kw_only=True)
class Gate:
    """Tries to get artifacts through the gate of `judge`; `seconds` are shared by all of them."""

    judge: Judge
    ledger: Ledger
    seconds: float | None
    work: Path
    on_event: OnEvent
    _begin: float = field(default_factory=time.monotonic)

    def through(self, artifact: Artifact) -> Passed:
        """Return the artifact, or one made in its place that passes."""
        attempt = _Attempts(gate=self, artifact=artifact)
        first = attempt.make(artifact.precision, (), "as asked for")
        if first.passed or not self._worth_it(artifact):
            return attempt.result(first, "found")
        best = first
        for group in VARIANTS:
            for precision in _variants(artifact, best.precision, group):
                if self.over:
                    break
                trial = attempt.make(precision, (), "quantized another way")
                if trial.passed:
                    return attempt.result(trial, "found")
                best = min(best, trial, key=_loss)
        # The best with all layers quantized may lose more than others once the worst are in float: cut ranges then only
        # cut, and biases are corrected for errors that are no longer there.
        budget, ended = Budget(seconds=self._left), "budget"
        uncorrected = _variants(artifact, artifact.precision, [UNCORRECTED])
        for base in dict.fromkeys((best.precision, artifact.precision, *uncorrected)):
            outcome = self._leave_in_float(attempt, base, budget)
            ended = outcome.ended
            if outcome.layers is not None:
                return attempt.result(attempt.trial_of(base, outcome.layers), ended)
        return attempt.result(best, ended)

    def _leave_in_float(self, attempt: "_Attempts", precision: str, budget: Budget) -> Outcome:
        if budget.over:
            return Outcome(layers=None, ended=budget.ended)
        made = attempt.artifact_of(precision, ())
        self.on_event(Event(stage="gate", detail=f"{made.format} {made.precision}: ranking layers"))
        try:
            found = damages(self.judge.result, made, self.judge.jobs, self.work, RANK_S)
        except ConversionError:
            return Outcome(layers=None, ended="exhausted")
        units = [one.unit for one in found if one.unit.layers and one.unit.damage > 0]
        return search(units, lambda layers, why: _verdict(attempt.make(precision, layers, why)), budget)

    def _worth_it(self, artifact: Artifact) -> bool:
        """Of what `auto` tries, only full int8 is worth a search: the others lose in the weights, or nothing."""
        return not self.judge.options.auto or artifact.precision == "int8"

    @property
    def _left(self) -> float | None:
        return None if self.seconds is None else max(0.0, self.seconds - (time.monotonic() - self._begin))

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self._left == 0.0


class _Attempts:
    """The trials of one artifact."""

    def __init__(self, *, gate: Gate, artifact: Artifact) -> None:
        self._gate, self._artifact = gate, artifact
        self._begin = time.monotonic()
        self.trials: list[Trial] = []

    def make(self, precision: str, layers: Sequence[str], why: str) -> Trial:
        """Make one, score it, and keep what came of it."""
        target = self._artifact.format
        trial = self._gate.ledger.get(target, precision, layers)
        if trial is None:
            trial = self._tried(precision, tuple(layers), why)
            self._gate.ledger.add(target, trial)
        passed = trial.drop is not None and not trial.too_much and self._gate.judge.allows(trial.drop)
        trial = replace(trial, passed=passed)
        self.trials.append(trial)
        self._gate.on_event(Event(stage="gate", detail=f"{target} {precision}: {_said(trial)}", done=len(self.trials)))
        return trial

    def result(self, trial: Trial, ended: str) -> Passed:
        """Return a trial as the artifact to keep, in the place and under the precision of the one asked for."""
        search = Search(trials=tuple(self.trials), seconds=time.monotonic() - self._begin, ended=ended)
        if trial.precision == self._artifact.precision and not trial.float_layers:
            return Passed(artifact=self._artifact, search=search)
        made = self.artifact_of(trial.precision, trial.float_layers)
        for old, new in zip(self._artifact.files, made.files, strict=True):
            new.replace(old)
        step = Step(
            name="accuracy gate",
            before={"precision": self._artifact.precision, "drop": self.trials[0].drop},
            after={"precision": trial.precision, "drop": trial.drop, "float layers": len(trial.float_layers)},
        )
        kept = replace(
            made,
            path=self._artifact.path,
            precision=self._artifact.precision,
            made_as=trial.precision,
            steps=(*made.steps, step),
        )
        found = frozenset(kept.float_layers).difference(self._artifact.float_layers)
        return Passed(artifact=kept, search=search, found=found)

    def trial_of(self, precision: str, layers: Sequence[str]) -> Trial:
        """Return the trial with these layers in float."""
        wanted = set(layers)
        return next(one for one in self.trials if one.precision == precision and set(one.float_layers) == wanted)

    def artifact_of(self, precision: str, layers: Sequence[str]) -> Artifact:
        """Return the file of a trial, or one nobody scores; only the one asked for is not made anew."""
        if precision == self._artifact.precision and not layers:
            return self._artifact
        workshop = self._gate.judge.result.workshop
        return workshop.again(self._artifact.format, precision, layers, self._gate.work / "trial")

    def _too_much(self, made: Artifact) -> bool:
        """Whether layers in float made its weights as large as float's; a precision that stores them so always was."""
        asked, got, floats = self._artifact.weights_bytes, made.weights_bytes, made.float_weights_bytes
        return asked is not None and got is not None and floats is not None and asked <= WORTH * floats < got

    def _tried(self, precision: str, layers: tuple[str, ...], why: str) -> Trial:
        begin = time.monotonic()
        score = drop = size = None
        too_much = False
        try:
            made = self.artifact_of(precision, layers)
            size = made.size_bytes
            got = self._gate.judge.run([made])[made.format, made.precision]
            too_much = self._too_much(made)
            if got.outputs:
                score, drop = self._gate.judge.drop(got.outputs)
        except (ConversionError, DataError) as exc:
            why = f"{why}: {exc}"
        return Trial(
            precision=precision,
            float_layers=layers,
            score=score,
            drop=drop,
            size_bytes=size,
            seconds=time.monotonic() - begin,
            passed=False,
            why=f"{why}: hardly smaller than float" if too_much else why,
            too_much=too_much,
        )


def _verdict(trial: Trial) -> Verdict:
    if trial.too_much:
        return Verdict.TOO_MUCH
    return Verdict.PASSES if trial.passed else Verdict.LOSES


def _said(trial: Trial) -> str:
    floats = f", {len(trial.float_layers)} layers in float" if trial.float_layers else ""
    return f"drop {'unknown' if trial.drop is None else format(trial.drop, '+.4f')}{floats}"


def _loss(trial: Trial) -> float:
    return math.inf if trial.drop is None or math.isnan(trial.drop) else trial.drop


def _variants(artifact: Artifact, best: str, group: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the best precision so far with the options of a group, where it has them and the user did not say them."""
    table = backend_for(artifact.format).precisions
    name, _, said = parse(artifact.precision, artifact.format, table).text.partition(":")
    asked_for = {part.partition("=")[0] for part in said.split(",")}
    found = []
    for options in group:
        if set(options) <= set(table[name]) and not asked_for.intersection(options):
            joined = ",".join(f"{key}={value}" for key, value in options.items())
            found.append(parse(f"{best},{joined}" if ":" in best else f"{best}:{joined}", artifact.format, table).text)
    return found
