"""What a Keras file says of itself, read before any of it is built.

Keras files can carry Python code (Lambda layers) or name any function installed here. Only Keras's
own building blocks are allowed; everything else is refused before a framework sees the file.
"""

import builtins
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_converters.errors import ModelFileError, UnsupportedError

Config = Any  # JSON of the file

_MAX_CONFIG_BYTES = 64 << 20
_CODE = {
    "Lambda": "it holds Python code",
    "__lambda__": "it holds Python code",
    "TorchModuleWrapper": "it holds a pickle",
    "TFSMLayer": "it loads another model from the disk",
    "JaxLayer": "it holds Python code",
    "FlaxLayer": "it holds Python code",
}
_KERAS_PARTS = (
    "activations|constraints|dtype_policies|engine|initializers|layers|losses|metrics|mixed_precision|models|ops|"
    "optimizers|quantizers|random|regularizers"
)
_KERAS = re.compile(rf"(tf_|tensorflow\.)?keras(\.src)?(\.({_KERAS_PARTS})(\.\w+)*)?")
# Of Keras's own networks only the layer: its functions fetch weights from the net.
_LAYER_OF_A_NETWORK = ("keras.src.applications.convnext", "LayerScale")
# Keras 2 writes TensorFlow calls between layers by their public name: these compute, and nothing else.
_TF_MODULES = re.compile(r"(compat\.v1\.)?(math|nn|linalg|signal|image|bitwise|dtypes|__operators__)\.\w+")
# fmt: off
_TF_FUNCTIONS = frozenset(
    {
        "abs", "add", "add_n", "argmax", "argmin", "argsort", "boolean_mask", "broadcast_to", "cast", "ceil",
        "clip_by_value", "concat", "constant", "cos", "cumsum", "divide", "einsum", "equal", "exp", "expand_dims",
        "eye", "fill", "floor", "gather", "gather_nd", "greater", "greater_equal", "identity", "less", "less_equal",
        "logical_and", "logical_not", "logical_or", "matmul", "maximum", "meshgrid", "minimum", "multiply",
        "negative", "norm", "not_equal", "one_hot", "ones", "ones_like", "pad", "pow", "range", "rank", "realdiv",
        "reduce_all", "reduce_any", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum",
        "repeat", "reshape", "reverse", "roll", "round", "shape", "sigmoid", "sign", "sin", "size", "slice", "sort",
        "split", "sqrt", "square", "squeeze", "stack", "stop_gradient", "strided_slice", "subtract", "tan", "tanh",
        "tensordot", "tile", "transpose", "truediv", "unstack", "where", "zeros", "zeros_like",
    }
)
# fmt: on


@dataclass(frozen=True, slots=True)
class KerasFile:
    """A Keras file's own words: `generation` is 2 or 3, or None where it does not say."""

    generation: int | None
    config: Config


def read_archive(path: Path) -> KerasFile:
    """Read the description inside a `.keras` archive.

    Raises:
        ModelFileError: if it is truncated or not a Keras archive.
        UnsupportedError: if it needs code to be run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config, metadata = (_member(archive, name) for name in ("config.json", "metadata.json"))
    except KeyError:
        raise ModelFileError(f"'{path}' is a zip archive but not a Keras model: it has no config.json") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as exc:
        raise ModelFileError(f"the Keras archive '{path}' is truncated or damaged") from exc
    return _checked(path, config, _version(metadata))


def read_h5(path: Path) -> KerasFile:
    """Read the description inside an HDF5 model.

    Raises:
        ModelFileError: if it is truncated, or holds weights only.
        UnsupportedError: if it needs code to be run.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config, version = file.attrs.get("model_config"), file.attrs.get("keras_version")
    except (OSError, KeyError, ValueError, RuntimeError) as exc:
        raise ModelFileError(f"the HDF5 file '{path}' is truncated or damaged") from exc
    if config is None:
        error = ModelFileError(f"the HDF5 file '{path}' holds no model")
        error.add_note("weights alone are not enough: save the whole model with model.save()")
        raise error
    return _checked(path, config, version)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MAX_CONFIG_BYTES:
        raise ModelFileError(f"the Keras archive's {name} is larger than {_MAX_CONFIG_BYTES >> 20} MiB")
    return archive.read(name)


def _version(metadata: bytes) -> str:
    try:
        return str(json.loads(metadata)["keras_version"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""  # the model itself may still be fine


def _checked(path: Path, config: str | bytes, version: str | bytes | None) -> KerasFile:
    try:
        parsed = json.loads(config)
        for one in _walk(parsed):
            _refuse_code(one)
    except (ValueError, RecursionError) as exc:
        raise ModelFileError(f"the model description in '{path}' is damaged") from exc
    said = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version or "")
    return KerasFile(int(said[0]) if said[:1] in {"2", "3"} else None, parsed)


def _walk(value: Config) -> Iterator[dict[str, Config]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _walk(inner)


def _refuse_code(node: dict[str, Config]) -> None:
    kind, module, config = node.get("class_name"), node.get("module"), node.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    who = f"layer '{name}'" if name else "the model"
    if kind in _CODE or node.get("function_type") == "lambda":
        why = _CODE.get(str(kind), _CODE["Lambda"])
        error = UnsupportedError(f"{who} is a {kind} layer, which is not loaded: {why}")
        error.add_note("build it from Keras's own layers and save the model again")
        raise error
    if module is not None and not _is_keras(str(module), str(kind), config):
        raise _custom(who, f"{module}.{kind}")
    if ">" in str(node.get("registered_name") or ""):
        raise _custom(who, str(node["registered_name"]))
    if kind == "TFOpLambda" and isinstance(config, dict):
        function = str(config.get("function"))
        if not _TF_MODULES.fullmatch(function) and function.removeprefix("compat.v1.") not in _TF_FUNCTIONS:
            raise UnsupportedError(f"{who} calls tf.{function}, which is not loaded: it may do more than compute")


def _is_keras(module: str, kind: str, config: Config) -> bool:
    if module == "builtins":  # how Keras names its own plain functions
        return kind == "slice" or (kind == "function" and not hasattr(builtins, str(config)))
    return _KERAS.fullmatch(module) is not None or (module, kind) == _LAYER_OF_A_NETWORK


def _custom(who: str, what: str) -> UnsupportedError:
    error = UnsupportedError(f"{who} needs the custom object '{what}', whose code is not run")
    error.add_note("save the model as a SavedModel (model.export), which carries the computation instead of the code")
    return error
