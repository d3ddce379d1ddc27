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
from edgekit._search import Budget, search
from edgekit.errors import DataError
from edgekit_converters.backends import backend_for
from edgekit_converters.errors import ConversionError
from edgekit_converters.model import Artifact, Step
from edgekit_converters.precisions import parse

# Options to try before layers are left in float, as far as the precision has them and the user did not say: of each
# group the one that loses least, on top of the best of the groups before.
VARIANTS = (
    ({"ranges": "mse"}, {"ranges": "percentile"}, {"bias": "off"}),
    ({"equalize": "on"}, {"correct": "on"}, {"equalize": "on", "correct": "on"}),
    ({"fit": "mse"}, {"scales": "on"}),
)


RANK_S = 60.0
"""Seconds to follow layers to the outputs, to rank them."""
WORTH = 0.95
"""A file that is larger than this share of the float one is no quantized model any more."""


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
        return self._leave_in_float(attempt, best)

    def _leave_in_float(self, attempt: "_Attempts", best: Trial) -> Passed:
        if self.over:
            return attempt.result(best, "budget")
        made = attempt.artifact_of(best)
        self.on_event(Event(stage="gate", detail=f"{made.format} {made.precision}: ranking layers"))
        try:
            found = damages(self.judge.result, made, self.judge.jobs, self.work, RANK_S)
        except ConversionError:
            return attempt.result(best, "exhausted")
        units = [one.unit for one in found if one.unit.layers and one.unit.damage > 0]
        outcome = search(
            units,
            lambda layers, why: attempt.make(best.precision, layers, why).passed,
            Budget(seconds=self._left),
        )
        if outcome.layers is None:
            return attempt.result(best, outcome.ended)
        return attempt.result(attempt.trial_of(best.precision, outcome.layers), outcome.ended)

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
        trial = replace(trial, passed=trial.drop is not None and self._gate.judge.allows(trial.drop))
        self.trials.append(trial)
        self._gate.on_event(Event(stage="gate", detail=f"{target} {precision}: {_said(trial)}", done=len(self.trials)))
        return trial

    def result(self, trial: Trial, ended: str) -> Passed:
        """Return a trial as the artifact to keep, in the place and under the precision of the one asked for."""
        search = Search(trials=tuple(self.trials), seconds=time.monotonic() - self._begin, ended=ended)
        if trial.precision == self._artifact.precision and not trial.float_layers:
            return Passed(artifact=self._artifact, search=search)
        made = self.artifact_of(trial)
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

    def artifact_of(self, trial: Trial) -> Artifact:
        """Return the file of a trial; it is made anew where only its figures are kept."""
        return self._made(trial.precision, trial.float_layers)

    def trial_of(self, precision: str, layers: Sequence[str]) -> Trial:
        """Return the trial with these layers in float."""
        wanted = set(layers)
        return next(one for one in self.trials if one.precision == precision and set(one.float_layers) == wanted)

    def _made(self, precision: str, layers: Sequence[str]) -> Artifact:
        if precision == self._artifact.precision and not layers:
            return self._artifact
        workshop = self._gate.judge.result.workshop
        return workshop.again(self._artifact.format, precision, layers, self._gate.work / "trial")

    def _hardly_smaller(self, made: Artifact) -> bool:
        """Whether layers in float made it as large as the float model; one that is small anyhow always was."""
        file = self._gate.judge.result.workshop.float_file(self._artifact.format)
        largest = WORTH * replace(self._artifact, path=file).size_bytes
        return self._artifact.size_bytes <= largest < made.size_bytes

    def _tried(self, precision: str, layers: tuple[str, ...], why: str) -> Trial:
        begin = time.monotonic()
        score = drop = size = None
        try:
            made = self._made(precision, layers)
            size = made.size_bytes
            got = self._gate.judge.run([made])[made.format, made.precision]
            if self._hardly_smaller(made):
                why = f"{why}: hardly smaller than float"
            elif got.outputs:
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
            why=why,
        )


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
