"""OpenVINO IR (`.xml` with its `.bin`): it stays with OpenVINO."""

from edgekit_converters._exchange import read_arrays, specs_from_json
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.files import fingerprint
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import SourceModel


class OpenVINOFrontend:
    """IR files: saved again, compressed to float16, or quantized; there is no way back to another format."""

    format = "openvino"
    takes_constants = False

    def load(self, request: LoadRequest, jobs: JobRunner) -> Loaded:
        """Check and describe the file and run the reference inputs on OpenVINO's CPU plugin.

        Raises:
            ModelFileError: if it is damaged, or its weights are not beside it.
            UnsupportedError: if TFLite ONNX or another layout was asked for, or a shape does not fit.
            CalibrationError: if the reference inputs do not fit.
            ConverterMissingError: if OpenVINO is not installed.
        """
        weights = request.model.with_suffix(".bin")
        if not weights.is_file():
            raise ModelFileError(f"model '{request.model}' has no weights beside it: '{weights.name}' is missing")
        if request.want_tflite or request.through_onnx:
            wanted = "TFLite" if request.want_tflite else "ONNX"
            error = UnsupportedError(f"'{request.model}' is an OpenVINO IR, which cannot become {wanted}")
            error.add_note("convert the model the IR was made from, or give --to openvino")
            raise error
        if request.layout != "keep":
            raise UnsupportedError(f"'{request.model}' is an OpenVINO IR, which does not say where its channels lie")
        answer = jobs.run(
            "edgekit_converters.frontends.openvino_ir_job",
            {
                "model": str(request.model.resolve()),
                "work": str(request.work),
                "shapes": {name: list(shape) for name, shape in request.shapes.items()},
                "reference": samples.asked(request),
            },
        )
        source = SourceModel(
            path=request.model,
            format=self.format,
            sha256=fingerprint(request.model)[0],
            size_bytes=request.model.stat().st_size + weights.stat().st_size,
            inputs=specs_from_json(answer["inputs"]),
            outputs=specs_from_json(answer["outputs"]),
            parameters=answer["parameters"],
            macs=answer["macs"],
        )
        return Loaded(
            source=source,
            reference=read_arrays(answer["reference"]) if answer["reference"] else {},
            float_tflite=None,
            openvino_input=request.model,
            warnings=("the source is quantized already",) if answer["quantized"] else (),
        )
