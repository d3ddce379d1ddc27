"""OpenVINO IR artifacts: `.xml` with its `.bin`."""

from functools import partial
from pathlib import Path

from edgekit_converters._exchange import specs_to_json
from edgekit_converters.backends import openvino_job
from edgekit_converters.backends.base import BuildRequest, Made, build_with
from edgekit_converters.backends.openvino_precisions import OPENVINO, calibrated
from edgekit_converters.frontends.base import Loaded
from edgekit_converters.jobs import JobRunner
from edgekit_converters.precisions import Precision, Precisions

_NAMES = {True: "nchw", False: "nhwc"}


class OpenVINOBackend:
    """Inputs and outputs keep the source's names, order, dtypes, and free dimensions."""

    format = "openvino"
    precisions: Precisions = OPENVINO
    quantized_io = False
    needs_tflite = False
    needs_onnx = False

    def calibrated(self, precision: Precision) -> bool:
        """Whether it needs calibration data."""
        return calibrated(precision)

    def float_file(self, loaded: Loaded, work: Path) -> Path | None:  # noqa: ARG002  # the port's
        """Return the float IR the job leaves in the scratch folder."""
        return work / openvino_job.FLOAT

    def build(self, request: BuildRequest, jobs: JobRunner) -> Made:
        """Make an artifact a precision; one that fails does not lose the others."""
        source = request.loaded.source
        common = {
            "model": str(request.loaded.openvino_input),
            "inputs": specs_to_json(source.inputs),
            "outputs": specs_to_json(source.outputs),
            "turn": [_NAMES[first] for first in (request.layout.channels_first, not request.layout.channels_first)]
            if request.layout.turns
            else None,
        }
        job = partial(jobs.run, openvino_job.__name__)
        return build_with(job, request, target=self.format, suffix=".xml", common=common)
