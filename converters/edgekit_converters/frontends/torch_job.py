"""The job of the PyTorch frontends: load, describe, run the reference inputs, write ONNX."""

from pathlib import Path

from edgekit_converters._exchange import specs_to_json, write_arrays
from edgekit_converters.errors import CalibrationError, ConversionError
from edgekit_converters.foreign import first_line
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.frontends.shapes import frozen
from edgekit_converters.frontends.torch_program import Program, Shapes, load_exported
from edgekit_converters.frontends.torchscript import load_script
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array


def run(request: Json) -> Json:
    """Load `request["model"]` of `request["kind"]` and make everything asked for.

    Raises:
        ModelFileError: if the model is damaged.
        UnsupportedError: if it holds more than computation, an op has no ONNX form, or a shape cannot be had.
        CalibrationError: if the reference inputs do not fit.
        ConverterMissingError: if PyTorch is not installed.
    """
    path = Path(request["model"])
    if request["kind"] == "pytorch-exported":
        return answer(load_exported(path), request, request["kind"])
    return answer(load_script(path, samples_of(request), shapes_of(request)), request, request["kind"])


def shapes_of(request: Json) -> Shapes:
    """Return the shapes asked for."""
    return {name: tuple(shape) for name, shape in request["shapes"].items()}


def samples_of(request: Json) -> dict[str, Array]:
    """Return the reference inputs as the user gave them."""
    return samples.given(request["reference"])


def answer(program: Program, request: Json, form: str) -> Json:
    """Run the reference inputs through a program, write its ONNX to `request["onnx"]`, and describe it."""
    inputs = frozen(program.inputs, shapes_of(request))
    reference = None
    arrays = samples.taken(request["reference"], inputs)
    if arrays is not None:
        made = run_samples(lambda batch: _call(program, batch), arrays, inputs)
        named = {spec.name: array for spec, array in zip(program.outputs, made, strict=True)}
        reference = write_arrays(Path(request["work"], "reference.npz"), named)
    target = Path(request["onnx"])
    program.write_onnx(target)
    return {
        "format": form,
        "inputs": specs_to_json(inputs),
        "outputs": specs_to_json(program.outputs),
        "parameters": program.parameters,
        "reference": reference,
        "onnx": str(target),
    }


def _call(program: Program, batch: dict[str, Array]) -> list[Array]:
    try:
        return program.call(batch)
    except ConversionError:
        raise
    except Exception as exc:
        raise CalibrationError(f"PyTorch stops on the reference data: {first_line(exc)}") from exc
