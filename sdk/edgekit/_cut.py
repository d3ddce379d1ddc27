"""`edgekit.cut`: a model as a pipeline of stages that run in processes of their own."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekit._events import Event, OnEvent, ignore
from edgekit._report import SCHEMA, environment
from edgekit._staging import Staging
from edgekit_agent import pipeline_file
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import JobRunner, Json
from edgekit_converters.model import SourceModel

MOST_STAGES = pipeline_file.MAX_STAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class CutStage:
    """A stage: its file, its share of the model's work, and the bytes that go on from it for one sample."""

    file: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    work: int
    hands_over_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A model that was cut; `path` is the pipeline's file, which `bench`, `evaluate` and the agent take as a model."""

    path: Path
    stages: tuple[CutStage, ...]
    proved_on: int
    """Samples on which the stages gave what the whole model gives."""

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {
            "schema": SCHEMA,
            "environment": environment(),
            "path": str(self.path),
            "proved_on": self.proved_on,
            "stages": [asdict(one) for one in self.stages],
        }


def cut(  # noqa: PLR0913  # each has its own meaning and is named
    model: Path,
    stages: int,
    output: Path,
    *,
    runtime: str = "auto",
    seed: int = 0,
    on_event: OnEvent = ignore,
) -> Cut:
    """Cut a model where least has to be handed over, and write its stages and `NAME.pipeline` into a folder.

    Args:
        model: ONNX, PyTorch, Keras or SavedModel.
        stages: how many, at least 2; their work is as even as cheap cuts allow.
        output: the folder to write; the stages are ONNX files.
        runtime: what runs them, `onnxruntime`, `openvino` or `auto`; the file may be edited, a stage at a time.
        seed: of the samples on which the stages are proved to compute what the model does.
        on_event: called as stages of the work begin.

    Raises:
        ConversionError: if the model cannot be read or has no form as a graph, or cannot be cut into as many stages.
        EnvironmentMissingError: if the output folder cannot be written.
    """
    on_event(Event(stage="load", detail=model.name))
    with Staging(output) as stage, tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        jobs = JobRunner(log=Path(scratch, "run.log"))
        asked = LoadRequest(model=model, work=Path(scratch), through_onnx=True)
        loaded = frontend_for(model).load(asked, jobs)
        assert loaded.onnx is not None  # noqa: S101  # asked for
        on_event(Event(stage="cut", detail=f"{stages} stages"))
        name = model.stem or model.name
        request = {
            "model": str(loaded.onnx),
            "stages": stages,
            "folder": str(stage.path),
            "name": name,
            "work": scratch,
            "seed": seed,
        }
        answer = jobs.run("edgekit_converters.graph.cutting_job", request)
        path = stage.path / f"{name}.pipeline"
        path.write_text(json.dumps(_file(answer, loaded.source, runtime), indent=2) + "\n")
        pipeline_file.read(path)
        stage.commit()
    found = tuple(
        CutStage(**{**one, "takes": tuple(one["takes"]), "gives": tuple(one["gives"])}) for one in answer["stages"]
    )
    return Cut(path=output / path.name, stages=found, proved_on=answer["proved_on"])


def _file(answer: Json, source: SourceModel, runtime: str) -> dict[str, object]:
    """Return the pipeline's file, as `edgekit_agent.pipeline_file` describes it."""
    inputs = {one.name: one for one in source.inputs}
    return {
        "schema": pipeline_file.SCHEMA,
        "source": {"name": source.path.name, "sha256": source.sha256},
        "inputs": [
            {"name": name, "shape": [size or -1 for size in inputs[name].shape], "dtype": inputs[name].dtype}
            for name in answer["inputs"]
        ],
        "outputs": answer["outputs"],
        "stages": [{**one, "runtime": runtime, "device": "CPU"} for one in answer["stages"]],
    }
