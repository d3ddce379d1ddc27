"""ONNX artifacts: the float graph, and its forms in eight and four bits for the engines that read ONNX."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from edgekit_converters._exchange import specs_to_json
from edgekit_converters.backends import onnx_job
from edgekit_converters.backends.base import BuildRequest, Failure, Made, build_with
from edgekit_converters.backends.onnx_precisions import ONNX
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.frontends.base import Loaded
from edgekit_converters.jobs import JobRunner
from edgekit_converters.precisions import Precision, Precisions


class OnnxBackend:
    """Inputs and outputs keep the source's names, order, dtypes, and free dimensions."""

    format = "onnx"
    precisions: Precisions = ONNX
    quantized_io = True
    needs_tflite = False
    needs_onnx = True

    def calibrated(self, precision: Precision) -> bool:
        """Whether it needs calibration data."""
        return precision.name == "int8"

    def float_file(self, loaded: Loaded, work: Path) -> Path | None:  # noqa: ARG002  # the port's
        """Return the float graph the job leaves in the scratch folder."""
        return work / onnx_job.FLOAT

    def build(self, request: BuildRequest, jobs: JobRunner) -> Made:
        """Make an artifact a precision; one that fails does not lose the others."""
        source = request.loaded.source
        if request.loaded.onnx is None:
            error = UnsupportedError(f"the {source.format} model has no ONNX form")
            return tuple(Failure(format=self.format, precision=one.text, error=error) for one in request.precisions)
        if request.calibration is not None:
            request = replace(request, calibration=request.layout.to_artifact(request.calibration, source.inputs))
        turn = {rank: axes for rank in (4, 5) if (axes := request.layout.axes(rank))}
        common = {
            "model": str(request.loaded.onnx),
            "inputs": specs_to_json(source.inputs),
            "turn": {str(rank): list(axes) for rank, axes in turn.items()},
        }
        job = partial(jobs.run, onnx_job.__name__)
        return build_with(job, request, target=self.format, suffix=".onnx", common=common)
