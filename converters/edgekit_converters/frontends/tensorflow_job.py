"""The job of the TensorFlow frontends: load, describe, run the reference inputs, convert to float TFLite."""

import re
import warnings
from pathlib import Path

from edgekit_converters._exchange import specs_to_json, write_arrays
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.frontends import keras_model, samples, saved_model, tensorflow_onnx
from edgekit_converters.frontends.keras_model import Model, Served
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.frontends.shapes import frozen
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec
from edgekit_converters.tflite_file import SIGNATURE, parse
from edgekit_converters.tflite_rewrite import signed

# The compiler says where in the model it stood: op and node, the innermost first.
_WHERE = r'fused\["(\w+):",\s*"([^"]+)"\]'
_REFUSED = re.compile(_WHERE + r".{0,2000}?'tf\.\w+' op is neither", re.DOTALL)
_MENTIONED = re.compile(_WHERE)


def run(request: Json) -> Json:
    """Load `request["model"]` of `request["kind"]` and make everything asked for.

    Raises:
        ModelFileError: if the model is damaged.
        UnsupportedError: if it needs code, or an op has no TFLite form.
        CalibrationError: if the reference inputs do not fit.
        ConverterMissingError: if TensorFlow is not installed.
    """
    path, shapes = Path(request["model"]), {name: tuple(shape) for name, shape in request["shapes"].items()}
    if request["kind"] == "saved-model":
        _import_tensorflow()
        return _from_saved_model(path, shapes, request)
    return from_keras(keras_model.load(path, request["kind"], shapes, Path(request["work"])), request)


def from_keras(served: Served, request: Json) -> Json:
    """Run the reference inputs through a Keras model and make what is asked for."""
    work = Path(request["work"])
    bound = samples.taken(request["reference"], served.inputs)
    outputs = run_samples(lambda batch: _call(served, batch), bound, served.inputs) if bound else []
    saved = work / "served"
    _save(saved, served.function, served.variables)
    names = (
        {f"i{index}": spec.name for index, spec in enumerate(served.inputs)},
        {f"o{index}": spec.name for index, spec in enumerate(served.outputs)},
    )
    _make(saved, served.inputs, served.outputs, names, request)
    return _answer(served.inputs, served.outputs, served.parameters, outputs, request)


def _from_saved_model(path: Path, shapes: dict[str, tuple[int, ...]], request: Json) -> Json:
    own = saved_model.describe(path)
    described = saved_model.Described(frozen(own.inputs, shapes), own.outputs)
    bound = samples.taken(request["reference"], described.inputs)
    outputs, parameters = saved_model.run(path, described, bound)
    names = ({one.name: one.name for one in own.inputs}, {one.name: one.name for one in own.outputs})
    if shapes:
        frozen_path = Path(request["work"], "served")
        described, names = _freeze(path, described, frozen_path)
        path = frozen_path
    _make(path, described.inputs, described.outputs, names, request)
    return _answer(described.inputs, described.outputs, parameters, outputs, request)


def _make(
    folder: Path,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    names: tuple[dict[str, str], dict[str, str]],
    request: Json,
) -> None:
    """Write the ONNX or the TFLite form of a SavedModel, under the source's names."""
    if request["through_onnx"]:
        by_name = {spec.name: spec for spec in inputs}
        served = {inner: by_name[name] for inner, name in names[0].items()}
        tensorflow_onnx.write_onnx(folder, served, names[1], Path(request["onnx"]))
    else:
        _to_tflite(folder, inputs, outputs, names, Path(request["tflite"]))


def _freeze(
    path: Path, described: saved_model.Described, target: Path
) -> tuple[saved_model.Described, tuple[dict[str, str], dict[str, str]]]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    inner = loaded.signatures[SIGNATURE]

    def serve(*args: Model) -> dict[str, Model]:
        made = inner(**dict(zip((spec.name for spec in described.inputs), args, strict=True)))
        return {f"o{index}": made[spec.name] for index, spec in enumerate(described.outputs)}

    signature = [tf.TensorSpec(one.shape, one.dtype, name=f"i{index}") for index, one in enumerate(described.inputs)]
    _save(target, tf.function(serve, input_signature=signature), [loaded])
    now = saved_model.describe(target)
    outputs = tuple(
        TensorSpec(name=own.name, shape=one.shape, dtype=one.dtype)
        for own, one in zip(described.outputs, now.outputs, strict=True)
    )
    names = (
        {f"i{index}": spec.name for index, spec in enumerate(described.inputs)},
        {f"o{index}": spec.name for index, spec in enumerate(outputs)},
    )
    return saved_model.Described(described.inputs, outputs), names


def _import_tensorflow() -> None:
    try:
        import tensorflow  # noqa: F401, ICN001
        import tf_keras  # noqa: F401  # registers the Keras 2 objects that old SavedModels hold
    except ImportError as exc:
        raise missing("TensorFlow", "tensorflow") from exc


def _call(served: Served, batch: dict[str, Array]) -> list[Array]:
    made = served.function(*(batch[spec.name] for spec in served.inputs))
    return [made[f"o{index}"].numpy() for index in range(len(served.outputs))]


def _save(folder: Path, function: Model, tracked: list[Model]) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.tracked, module.serve = tracked, function
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: function})


def _to_tflite(
    folder: Path,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    names: tuple[dict[str, str], dict[str, str]],
    target: Path,
) -> None:
    """Convert, and put names and order of the source over the converter's; never with Flex ops."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = converter.convert()
    except Exception as exc:
        raise _refusal(exc) from exc
    signature = parse(data, folder.name).signature
    if signature is None:
        raise UnsupportedError("TensorFlow's converter wrote no signature for the model")
    made = (
        {names[0].get(name, name): at for name, at in signature.inputs},
        {names[1].get(name, name): at for name, at in signature.outputs},
    )
    ordered_inputs, ordered_outputs = (
        [(spec.name, at[spec.name]) for spec in specs] for specs, at in zip((inputs, outputs), made, strict=True)
    )
    target.write_bytes(signed(data, ordered_inputs, ordered_outputs))


def _refusal(exc: Exception) -> UnsupportedError:
    text = str(exc)
    found = _REFUSED.search(text) or _MENTIONED.search(text)
    if found is None:
        return UnsupportedError(f"TensorFlow's converter refuses the model: {first_line(exc)}")
    op, node = found[1], found[2].split("@")[0]
    error = UnsupportedError(f"op '{op}' (node '{node}') has no TFLite form")
    if op.startswith("TensorList"):
        error.add_note("a loop over a free batch has none, one over a fixed batch has: --shape NAME=1x...")
    return error


def _answer(
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    parameters: int,
    reference: list[Array],
    request: Json,
) -> Json:
    named = {spec.name: array for spec, array in zip(outputs, reference, strict=False)}
    return {
        "format": request["kind"],
        "inputs": specs_to_json(inputs),
        "outputs": specs_to_json(outputs),
        "parameters": parameters,
        "onnx": request["onnx"],
        "reference": write_arrays(Path(request["work"], "reference.npz"), named) if named else None,
    }
