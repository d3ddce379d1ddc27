"""`package.module:factory`: a function of the user's that returns a model; called in a child process."""

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.frontends import by_onnx, tensorflow, torch
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.jobs import JobRunner


class FactoryFrontend:
    """A PyTorch module, a Keras model or a JAX function, with example inputs; its module is imported and run."""

    format = "factory"
    takes_constants = False

    def load(self, request: LoadRequest, jobs: JobRunner) -> Loaded:
        """Call the factory, describe what it returns, and make what was asked.

        Raises:
            ModelFileError: if the module or the factory is not there, or it raises.
            UnsupportedError: if it returns no model that is known, or an op cannot be had.
            CalibrationError: if the reference inputs do not fit.
            ConverterMissingError: if a library is not installed.
        """
        stem = str(request.model).rpartition(":")[2]
        asked = tensorflow.tensorflow_request(request, stem)
        environment = {**torch.ENVIRONMENT, **tensorflow.tensorflow_environment(request)}
        answer = jobs.run("edgekit_converters.frontends.factory_job", asked, environment)
        if answer["format"] == "pytorch":
            return by_onnx.go_on(answer, request, jobs, channels_first=True)
        if answer["format"] == "jax":
            if request.through_onnx:
                raise UnsupportedError("a JAX function has no way to ONNX: it reaches TFLite through StableHLO")
            jobs.run("edgekit_converters.frontends.stablehlo_job", answer["stablehlo"])
        return tensorflow.go_on(answer, request, jobs)
