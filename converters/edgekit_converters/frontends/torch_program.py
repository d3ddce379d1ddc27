"""A PyTorch model as named inputs, named outputs, a function and an ONNX file (inside a job: PyTorch is loaded)."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.data import ONLY
from edgekit_converters.errors import ConversionError, ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.frontends import torch_archive
from edgekit_converters.frontends.names import unique
from edgekit_converters.model import Array, Arrays, TensorSpec

Model = Any  # of PyTorch, which is not there when types are checked

OPSET = 20  # the newest that torch.onnx writes by itself
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A model ready to run and to export; `call` takes a batch by input name and returns the outputs in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    call: Callable[[dict[str, Array]], list[Array]]
    write_onnx: Callable[[Path], None]


def import_torch() -> Model:
    """Return PyTorch.

    Raises:
        ConverterMissingError: if it is not installed.
    """
    try:
        import onnxscript  # noqa: F401  # what torch.onnx is built on
        import torch
    except ImportError as exc:
        raise missing("PyTorch", "torch") from exc
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch


def load_exported(path: Path) -> Program:
    """Load a `.pt2` file.

    Raises:
        ModelFileError: if it is damaged.
        UnsupportedError: if it holds more than computation.
        ConverterMissingError: if PyTorch is not installed.
    """
    torch_archive.check_exported(path)
    torch = import_torch()
    try:
        exported = torch.export.load(path)
    except Exception as exc:
        raise ModelFileError(f"PyTorch cannot load '{path}': {first_line(exc)}") from exc
    return from_exported(exported)


def from_exported(exported: Model) -> Program:
    """Describe an exported program. Inputs are named by it; outputs by their keys where it returns a dict.

    Raises:
        UnsupportedError: if an input or output is no tensor.
    """
    import torch
    from torch.utils import _pytree as pytree

    exported._guards_code = []  # noqa: SLF001  # source text that PyTorch would compile and run
    signature, values = exported.graph_signature, _values(exported)
    places = list(signature.user_inputs)
    inputs = tuple(_spec(name, values[name], "input") for name in places if isinstance(name, str))
    keys = _keys(exported.call_spec.out_spec, len(signature.user_outputs))
    names = unique([key or str(value) for key, value in zip(keys, signature.user_outputs, strict=True)])
    outputs = tuple(
        _spec(name, values.get(value, value), "output")
        for name, value in zip(names, signature.user_outputs, strict=True)
    )
    module = exported.module(check_guards=False)

    def call(batch: dict[str, Array]) -> list[Array]:
        flat = [torch.from_numpy(batch[one]) if isinstance(one, str) else one for one in places]
        args, kwargs = pytree.tree_unflatten(flat, exported.call_spec.in_spec)
        with torch.no_grad():
            return [one.numpy() for one in pytree.tree_leaves(module(*args, **kwargs))]

    def write_onnx(target: Path) -> None:
        export_program(exported, [one.name for one in inputs], names, target)

    counted = sum(one.numel() for name, one in exported.state_dict.items() if name in signature.parameters)
    return Program(inputs=inputs, outputs=outputs, parameters=counted, call=call, write_onnx=write_onnx)


def from_module(module: Model, examples: Sequence[Model] | None, samples: Arrays, shapes: Shapes) -> Program:
    """Export a `torch.nn.Module` with its example inputs, a sample of the data, or inputs of the shapes given.

    Raises:
        UnsupportedError: if none is there, a shape does not fit, or the module cannot be exported.
    """
    import torch

    names = forward_names(module.forward)
    names = names[: len(examples)] if examples is not None else names
    made = example_inputs(names, given_inputs(names, examples, samples), shapes)
    try:
        with torch.no_grad():
            # Copies: inputs that are one and the same tensor are exported as one input.
            return from_exported(torch.export.export(module.eval(), tuple(one.clone() for one in made)))
    except ConversionError:
        raise
    except Exception as exc:
        raise UnsupportedError(f"PyTorch cannot export the module: {first_line(exc)}") from exc


def forward_names(forward: Model) -> list[str]:
    """Return the names of a function's positional arguments without defaults."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = inspect.signature(forward).parameters.values()
    return [one.name for one in named if one.kind in kinds and one.default is inspect.Parameter.empty]


