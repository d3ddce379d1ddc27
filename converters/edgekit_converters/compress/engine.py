"""Steps of a recipe carried out one after the other, each proved or judged, with what it did in a ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit_converters._exchange import write_arrays
from edgekit_converters.compress import engine_job, technique_for
from edgekit_converters.compress.base import Change, Effect, Figures, Left
from edgekit_converters.compress.steps import RecipeStep
from edgekit_converters.errors import CalibrationError
from edgekit_converters.events import Event, OnEvent
from edgekit_converters.jobs import JobRunner
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
        on_event: called before each step, and with the progress of long ones.

    Raises:
        CalibrationError: if a step needs data that is not there, or the data does not fit.
        ConverterMissingError: if a step needs a library that is not installed.
        ModelFileError: if the file is damaged.
        UnsupportedError: if a step names a layer that is not there or changes nothing, or an exact one was not.
    """
    check_data(steps, calibration=calibration is not None, labels=labels is not None)
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
    rim = begun["rim"]
    stages: list[Stage] = []
    for place, step in enumerate(steps):
        on_event(Event(stage="compress", detail=step.text, done=place, total=len(steps)))
        path = work / f"{model.stem}.{place + 1}.onnx"
        before = stages[-1].path if stages else plain
        answer = jobs.run(
            engine_job.__name__,
            {**asked, "source": str(plain), "model": str(before), "output": str(path), "step": place},
            on_event=on_event,
        )
        stages.append(
            Stage(
                step=step,
                path=path,
                effect=Effect(
                    changes=tuple(Change(**one) for one in answer["changes"]),
                    left=tuple(Left(**one) for one in answer["left"]),
                    figures=answer["figures"],
                ),
                before=answer["before"],
                after=answer["after"],
                seconds=answer["seconds"],
                exact=answer["exact"],
            )
        )
        rim = answer["rim"]
    return Compressed(before=plain, stages=tuple(stages), same_rim=rim == begun["rim"])


def check_data(steps: Sequence[RecipeStep], *, calibration: bool, labels: bool) -> None:
    """Refuse steps that need data which is not there.

    Raises:
        CalibrationError: naming the step.
    """
    there = {"calibration": calibration, "labels": labels}
    for step in steps:
        for need in sorted(technique_for(step.technique).needs(step.values) & there.keys()):
            if not there[need]:
                what = "calibration data: give --calib DATA" if need == "calibration" else "labels in the --calib data"
                raise CalibrationError(f"technique {step.text} needs {what}")
