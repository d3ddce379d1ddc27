"""Keras files (2 and 3) and SavedModels: one child process with TensorFlow does everything."""

from collections.abc import Mapping

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays, specs_from_json
from edgekit_converters.frontends import by_onnx
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.files import fingerprint
from edgekit_converters.jobs import JobRunner, Json
from edgekit_converters.model import SourceModel, Step


def tensorflow_request(request: LoadRequest, stem: str) -> dict[str, Json]:
    """Return what a job with TensorFlow is asked: one of the float TFLite and the ONNX."""
    return {
        **by_onnx.export_request(request, stem),
        "through_onnx": request.through_onnx,
        "tflite": str(request.work / "float.tflite"),
    }


def tensorflow_environment(request: LoadRequest) -> dict[str, str]:
    """Both Keras keep settings in the user's home unless told where: theirs must not matter here."""
    return {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(request.work / "keras-home")}


def go_on(answer: Mapping[str, Json], request: LoadRequest, jobs: JobRunner) -> Loaded:
    """Return what a job with TensorFlow made, or go the way of its ONNX."""
    if request.through_onnx:
        return by_onnx.go_on(answer, request, jobs, channels_first=False)
    tflite = request.work / "float.tflite"
    described = tflite_file.read(tflite)
    # A factory has no file of its own: what it made is what is known of it.
    sha256, size = fingerprint(request.model if request.model.exists() else tflite)
    source = SourceModel(
        path=request.model,
        format=answer["format"],
        sha256=sha256,
        size_bytes=size,
        inputs=specs_from_json(answer["inputs"]),
        outputs=specs_from_json(answer["outputs"]),
        parameters=answer["parameters"] if answer["parameters"] is not None else described.parameters,
        macs=described.macs,
    )
    step = Step(
        name="convert to float TFLite",
        before={"bytes": size, "parameters": source.parameters},
        after={"bytes": described.size_bytes, "parameters": described.parameters, "ops": len(described.ops)},
    )
    return Loaded(
        source=source,
        reference=read_arrays(answer["reference"]) if answer["reference"] else {},
        float_tflite=tflite,
        openvino_input=tflite,
        steps=(step,),
    )


class _TensorFlowFrontend:
    format = ""
    takes_constants = False

    def load(self, request: LoadRequest, jobs: JobRunner) -> Loaded:
        """Describe the model, run the reference inputs, and make the float TFLite (the form OpenVINO reads too).

        Raises:
            ModelFileError: if it is damaged.
            UnsupportedError: if it needs code to be run, or an op has no TFLite form.
            CalibrationError: if the reference inputs do not fit.
            ConverterMissingError: if TensorFlow is not installed.
        """
        asked = {**tensorflow_request(request, request.model.resolve().stem), "kind": self.format}
        answer = jobs.run("edgekit_converters.frontends.tensorflow_job", asked, tensorflow_environment(request))
        return go_on(answer, request, jobs)


class KerasFrontend(_TensorFlowFrontend):
    """`.keras` archives of Keras 3, and of Keras 2."""

    format = "keras"


class KerasH5Frontend(_TensorFlowFrontend):
    """HDF5 files of Keras 2 and 3."""

    format = "keras-h5"


class SavedModelFrontend(_TensorFlowFrontend):
    """TensorFlow SavedModel folders with a signature `serving_default`."""

    format = "saved-model"
