"""The job of the OpenVINO frontend: describe an IR and run the reference inputs through it."""

from pathlib import Path
from typing import Any

from edgekit_converters import openvino_file
from edgekit_converters._exchange import specs_from_json, specs_to_json, write_arrays
from edgekit_converters.deadline import in_time
from edgekit_converters.errors import CalibrationError, DeadlineError, ModelFileError
from edgekit_converters.foreign import first_line
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.frontends.shapes import frozen
from edgekit_converters.jobs import Json
from edgekit_converters.layers.view import from_json
from edgekit_converters.model import Array

Compiled = Any  # OpenVINO has no types


def run(request: Json) -> Json:
    """Describe `request["model"]` and run what is asked.

    Raises:
        ModelFileError: if it cannot be read.
        UnsupportedError: if a shape does not fit.
        CalibrationError: if the reference inputs do not fit.
        ConverterMissingError: if OpenVINO is not installed.
    """
    described = openvino_file.run(request)
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    inputs, outputs = frozen(specs_from_json(described["inputs"]), shapes), specs_from_json(described["outputs"])
    reference = None
    arrays = samples.taken(request["reference"], inputs)
    if arrays is not None:
        compiled = _compiled(request["model"])
        made = run_samples(lambda batch: _call(compiled, batch), arrays, inputs)
        named = {spec.name: array for spec, array in zip(outputs, made, strict=True)}
        reference = write_arrays(Path(request["work"], "reference.npz"), named)
    nodes = from_json(described["view"]).nodes
    return {
        "inputs": specs_to_json(inputs),
        "outputs": described["outputs"],
        "parameters": sum(node.parameters for node in nodes),
        "macs": sum(node.macs or 0 for node in nodes),
        "quantized": any(node.op == "FakeQuantize" for node in nodes),
        "reference": reference,
    }


def _compiled(path: str) -> Compiled:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    try:
        return openvino.Core().compile_model(path, "CPU", settings)
    except RuntimeError as exc:
        raise ModelFileError(f"OpenVINO does not take '{path}': {first_line(exc)}") from exc


def _call(compiled: Compiled, batch: dict[str, Array]) -> list[Array]:
    try:
        made = in_time(lambda: compiled(list(batch.values())))
    except DeadlineError:
        raise
    except RuntimeError as exc:
        raise CalibrationError(f"OpenVINO stops on the reference data: {first_line(exc)}") from exc
    return [made[index] for index in range(len(compiled.outputs))]
