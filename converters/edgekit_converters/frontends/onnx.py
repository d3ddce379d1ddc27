"""ONNX files: OpenVINO reads them as they are, TFLite is reached by our own lowering."""

from pathlib import Path

from edgekit_converters._exchange import read_arrays, specs_from_json
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import SourceModel, Step


class OnnxFrontend:
    """`.onnx` files, opset 7 and newer."""

    format = "onnx"
    takes_constants = True

    def load(self, request: LoadRequest, jobs: JobRunner) -> Loaded:
        """Check and describe the file, run the reference inputs on ONNX Runtime, and lower it when asked.

        Raises:
            ModelFileError: if it is truncated, not ONNX, or its external data is missing or lies elsewhere.
            UnsupportedError: if TFLite was asked for and an op cannot be had, or a shape does not fit.
            CalibrationError: if the reference inputs do not fit.
            ConverterMissingError: if a library is not installed.
        """
        answer = jobs.run(
            "edgekit_converters.lowering.job",
            {
                "model": str(request.model.resolve()),
                "label": request.model.name,
                "work": str(request.work),
                "shapes": {name: list(shape) for name, shape in request.shapes.items()},
                "constants": dict(request.constants),
                "reference": samples.asked(request),
                "channels_last": request.layout == "nhwc",
                "tflite": str(request.work / "float.tflite") if request.want_tflite else None,
            },
        )
        source = SourceModel(
            path=request.model,
            format=self.format,
            sha256=answer["sha256"],
            size_bytes=answer["size_bytes"],
            inputs=specs_from_json(answer["inputs"]),
            outputs=specs_from_json(answer["outputs"]),
            parameters=answer["parameters"],
            macs=answer["macs"],
        )
        return Loaded(
            source=source,
            reference=read_arrays(answer["reference"]) if answer["reference"] else {},
            float_tflite=Path(answer["tflite"]) if answer["tflite"] else None,
            openvino_input=Path(answer["openvino_input"]),
            channels_first=True,
            onnx=Path(answer["openvino_input"]),
            steps=tuple(Step(**step) for step in answer["steps"]),
            warnings=tuple(answer["warnings"]),
            notes=tuple(answer["notes"]),
        )
