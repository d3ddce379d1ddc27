"""Run a lowered file and compare it with ONNX Runtime: some patterns convert without a word and are wrong."""

from collections.abc import Mapping

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.graph.flatten import Flat
from edgekit_converters.layout import Layout
from edgekit_converters.lowering.graph import Graph
from edgekit_converters.model import Array, TensorSpec
from edgekit_converters.tflite_file import Named, TFLiteFile

# Of the outputs' largest value: float32 rounding over a deep net stays a hundred times below this.
TOLERANCE = 1e-3


def check_weights(graph: Graph) -> None:
    """Refuse weights with which no output says anything.

    Raises:
        UnsupportedError: if one holds NaN; names it.
    """
    for name, array in graph.constants.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise UnsupportedError(f"model '{graph.label}': its weight '{name}' holds values that are no numbers (NaN)")


def prove(label: str, data: bytes, described: TFLiteFile, flat: Flat, layout: Layout) -> None:
    """Run the file on the feeds of the first and the last trial run, and compare its outputs with theirs.

    Raises:
        UnsupportedError: if LiteRT does not run it, an output differs by more than `TOLERANCE` of its largest
            value, or none of the source's values is a number, so that nothing can be said.
        ConverterMissingError: if LiteRT is not installed.
    """
    for place in dict.fromkeys((0, len(flat.runs) - 1)):
        try:
            feeds = layout.to_artifact(flat.feeds[place], _specs(described.public_inputs))
            outputs = layout.to_source(run_tflite(data, described, feeds), _specs(described.public_outputs))
        except (ValueError, RuntimeError) as exc:
            raise UnsupportedError(f"model '{label}': {_why_not_run(described, exc)}") from exc
        for name, got in outputs.items():
            _compare(label, name, got, flat.runs[place][name])


def _why_not_run(described: TFLiteFile, exc: Exception) -> str:
    empty = [(name, one.shape) for name, one in described.public_outputs if 0 in one.shape]
    if empty:
        return f"output '{empty[0][0]}' never holds a value (its shape is {empty[0][1]}); LiteRT does not hand it out"
    return f"LiteRT does not run its TFLite form: {first_line(exc)}"


def _specs(named: Named) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, shape=one.shape, dtype=one.dtype) for name, one in named)


def run_tflite(data: bytes, described: TFLiteFile, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a file once with LiteRT, its inputs resized where the feeds are larger; return its outputs by name.

    Raises:
        ConverterMissingError: if LiteRT is not installed.
        ValueError, RuntimeError: as LiteRT raises them.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as exc:
        raise missing("ai-edge-litert", "tflite") from exc
    interpreter = Interpreter(model_content=data, num_threads=1)
    for name, tensor in described.public_inputs:
        if tensor.stored_shape != feeds[name].shape:
            interpreter.resize_tensor_input(tensor.index, feeds[name].shape)
    interpreter.allocate_tensors()
    for name, tensor in described.public_inputs:
        interpreter.set_tensor(tensor.index, np.asarray(feeds[name], order="C"))
    interpreter.invoke()
    return {name: interpreter.get_tensor(tensor.index) for name, tensor in described.public_outputs}


def _compare(label: str, name: str, got: Array, wanted: Array) -> None:
    if wanted.dtype.kind == "f" and wanted.size and np.isnan(wanted).all():
        error = UnsupportedError(
            f"model '{label}': output '{name}' is no number (NaN) on random inputs, so its TFLite form cannot be proved"
        )
        error.add_note("try --to openvino")
        raise error
    worst = difference(got, wanted) if got.shape == wanted.shape else np.inf
    finite = np.abs(wanted[np.isfinite(wanted)].astype(np.float64))
    if not worst <= TOLERANCE * max(1e-6, float(np.max(finite, initial=0.0))):
        error = UnsupportedError(
            f"model '{label}': output '{name}' of the TFLite form differs from ONNX Runtime by {worst:.2g}"
        )
        error.add_note("this is a fault of the lowering; please report the model's operators; try --to openvino")
        raise error


def difference(got: Array, wanted: Array) -> float:
    """Return the largest difference; the same infinity or NaN in both is none, in one of them it is infinite."""
    left, right = got.astype(np.float64), wanted.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(left - right))
    return float(np.max(np.nan_to_num(apart, nan=np.inf, posinf=np.inf), initial=0.0))
