"""Keras files (2 and 3) and SavedModels: one child process with TensorFlow does everything."""

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays, specs_from_json, write_arrays
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.files import fingerprint
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import SourceModel, Step


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
        sha256, size = fingerprint(request.model)
        tflite = request.work / "float.tflite"
        inputs = request.reference_inputs
        answer = jobs.run(
            "edgekit_converters.frontends.tensorflow_job",
            {
                "model": str(request.model),
                "kind": self.format,
                "work": str(request.work),
                "tflite": str(tflite),
                "shapes": {name: list(shape) for name, shape in request.shapes.items()},
                "reference": write_arrays(request.work / "inputs.npz", inputs) if inputs else None,
            },
            # Both Keras keep settings in the user's home unless told where: theirs must not matter here.
            {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(request.work / "keras-home")},
        )
        described = tflite_file.read(tflite)
        source = SourceModel(
            path=request.model,
            format=self.format,
            sha256=sha256,
            size_bytes=size,
            inputs=specs_from_json(answer["inputs"]),
            outputs=specs_from_json(answer["outputs"]),
            parameters=answer["parameters"],
            macs=described.macs,
        )
        step = Step(
            name="convert to float TFLite",
            before={"bytes": size, "parameters": answer["parameters"]},
            after={"bytes": described.size_bytes, "parameters": described.parameters, "ops": len(described.ops)},
        )
        return Loaded(
            source=source,
            reference=read_arrays(answer["reference"]) if answer["reference"] else {},
            float_tflite=tflite,
            openvino_input=tflite,
            steps=(step,),
        )


class KerasFrontend(_TensorFlowFrontend):
    """`.keras` archives of Keras 3, and of Keras 2."""

    format = "keras"


class KerasH5Frontend(_TensorFlowFrontend):
    """HDF5 files of Keras 2 and 3."""

    format = "keras-h5"


class SavedModelFrontend(_TensorFlowFrontend):
    """TensorFlow SavedModel folders with a signature `serving_default`."""

    format = "saved-model"
