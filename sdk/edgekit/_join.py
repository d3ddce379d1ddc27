"""`edgekit.join`: two models as one."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekit._events import Event, OnEvent, ignore
from edgekit._report import SCHEMA
from edgekit_converters import stem_of
from edgekit_converters._exchange import specs_from_json
from edgekit_converters.compress import joining_job
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """An ONNX file that computes what two models do, and how they hang together in it."""

    path: Path
    first: str
    second: str
    chain: Mapping[str, str]
    """Outputs of the first model by the second's inputs that take them."""
    share: Mapping[str, str]
    """Inputs of the first model by the second's inputs that are the same."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    figures: Mapping[str, int] = field(default_factory=dict)
    """`parameters`, `macs` of one sample, `bytes`, `nodes`."""

    def to_json(self) -> dict[str, Any]:
        """Return the document of schema 1."""
        return {"schema": SCHEMA, **asdict(self), "path": str(self.path)}


def join(  # noqa: PLR0913  # two models and how they hang together
    first: Path,
    second: Path,
    output: Path,
    *,
    chain: Mapping[str, str] | None = None,
    share: Mapping[str, str] | None = None,
    on_event: OnEvent = ignore,
) -> Joined:
    """Make one ONNX model of two: run one after the other, or both on the same input.

    With neither `chain` nor `share` outputs of the first go into inputs of the second of the same names, or the only
    output into the only input. Names of the second that the first has too get the second's file name before them. The
    older model is brought to the newer one's opset. The result is run against the two on random samples.

    Args:
        first: any model edgekit reads that has an ONNX form.
        second: likewise.
        output: the ONNX file to write.
        chain: inputs of the second by the outputs of the first that go into them: `{"logits": "scores"}`.
        share: inputs of the second by the inputs of the first that are the same: `{"image": "image"}`.
        on_event: told what is going on.

    Raises:
        ModelFileError: if a model is damaged.
        UnsupportedError: if a model has no ONNX form, an input or output is not there or does not fit, or the opsets
            cannot be made the same.
        ConverterMissingError: if a format's library is not installed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the result, so that it is renamed and not copied.
    with tempfile.TemporaryDirectory(prefix=".edgekit-", dir=output.parent) as scratch:
        work = Path(scratch)
        jobs = JobRunner(log=work / "run.log")
        sides = {}
        for side, model in (("first", first), ("second", second)):
            on_event(Event(stage="load", detail=str(model)))
            (work / side).mkdir()
            sides[side] = str(_as_onnx(model, jobs, work / side))
        on_event(Event(stage="join", detail=output.name))
        (work / "made").mkdir()
        answer = jobs.run(
            joining_job.__name__,
            {
                **sides,
                "output": str(work / "made" / output.name),
                "work": str(work),
                "chain": {into: name for name, into in (chain or {}).items()},
                "share": {into: name for name, into in (share or {}).items()},
                "prefix": stem_of(second),
            },
        )
        for file in sorted((work / "made").iterdir(), reverse=True):
            os.replace(file, output.parent / file.name)  # noqa: PTH105  # the weights, then the graph
    return Joined(
        path=output,
        first=str(first),
        second=str(second),
        chain=answer["chain"],
        share=answer["share"],
        inputs=specs_from_json(answer["inputs"]),
        outputs=specs_from_json(answer["outputs"]),
        figures={key: answer[key] for key in ("parameters", "macs", "bytes", "nodes")},
    )


def _as_onnx(model: Path, jobs: JobRunner, work: Path) -> Path:
    loaded = frontend_for(model).load(LoadRequest(model=model, work=work, through_onnx=True), jobs)
    if loaded.onnx is None:
        raise UnsupportedError(f"model '{model}' has no ONNX form, and models are joined as ONNX")
    return loaded.onnx
