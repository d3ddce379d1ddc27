"""The job of the TFLite frontend: load a checked file with LiteRT, fix shapes, run the reference inputs."""

from pathlib import Path
from typing import Any

from edgekit_converters import tflite_file
from edgekit_converters._exchange import specs_from_json, write_arrays
from edgekit_converters.deadline import in_time
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec
from edgekit_converters.tflite_rewrite import has_unique_names, signed

Interpreter = Any  # LiteRT has no types


def run(request: Json) -> Json:
    """Load `request["model"]` and write it to `request["tflite"]` with a signature and the shapes asked for.

    Raises:
        ModelFileError: if LiteRT cannot load the file.
        UnsupportedError: if an op is not there, or a shape cannot be had.
        CalibrationError: if the reference inputs do not fit.
        ConverterMissingError: if LiteRT is not installed.
    """
    path, target = Path(request["model"]), Path(request["tflite"])
    inputs, shapes = specs_from_json(request["inputs"]), request["shapes"]
    data = path.read_bytes()
    described = tflite_file.parse(data, str(path))
    names = [one.name for one in described.main.tensors]
    if shapes or described.signature is None or not has_unique_names(names):
        fixed = _fixed_shapes(path, described, inputs) if shapes else None
        inner, outer = ([(name, one.index) for name, one in side] for side in _public(described))
        data = signed(data, inner, outer, fixed)
    target.write_bytes(data)
    described = tflite_file.parse(data, str(target))
    interpreter = _load(path, data, shapes=[])
    arrays = samples.taken(request["reference"], inputs)
    if arrays is None:
        return {"reference": None}
    try:
        outputs = run_samples(
            lambda batch: in_time(lambda: _call(interpreter, described, batch)), arrays, inputs, free=1
        )
    except (ValueError, RuntimeError) as exc:
        raise ModelFileError(f"LiteRT cannot run '{path}': {first_line(exc)}") from exc
    named = {name: array for (name, _), array in zip(described.public_outputs, outputs, strict=True)}
    return {"reference": write_arrays(Path(request["work"], "reference.npz"), named)}


def _public(described: tflite_file.TFLiteFile) -> tuple[tflite_file.Named, tflite_file.Named]:
    return described.public_inputs, described.public_outputs


def _load(path: Path, data: bytes, shapes: list[tuple[int, list[int]]]) -> Interpreter:
    try:
        from ai_edge_litert.interpreter import Interpreter as LiteRT
        from ai_edge_litert.interpreter import OpResolverType
    except ImportError as exc:
        raise missing("ai-edge-litert", "tflite") from exc
    try:
        # Without XNNPACK where shapes are asked for: it does not tell those inside what it took over.
        kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if shapes else OpResolverType.AUTO
        interpreter = LiteRT(model_content=data, num_threads=1, experimental_op_resolver_type=kind)
        for at, shape in shapes:
            interpreter.resize_tensor_input(at, shape)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as exc:
        if shapes:
            raise UnsupportedError(f"the graph does not take the shape asked for: {first_line(exc)}") from exc
        if "custom op" in str(exc) or "builtin opcode" in str(exc):
            raise UnsupportedError(f"'{path}' holds an op LiteRT does not have: {first_line(exc)}") from exc
        raise ModelFileError(f"LiteRT cannot load '{path}': {first_line(exc)}") from exc
    return interpreter


def _fixed_shapes(
    path: Path, described: tflite_file.TFLiteFile, inputs: tuple[TensorSpec, ...]
) -> list[tuple[int, ...]]:
    if len(described.subgraphs) > 1:
        raise UnsupportedError("shapes cannot be fixed in a TFLite file with control flow")
    asked = [
        (one.index, [size or 1 for size in spec.shape])
        for (_, one), spec in zip(described.public_inputs, inputs, strict=True)
    ]
    details = _load(path, path.read_bytes(), asked).get_tensor_details()
    made = {one["index"]: tuple(int(size) for size in one["shape"]) for one in details}
    return [made.get(one.index, one.stored_shape) for one in described.main.tensors]


def _call(interpreter: Interpreter, described: tflite_file.TFLiteFile, batch: dict[str, Array]) -> list[Array]:
    resized = False
    for name, one in described.public_inputs:
        if tuple(batch[name].shape) != tuple(interpreter.get_input_details()[_place(interpreter, one.index)]["shape"]):
            interpreter.resize_tensor_input(one.index, batch[name].shape)
            resized = True
    if resized:
        interpreter.allocate_tensors()
    for name, one in described.public_inputs:
        interpreter.set_tensor(one.index, batch[name])
    interpreter.invoke()
    return [interpreter.get_tensor(one.index) for _, one in described.public_outputs]


def _place(interpreter: Interpreter, index: int) -> int:
    return next(at for at, one in enumerate(interpreter.get_input_details()) if one["index"] == index)
