"""Steps of a recipe carried out one after the other, each proved or judged, with what it did in a ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgekit_converters._exchange import read_arrays, write_arrays
from edgekit_converters.compress import engine_job, latency, technique_for
from edgekit_converters.compress.base import Change, Effect, Figures, Left
from edgekit_converters.compress.latency import Timed
from edgekit_converters.compress.steps import RecipeStep
from edgekit_converters.errors import CalibrationError, UnsupportedError
from edgekit_converters.events import Event, OnEvent
from edgekit_converters.jobs import JobRunner, Json
from edgekit_converters.model import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step that was carried out: the model behind it, and what is known of the one before and of this one."""

    step: RecipeStep
    path: Path
    """The ONNX file behind the step, in the source's input and output names."""
    effect: Effect
    before: Figures
    after: Figures
    seconds: float
    exact: bool
    """Whether its outputs were proved to be those from before the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """The stages of a recipe in order; `path` is the last one's file, `before` the plain model's."""

    before: Path
    stages: tuple[Stage, ...]
    same_rim: bool
    """Whether inputs and outputs are those of the source: data of the source then fits."""

    @property
    def path(self) -> Path:
        """The compressed model."""
        return self.stages[-1].path


def compress(  # noqa: PLR0913  # a recipe and what it works with
    model: Path,
    steps: Sequence[RecipeStep],
    jobs: JobRunner,
    work: Path,
    *,
    calibration: Arrays | None = None,
    labels: Arrays | None = None,
    targets: Sequence[str] = (),
    seed: int = 0,
    kept: Path | None = None,
    timed: Timed | None = None,
    on_event: OnEvent = lambda _: None,
) -> Compressed:
    """Carry out the steps on an ONNX file; nothing is begun where one of them cannot be done.

    Args:
        model: the canonical graph, as `Loaded.onnx`.
        steps: at least one.
        jobs: where it is done, a process a step.
        work: an existing scratch folder; the files are written there.
        calibration: samples that fit the model's inputs.
        labels: labels of those samples.
        targets: the formats the model is for.
        seed: of whatever is random.
        kept: a folder that outlives the run: a training that was killed goes on from what lies there.
        timed: measures what a step with a budget of time left of the time.
        on_event: called before each step, and with the progress of long ones.

    Raises:
        CalibrationError: if a step needs data that is not there, or the data does not fit.
        ConversionError: if a model cannot be timed.
        ConverterMissingError: if a step needs a library that is not installed.
        ModelFileError: if the file is damaged.
        UnsupportedError: if a step names a layer that is not there or changes nothing, or an exact one was not; if its
            budget of time is out of reach, or nothing measures.
    """
    check_data(
        steps,
        calibration=calibration is not None,
        labels=labels is not None,
        measuring=timed is not None,
    )
    asked = {
        "steps": [one.text for one in steps],
        "source": str(model),
        "work": str(work),
        "calibration": write_arrays(work / "samples.npz", calibration) if calibration else None,
        "labels": write_arrays(work / "labels.npz", labels) if labels else None,
        "targets": list(targets),
        "seed": seed,
        "kept": str(kept) if kept else None,
    }
    plain = work / f"{model.stem}.plain.onnx"
    begun = jobs.run(engine_job.__name__, {**asked, "model": str(model), "output": str(plain), "step": None})
    run = _Run(jobs=jobs, asked={**asked, "source": str(plain)}, timed=timed, on_event=on_event)
    rim = begun["rim"]
    stages: list[Stage] = []
    for place, step in enumerate(steps):
        on_event(Event(stage="compress", detail=step.text, done=place, total=len(steps)))
        path = work / f"{model.stem}.{place + 1}.onnx"
        made, rim = run.stage(step, place, stages[-1].path if stages else plain, path)
        stages.append(made)
    return Compressed(before=plain, stages=tuple(stages), same_rim=rim == begun["rim"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What carries the steps out; `asked` is what all jobs are asked."""

    jobs: JobRunner
    asked: Json
    timed: Timed | None
    on_event: OnEvent

    def stage(self, step: RecipeStep, place: int, before: Path, path: Path) -> tuple[Stage, Json]:
        """Carry a step out, and return it with the inputs and outputs behind it."""
        timed, chosen = self.timed, None
        if timed and latency.NEED in _needs(step):
            chosen = self._within_time(step, place, before, timed)
            step = chosen.step
        answer = self._carry_out(step, place, before, path)
        effect = Effect(
            changes=tuple(Change(**one) for one in answer["changes"]),
            left=tuple(Left(**one) for one in answer["left"]),
            figures=answer["figures"],
        )
        if timed and chosen and effect.changes:
            effect = chosen.told(effect, timed(before, path))
        made = Stage(
            step=step,
            path=path,
            effect=effect,
            before=answer["before"],
            after=answer["after"],
            seconds=answer["seconds"],
            exact=answer["exact"],
        )
        return made, answer["rim"]

    def _carry_out(self, step: RecipeStep, place: int, before: Path, path: Path, **other: Json) -> Json:
        texts = [*self.asked["steps"]]
        texts[place] = step.text
        asked = {**self.asked, "steps": texts, "model": str(before), "output": str(path), "step": place, **other}
        return self.jobs.run(engine_job.__name__, asked, on_event=self.on_event)

    def _within_time(self, step: RecipeStep, place: int, before: Path, timed: Timed) -> latency.Chosen:
        """Return a step with a budget of time as one that keeps to it."""
        work = Path(self.asked["work"], f"trials-{place}")
        work.mkdir()
        given = self.asked["calibration"]
        calibration = write_arrays(work / "samples.npz", latency.few(read_arrays(given))) if given else None

        def carry_out(trial: RecipeStep) -> Path:
            path = work / f"{trial.values['macs']}.onnx"
            answer = self._carry_out(trial, place, before, path, work=str(work), calibration=calibration)
            if not answer["changes"]:
                raise UnsupportedError(answer["left"][0]["why"])  # an optional step
            return path

        def tell(what: str) -> None:
            self.on_event(Event(stage="compress", detail=what, done=place, total=len(self.asked["steps"])))

        return latency.choose(step, carry_out, partial(timed, before), tell)


def _needs(step: RecipeStep) -> frozenset[str]:
    return technique_for(step.technique).needs(step.values)


def check_data(steps: Sequence[RecipeStep], *, calibration: bool, labels: bool, measuring: bool) -> None:
    """Refuse steps that need data which is not there, or measuring where nothing measures.

    Raises:
        CalibrationError: naming the step.
        UnsupportedError: naming the step.
    """
    there = {
        "calibration": (calibration, CalibrationError, "calibration data: give --calib DATA"),
        "labels": (labels, CalibrationError, "labels in the --calib data"),
        latency.NEED: (measuring, UnsupportedError, "latency to be measured: leave --no-bench out"),
    }
    for step in steps:
        for need in sorted(_needs(step) & there.keys()):
            has, kind, what = there[need]
            if not has:
                raise kind(f"technique {step.text} needs {what}")