def given_inputs(names: Sequence[str], examples: Sequence[Model] | None, samples: Arrays) -> dict[str, Model]:
    """Return example inputs by name: those of the source, else the first sample of the data."""
    import torch

    if examples is not None:
        return dict(zip(names, examples, strict=False))
    if len(names) == 1 and set(samples) == {ONLY}:
        samples = {names[0]: samples[ONLY]}
    first = {name: np.ascontiguousarray(samples[name][:1]) for name in names if name in samples}
    return {
        name: torch.from_numpy(one.astype(np.float32) if one.dtype == np.float64 else one)
        for name, one in first.items()
    }


def example_inputs(names: Sequence[str], given: Mapping[str, Model], shapes: Shapes) -> list[Model]:
    """Return one tensor an input: the one given, or a seeded one of the shape asked for (float32 if none is given).

    Raises:
        UnsupportedError: if a shape is given for no input, or an input has neither.
    """
    import torch

    unknown = [name for name in shapes if name not in names]
    if unknown:
        raise UnsupportedError(f"a shape is given for '{unknown[0]}', but the model's inputs are: {', '.join(names)}")
    without = [name for name in names if name not in shapes and name not in given]
    if without:
        error = UnsupportedError(f"the model does not say what shape its input '{without[0]}' has")
        shapes_to_give = " ".join(f"--shape {name}=1x..." for name in without)
        error.add_note(f"give it: {shapes_to_give}, or data that shows it: --calib or --eval")
        raise error
    made = []
    for name in names:
        own = given.get(name)
        if name not in shapes or (own is not None and tuple(own.shape) == shapes[name]):
            made.append(own)
        elif own is None or own.dtype.is_floating_point:
            made.append(torch.rand(shapes[name], dtype=None if own is None else own.dtype))
        else:
            made.append(torch.zeros(shapes[name], dtype=own.dtype))
    return made


def _values(exported: Model) -> dict[str, Model]:
    """Return what every node of the graph was traced with, by name."""
    return {node.name: node.meta.get("val") for node in exported.graph.nodes}


def _spec(name: str, value: Model, what: str) -> TensorSpec:
    import torch

    if not isinstance(value, torch.Tensor):
        raise UnsupportedError(f"{what} '{name}' is a {type(value).__name__}, not a tensor")
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(name=name, shape=shape, dtype=dtype_name(value.dtype))


def dtype_name(dtype: Model) -> str:
    """Return a dtype as NumPy names it."""
    return str(dtype).removeprefix("torch.")


def _keys(out_spec: Model, count: int) -> list[str]:
    import json

    from torch.utils import _pytree as pytree

    _, described = json.loads(pytree.treespec_dumps(out_spec))
    if described["type"] != "builtins.dict" or len(described["children_spec"]) != count:
        return [""] * count
    keys = json.loads(described["context"])
    return [one if isinstance(one, str) else "" for one in keys]


def export_program(exported: Model, inputs: Sequence[str], outputs: Sequence[str], target: Path) -> None:
    """Write an exported program as ONNX with these names.

    Raises:
        UnsupportedError: if the exporter does not know an operator.
    """
    import torch

    try:
        made = torch.onnx.export(
            exported,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
        )
        made.save(target)
    except Exception as exc:
        raise UnsupportedError(f"PyTorch's ONNX exporter refuses the model: {_why(exc)}") from exc


def _why(exc: BaseException) -> str:
    """Return what the exporter stumbled over: its own message is about how to report it."""
    cause = exc
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return first_line(cause)
