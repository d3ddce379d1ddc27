"""PyTorch files: exported to ONNX in a child process, and from there the way of every ONNX model."""

from edgekit_converters.frontends import by_onnx
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.jobs import JobRunner

# PyTorch's own switch: whatever a file asks for, tensors are all that is unpickled.
ENVIRONMENT = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}


class _TorchFrontend:
    format = ""
    takes_constants = False

    def load(self, request: LoadRequest, jobs: JobRunner) -> Loaded:
        """Describe the model, run the reference inputs by PyTorch, and make what was asked from its ONNX form.

        Raises:
            ModelFileError: if it is damaged.
            UnsupportedError: if it holds more than computation, a shape is missing, or an op cannot be had.
            CalibrationError: if the reference inputs do not fit.
            ConverterMissingError: if PyTorch is not installed.
        """
        asked = {**by_onnx.export_request(request, request.model.stem), "kind": self.format}
        answer = jobs.run("edgekit_converters.frontends.torch_job", asked, ENVIRONMENT)
        return by_onnx.go_on(answer, request, jobs, channels_first=True)


class ExportedProgramFrontend(_TorchFrontend):
    """`.pt2` files of `torch.export.save`: free dimensions stay free."""

    format = "pytorch-exported"


class TorchScriptFrontend(_TorchFrontend):
    """TorchScript archives (`.pt`, `.jit`): they hold no shapes, so each input needs one given."""

    format = "torchscript"
