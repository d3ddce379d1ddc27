"""TorchScript archives (inside a job: PyTorch is loaded).

An archive holds code and weights but no shapes: its inputs are like the data's samples, or take the shapes given.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.frontends import torch_archive
from edgekit_converters.frontends.torch_program import (
    OPSET,
    Model,
    Program,
    Shapes,
    dtype_name,
    example_inputs,
    export_program,
    given_inputs,
    import_torch,
)
from edgekit_converters.model import Array, Arrays, TensorSpec


def load_script(path: Path, samples: Arrays, shapes: Shapes) -> Program:
    """Load a TorchScript archive.

    Raises:
        ModelFileError: if it is damaged.
        UnsupportedError: if it reaches outside the model, an input is no tensor, or a shape is not given.
        ConverterMissingError: if PyTorch is not installed.
    """
    torch_archive.check_script(path)
    torch = import_torch()
    try:
        module = torch.jit.load(path, map_location="cpu").eval()
    except Exception as exc:
        raise ModelFileError(f"PyTorch cannot load '{path}': {first_line(exc)}") from exc
    return from_script(module, None, samples, shapes)


def from_script(module: Model, examples: Sequence[Model] | None, samples: Arrays, shapes: Shapes) -> Program:
    """Describe a TorchScript module by one run; outputs are named by their keys, else `output_0`, `output_1`, ...

    Raises:
        UnsupportedError: if an input or output is no tensor, or it does not run with the shapes given.
    """
    import torch

    names = _input_names(module)
    made = example_inputs(names, given_inputs(names, examples, samples), shapes)
    try:
        with torch.no_grad():
            answer = module(*made)
    except Exception as exc:
        error = UnsupportedError(f"the TorchScript model does not run with the shapes given: {_last_line(exc)}")
        error.add_note(
            "inputs are taken as float32; for others convert 'module:function' that returns (module, inputs)"
        )
        raise error from exc

    def call(batch: dict[str, Array]) -> list[Array]:
        with torch.no_grad():
            outputs = _named(module(*(torch.from_numpy(batch[name]) for name in names)))
        return [one.numpy() for one in outputs.values()]

    inputs, outputs = _specs(dict(zip(names, made, strict=True))), _specs(_named(answer))

    def write_onnx(target: Path) -> None:
        _write_onnx(module, made, (inputs, outputs), target)

    parameters = sum(one.numel() for one in module.parameters())
    return Program(inputs=inputs, outputs=outputs, parameters=parameters, call=call, write_onnx=write_onnx)


def _input_names(module: Model) -> list[str]:
    if not hasattr(module, "forward"):
        raise UnsupportedError("the TorchScript model has no method 'forward'")
    arguments = module.forward.schema.arguments[1:]
    for one in arguments:
        if str(one.type) not in {"Tensor", "Optional[Tensor]"} and not one.has_default_value():
            error = UnsupportedError(f"input '{one.name}' of the TorchScript model is of type {one.type}, not a tensor")
            error.add_note("convert 'module:function' that returns a module taking tensors only, with example inputs")
            raise error
    return [one.name for one in arguments if not one.has_default_value()]


def _named(answer: Model) -> dict[str, Model]:
    """Return a run's outputs by name, in order."""
    import torch

    if isinstance(answer, torch.Tensor):
        return {"output_0": answer}
    if isinstance(answer, dict):
        found = {str(name): one for name, one in answer.items()}
    elif isinstance(answer, tuple | list):
        found = {f"output_{index}": one for index, one in enumerate(answer)}
    else:
        raise UnsupportedError(f"the TorchScript model returns a {type(answer).__name__}, not tensors")
    for name, one in found.items():
        if not isinstance(one, torch.Tensor):
            raise UnsupportedError(f"output '{name}' of the TorchScript model is a {type(one).__name__}, not a tensor")
    return found


def _specs(tensors: dict[str, Model]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=tuple(one.shape), dtype=dtype_name(one.dtype)) for name, one in tensors.items()
    )


def _write_onnx(
    module: Model, examples: Sequence[Model], specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]], target: Path
) -> None:
    """Export by the exporter made for TorchScript; what it does not know goes through an exported program.

    The first is ten times faster and keeps control flow, the second knows more operators and containers.
    """
    import torch
    from torch._export.converter import TS2EPConverter

    inputs, outputs = ([one.name for one in side] for side in specs)
    written = io.BytesIO()
    try:
        torch.onnx.export(
            module,
            tuple(examples),
            written,
            dynamo=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
        )
        target.write_bytes(written.getvalue())
    except Exception as first:  # noqa: BLE001  # the port: whatever this one says, the other may do it
        try:
            export_program(TS2EPConverter(module, tuple(examples), {}).convert(), inputs, outputs, target)
        except Exception as exc:
            raise UnsupportedError(f"PyTorch's ONNX exporter refuses the model: {first_line(first)}") from exc


def _last_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[-1] if lines else type(exc).__name__)[:300].rstrip(".")
