"""A Keras model as a function with named inputs and outputs (inside a job: TensorFlow is loaded)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.frontends.keras_file import KerasFile, read_archive, read_h5
from edgekit_converters.frontends.names import unique
from edgekit_converters.frontends.shapes import frozen
from edgekit_converters.model import TensorSpec

Model = Any  # neither Keras has types

_SUFFIXES = {"keras": ".keras", "keras-h5": ".h5"}
_UNKNOWN = re.compile(r"(?:Unknown|Could not locate) (\w+):? ['\"]?([\w>. ]+?)['\"]?[.\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model as TensorFlow's function of positional inputs; it returns a dict `o0`, `o1`, ... in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    function: Model
    variables: list[Model]
    keras: str


def load(path: Path, kind: str, shapes: Mapping[str, tuple[int, ...]], work: Path) -> Served:
    """Load a Keras file with the Keras that wrote it, else with the other one.

    Raises:
        ModelFileError: if the file is damaged, or neither Keras can load it.
        UnsupportedError: if it needs code to be run, or a shape cannot be had.
        ConverterMissingError: if TensorFlow is not installed.
    """
    try:
        file = read_archive(path) if kind == "keras" else read_h5(path)
    except ImportError as exc:
        raise missing("TensorFlow", "tensorflow") from exc
    named = work / f"source{_SUFFIXES[kind]}"  # both go by the suffix, which may say something else
    named.unlink(missing_ok=True)
    named.symlink_to(path.resolve())
    model, keras = _load_with_either(path, named, file)
    return serve(model, keras, shapes)


def _load_with_either(path: Path, named: Path, file: KerasFile) -> tuple[Model, str]:
    order: tuple[Callable[[Path], Model], ...] = (_legacy, _current) if file.generation == 2 else (_current, _legacy)  # noqa: PLR2004
    problems: list[Exception] = []
    for one in order:
        try:
            return one(named), one.__name__.strip("_")
        except ImportError as exc:
            problems.append(exc)
        except Exception as exc:  # noqa: BLE001  # the port: whatever Keras says about the file
            problems.append(exc)
    telling = problems[0]  # of the Keras that wrote it
    if all(isinstance(one, ImportError) for one in problems):
        raise missing("TensorFlow", "tensorflow") from telling
    unknown = next((found for one in problems if (found := _UNKNOWN.search(str(one)))), None)
    if unknown:
        error = UnsupportedError(
            f"the model needs the custom {unknown[1]} '{unknown[2]}', whose code is not in the file"
        )
        error.add_note(
            "save the model as a SavedModel (model.export), which carries the computation instead of the code"
        )
        raise error from telling
    raise ModelFileError(f"Keras cannot load '{path}': {first_line(telling)}") from telling


def _current(path: Path) -> Model:
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _legacy(path: Path) -> Model:
    import tf_keras

    return tf_keras.models.load_model(path, compile=False, safe_mode=True)


def serve(model: Model, keras: str, shapes: Mapping[str, tuple[int, ...]]) -> Served:
    """Return a Keras model as a function; `keras` says of which: `current` (3) or `legacy` (2).

    Raises:
        ModelFileError: if it was never built.
        UnsupportedError: if a shape cannot be had.
    """
    import tensorflow as tf

    if not getattr(model, "inputs", None):
        raise ModelFileError("the Keras model was never built: it does not know its input shape")
    own = tuple(
        TensorSpec(name=name, shape=tuple(one.shape), dtype=tf.as_dtype(one.dtype).name)
        for name, one in zip(unique(_input_names(model)), model.inputs, strict=True)
    )
    inputs = frozen(own, shapes)
    structure = _graph(model).input

    def serve(*args: Model) -> dict[str, Model]:
        made = model(tf.nest.pack_sequence_as(structure, list(args)), training=False)
        return {f"o{index}": one for index, one in enumerate(tf.nest.flatten(made))}

    signature = [tf.TensorSpec(one.shape, one.dtype, name=f"i{index}") for index, one in enumerate(inputs)]
    function = tf.function(serve, input_signature=signature)
    made = function.get_concrete_function().structured_outputs
    names = unique(_output_names(model, len(made)))
    return Served(
        inputs=inputs,
        outputs=tuple(_output(name, made[f"o{index}"]) for index, name in enumerate(names)),
        parameters=int(model.count_params()),
        function=function,
        variables=[one.value if keras == "current" else one for one in model.variables],
        keras=keras,
    )


def _graph(model: Model) -> Model:
    """Return what knows names and nesting of inputs and outputs: Keras 3 keeps a Sequential's in an inner model."""
    return getattr(model, "_functional", None) or model


def _input_names(model: Model) -> list[str]:
    return list(getattr(_graph(model), "input_names", None) or [one.name for one in model.inputs])


def _output_names(model: Model, count: int) -> list[str]:
    names = list(getattr(_graph(model), "output_names", None) or [])
    return names if len(names) == count else [f"output_{index}" for index in range(count)]


def _output(name: str, tensor: Model) -> TensorSpec:
    if tensor.shape.rank is None:
        raise UnsupportedError(f"output '{name}' has no known number of dimensions")
    return TensorSpec(name=name, shape=tuple(tensor.shape.as_list()), dtype=tensor.dtype.name)
