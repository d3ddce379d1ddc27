"""The one loop all training goes through: quantized or not, in every framework."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgekit_converters.errors import TrainingError
from edgekit_converters.events import Event, OnEvent
from edgekit_converters.model import Arrays
from edgekit_converters.training import checkpoint, loader
from edgekit_converters.training.checkpoint import Checkpoint, Progress
from edgekit_converters.training.loader import Batches, Tree
from edgekit_converters.training.schedule import Schedule

Predict = Callable[[Tree], Tree]
"""The net as it is now, quantized if it is trained so: a batch of inputs to its outputs as NumPy arrays."""
Evaluate = Callable[[Predict], float]
"""The user's score of a net: higher is better."""

_WARM_UP_STEPS = 20
_EVENT_S = 1.0


class Trainee(Protocol):
    """A net in its framework, with its optimizer."""

    def seed(self, seed: int) -> None:
        """Set every generator the framework and a loader draw from."""

    def step(self, inputs: Tree, target: Tree, rate: float, *, frozen: bool) -> float:
        """Train on one batch and return its loss, which may be NaN."""

    def predict(self, inputs: Tree) -> Tree:
        """Run one batch as the converted net would; outputs are NumPy arrays."""

    def weights(self) -> Arrays:
        """Return copies of everything the net computes with, by name."""

    def set_weights(self, arrays: Arrays) -> None:
        """Take what `weights` returned."""

    def memory(self) -> Arrays:
        """Return copies of what else a step depends on: the optimizer's moments, generators."""

    def set_memory(self, arrays: Arrays) -> None:
        """Take what `memory` returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a training went.

    Attributes:
        losses: the mean loss of each epoch.
        scores: what `evaluate` gave before the first epoch and after each; empty without it.
        best_epoch: the epoch whose weights the model has, counted from 1; 0 are those it came with.
        stopped_early: whether patience ended it.
    """

    losses: tuple[float, ...]
    scores: tuple[float, ...]
    best_epoch: int
    stopped_early: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a net goes through: the user's data, and how."""

    train_data: Batches
    options: Schedule
    evaluate: Evaluate | None = None
    on_event: OnEvent = lambda _: None
    of: Mapping[str, object] = field(default_factory=dict)
    """What else must be the same when a training goes on from a checkpoint, as JSON values."""

    @property
    def made_with(self) -> dict[str, object]:
        """What must be the same when a training goes on from a checkpoint."""
        fixed = ("epochs", "learning_rate", "clip_norm", "freeze_after", "patience", "seed")
        return {**self.of, **{name: getattr(self.options, name) for name in fixed}}


def run(trainee: Trainee, plan: Plan) -> Course:
    """Train, and leave the net with the weights of its best epoch; without a score, of the last.

    Raises:
        TrainingError: if a batch is none, there is none in an epoch, or a loss or score is not a number.
        CheckpointError: if the checkpoint cannot be written.
    """
    return _Loop(trainee, plan).run()


class _Loop:
    def __init__(self, trainee: Trainee, plan: Plan) -> None:
        self._trainee = trainee
        self._plan = plan
        self._options = plan.options
        self._progress = Progress(length=loader.length(plan.train_data))
        self._best: Arrays = {}
        self._saved_at = self._told_at = time.monotonic()

    def run(self) -> Course:
        self._begin()
        progress, options = self._progress, self._options
        while progress.epoch < options.epochs and not self._lost_patience:
            self._epoch()
        if self._plan.evaluate is not None:
            self._trainee.set_weights(self._best)
        return Course(
            losses=tuple(progress.losses),
            scores=tuple(progress.scores),
            best_epoch=progress.best_epoch,
            stopped_early=progress.epoch < options.epochs,
        )

    @property
    def _lost_patience(self) -> bool:
        patience, progress = self._options.patience, self._progress
        return bool(patience and progress.scores and progress.epoch - progress.best_epoch >= patience)

    def _begin(self) -> None:
        """Go on from the checkpoint, or score the net as it is."""
        file = self._options.checkpoint
        if file is not None and file.exists():
            like = {**self._trainee.weights(), **self._trainee.memory()}
            found = checkpoint.load(file, self._plan.made_with, like)
            self._progress, self._best = found.progress, found.best
            self._trainee.set_weights(found.state)
            self._trainee.set_memory(found.state)
            self._tell(f"going on from '{file}'")
        else:
            self._score()
            self._save()

    def _epoch(self) -> None:
        """Train one epoch; batches done before a kill are passed over, which leaves a seeded loader where it was."""
        progress = self._progress
        memory = self._trainee.memory() if progress.batch else None
        self._trainee.seed((self._options.seed + 7919 * progress.epoch) % 2**31)
        for number, (inputs, target) in enumerate(loader.batches(self._plan.train_data, progress.epoch)):
            if number < progress.batch:
                continue
            if memory is not None:
                self._trainee.set_memory(memory)
                memory = None
            self._step(number, inputs, target)
        progress.length = progress.batch
        progress.losses.append(progress.loss / progress.batch)
        progress.epoch, progress.batch, progress.loss = progress.epoch + 1, 0, 0.0
        self._score()
        self._save()
        score = f", score {progress.scores[-1]:.4f}" if self._plan.evaluate is not None else ""
        self._tell(f"epoch {progress.epoch} of {self._options.epochs}: loss {progress.losses[-1]:.4f}{score}")

    def _step(self, number: int, inputs: Tree, target: Tree) -> None:
        progress, options = self._progress, self._options
        done = progress.epoch + (min(number / progress.length, 1.0) if progress.length else 0.0)
        share = done / options.epochs
        rise = min(1.0, (progress.step + 1) / _WARM_UP_STEPS)
        rate = options.learning_rate * rise * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        loss = self._trainee.step(inputs, target, rate, frozen=share >= options.freeze_after)
        if not math.isfinite(loss):
            error = TrainingError(f"the loss is {loss} in batch {number + 1} of epoch {progress.epoch + 1}")
            error.add_note("look for NaN in the data, or take a lower learning rate")
            raise error
        progress.batch, progress.step, progress.loss = number + 1, progress.step + 1, progress.loss + loss
        now = time.monotonic()
        if now - self._saved_at >= options.checkpoint_every_s:
            self._save()
        if now - self._told_at >= _EVENT_S:
            of = f" of {progress.length}" if progress.length else ""
            self._tell(f"epoch {progress.epoch + 1} of {options.epochs}: batch {number + 1}{of}, loss {loss:.4f}")

    def _score(self) -> None:
        """Score the net after an epoch and remember it when it is the best: the earliest of equals."""
        if self._plan.evaluate is None:
            self._progress.best_epoch = self._progress.epoch
            return
        score = float(self._plan.evaluate(self._trainee.predict))
        if not math.isfinite(score):
            raise TrainingError(f"the score is {score} after epoch {self._progress.epoch}")
        scores = self._progress.scores
        if not scores or score > max(scores):
            self._best, self._progress.best_epoch = self._trainee.weights(), self._progress.epoch
        scores.append(score)

    def _save(self) -> None:
        if self._options.checkpoint is not None:
            state = {**self._trainee.weights(), **self._trainee.memory()}
            now = Checkpoint(progress=self._progress, state=state, best=self._best)
            checkpoint.save(self._options.checkpoint, self._plan.made_with, now)
        self._saved_at = time.monotonic()

    def _tell(self, detail: str) -> None:
        self._told_at = time.monotonic()
        self._plan.on_event(Event(stage="train", detail=detail, done=self._progress.epoch, total=self._options.epochs))
