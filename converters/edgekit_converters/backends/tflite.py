"""TFLite artifacts by ai-edge-quantizer."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from edgekit_converters.backends import tflite_job
from edgekit_converters.backends.base import BuildRequest, Failure, Made, build_with
from edgekit_converters.backends.tflite_recipes import STATIC, TFLITE
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.frontends.base import Loaded
from edgekit_converters.jobs import JobRunner
from edgekit_converters.precisions import Precision, Precisions


class TFLiteBackend:
    """fp32 is the float file itself; inputs and outputs keep the source's dtypes in every precision."""

    format = "tflite"
    precisions: Precisions = TFLITE
    quantized_io = True
    needs_tflite = True
    needs_onnx = False

    def calibrated(self, precision: Precision) -> bool:
        """Whether it needs calibration data."""
        return precision.name in STATIC

    def float_file(self, loaded: Loaded, work: Path) -> Path | None:  # noqa: ARG002  # the port's
        """Return the float TFLite itself."""
        return loaded.float_tflite

    def build(self, request: BuildRequest, jobs: JobRunner) -> Made:
        """Make an artifact a precision; one that fails does not lose the others."""
        if request.loaded.float_tflite is None:
            error = UnsupportedError("the model has no float TFLite form")
            return tuple(Failure(format=self.format, precision=one.text, error=error) for one in request.precisions)
        if request.calibration is not None:  # the float file lies as it was asked for already
            turned = request.layout.to_artifact(request.calibration, request.loaded.source.inputs)
            request = replace(request, calibration=turned)
        common = {"model": str(request.loaded.float_tflite)}
        copied = [one.text for one in request.precisions] == ["fp32"]  # nothing heavy in it, no process of its own
        job = tflite_job.run if copied else partial(jobs.run, tflite_job.__name__)
        return build_with(job, request, target=self.format, suffix=".tflite", common=common)
