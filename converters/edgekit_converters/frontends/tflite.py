"""TFLite files: float ones to quantize or re-target, quantized ones to describe, copy and re-target."""

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays, specs_to_json
from edgekit_converters.errors import JobCrashedError, ModelFileError, UnsupportedError
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.files import fingerprint
from edgekit_converters.frontends.shapes import frozen
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import SourceModel, TensorSpec


class TFLiteFrontend:
    """`.tflite` files."""

    format = "tflite"
    takes_constants = False

    def load(self, request: LoadRequest, jobs: JobRunner) -> Loaded:
        """Check and describe the file, run the reference inputs; a file without a signature is given one.

        Raises:
            ModelFileError: if it is truncated, damaged, or LiteRT cannot load it.
            UnsupportedError: if it holds a Flex op, or a shape cannot be had.
            CalibrationError: if the reference inputs do not fit.
            ConverterMissingError: if LiteRT is not installed.
        """
        if request.through_onnx:
            raise UnsupportedError(f"'{request.model}' is a TFLite file, which has no way to ONNX")
        described = tflite_file.read(request.model)
        for op in described.ops:
            if op.name.startswith("CUSTOM:Flex"):
                raise UnsupportedError(
                    f"op '{op.name.removeprefix('CUSTOM:')}' (op {op.index}) needs TensorFlow to run"
                )
        inputs = frozen(_specs(described.public_inputs), request.shapes)
        sha256, size = fingerprint(request.model)
        tflite = request.work / "float.tflite"
        try:
            answer = jobs.run(
                "edgekit_converters.frontends.tflite_job",
                {
                    "model": str(request.model),
                    "work": str(request.work),
                    "tflite": str(tflite),
                    "inputs": specs_to_json(inputs),
                    "shapes": sorted(request.shapes),
                    "reference": samples.asked(request),
                },
            )
        except JobCrashedError as exc:
            raise ModelFileError(f"'{request.model}' makes LiteRT crash: it is damaged") from exc
        described = tflite_file.read(tflite)
        source = SourceModel(
            path=request.model,
            format=self.format,
            sha256=sha256,
            size_bytes=size,
            inputs=inputs,
            outputs=_specs(described.public_outputs),
            parameters=described.parameters,
            macs=described.macs,
        )
        return Loaded(
            source=source,
            reference=read_arrays(answer["reference"]) if answer["reference"] else {},
            float_tflite=tflite,
            openvino_input=tflite,
            warnings=("the source is quantized already",) if described.quantized else (),
        )


def _specs(public: tflite_file.Named) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, shape=one.shape, dtype=one.dtype) for name, one in public)
