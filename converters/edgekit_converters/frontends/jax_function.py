"""A JAX function with example arrays as StableHLO (inside a job: JAX is loaded)."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters._exchange import specs_to_json, write_arrays
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec

Tree = Any  # of arrays, as JAX nests them
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of named arrays; `examples` fit its inputs, `stablehlo` is JAX's portable serialized form."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    examples: dict[str, Array]
    call: Callable[[dict[str, Array]], list[Array]]
    stablehlo: bytes


def load(function: Callable[..., Tree], examples: Sequence[Tree], shapes: Shapes) -> Function:
    """Trace a function with example arrays. Inputs are named after its arguments, outputs after their keys.

    Raises:
        UnsupportedError: if JAX cannot trace it, or a shape is given for no input.
        ConverterMissingError: if JAX is not installed.
    """
    try:
        import jax
        from jax import export
    except ImportError as exc:
        raise missing("JAX", "jax") from exc
    leaves, tree = jax.tree_util.tree_flatten_with_path(tuple(examples))
    names = [_input_name(_parts(path), _argument_names(function)) for path, _ in leaves]
    arrays = _examples(names, [np.asarray(jax.numpy.asarray(leaf)) for _, leaf in leaves], shapes)
    jitted = jax.jit(function, keep_unused=True)
    try:
        made = jitted(*jax.tree_util.tree_unflatten(tree, list(arrays.values())))
        exported = export.export(jitted, platforms=("cpu",))(
            *jax.tree_util.tree_unflatten(tree, [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in arrays.values()])
        )
    except Exception as exc:
        raise UnsupportedError(f"JAX cannot trace the function: {first_line(exc)}") from exc
    results, _ = jax.tree_util.tree_flatten_with_path(made)
    outputs = {_output_name(_parts(path), index): one for index, (path, one) in enumerate(results)}

    def call(batch: dict[str, Array]) -> list[Array]:
        answer = jitted(*jax.tree_util.tree_unflatten(tree, [batch[name] for name in names]))
        return [np.asarray(one) for one in jax.tree_util.tree_leaves(answer)]

    return Function(
        inputs=_specs(arrays),
        outputs=_specs(outputs),
        examples=arrays,
        call=call,
        stablehlo=exported.mlir_module_serialized,
    )


def answer(function: Function, request: Json) -> Json:
    """Run the reference inputs, write the StableHLO, and return what the parent and the compiler's job need."""
    work = Path(request["work"])
    reference = None
    arrays = samples.taken(request["reference"], function.inputs)
    if arrays is not None:
        made = run_samples(function.call, arrays, function.inputs)
        reference = write_arrays(work / "reference.npz", _by_name(function.outputs, made))
    module = work / "source.stablehlo"
    module.write_bytes(function.stablehlo)
    expected = _by_name(function.outputs, function.call(function.examples))
    return {
        "format": "jax",
        "inputs": specs_to_json(function.inputs),
        "outputs": specs_to_json(function.outputs),
        "parameters": None,
        "reference": reference,
        "stablehlo": {
            "module": str(module),
            "tflite": request["tflite"],
            "inputs": write_arrays(work / "examples.npz", function.examples),
            "outputs": write_arrays(work / "expected.npz", expected),
        },
    }


def _by_name(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> dict[str, Array]:
    return {spec.name: array for spec, array in zip(specs, arrays, strict=True)}


def _argument_names(function: Callable[..., Tree]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _parts(path: Sequence[Any]) -> list[str]:
    """Return the keys, indices and attributes that lead to a leaf."""
    return [str(getattr(one, "key", getattr(one, "idx", getattr(one, "name", one)))) for one in path]


def _input_name(parts: list[str], arguments: Sequence[str]) -> str:
    """Return `params.dense.0` for a leaf of the argument `params`."""
    at = int(parts[0])
    return ".".join([arguments[at] if at < len(arguments) else f"input_{at}", *parts[1:]])


def _output_name(parts: list[str], index: int) -> str:
    return f"output_{index}" if all(part.isdigit() for part in parts) else ".".join(parts)


def _examples(names: Sequence[str], arrays: Sequence[Array], shapes: Shapes) -> dict[str, Array]:
    unknown = [name for name in shapes if name not in names]
    if unknown:
        raise UnsupportedError(
            f"a shape is given for '{unknown[0]}', but the function's inputs are: {', '.join(names)}"
        )
    rng = np.random.default_rng(0)
    made = {}
    for name, array in zip(names, arrays, strict=True):
        shape = shapes.get(name, array.shape)
        made[name] = array if shape == array.shape else rng.random(shape).astype(array.dtype)
    return made


def _specs(arrays: dict[str, Array]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=tuple(one.shape), dtype=np.dtype(one.dtype).name) for name, one in arrays.items()
    )
