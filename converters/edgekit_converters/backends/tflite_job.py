"""The job of the TFLite backend: quantize a float TFLite with ai-edge-quantizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays
from edgekit_converters.backends.base import each
from edgekit_converters.backends.placing import place
from edgekit_converters.data import runs
from edgekit_converters.errors import ConversionError, UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec
from edgekit_converters.tflite_rewrite import completed, signed

Recipe = Any  # the quantizer's RecipeManager, which has no types


def run(request: Json) -> Json:
    """Make `request["precisions"]` of `request["model"]` at `request["paths"]`.

    Raises:
        ConverterMissingError: if ai-edge-quantizer is not installed.
    """
    path = Path(request["model"])
    data = path.read_bytes()
    described = tflite_file.parse(data, str(path))
    samples = read_arrays(request["calibration"]) if request["calibration"] else {}

    def make(precision: str) -> Json:
        made, warnings = data, ["the source is quantized already: this is a copy"] if described.quantized else []
        if precision != "fp32":
            if described.quantized:
                raise UnsupportedError(f"the TFLite file is quantized already: {precision} is made from a float one")
            made, warnings = _quantize(data, described, precision, samples), []
        place(made, Path(request["paths"][precision]))
        after = described if made is data else tflite_file.parse(made, precision)
        step = {
            "name": _NAMES[precision],
            "before": {"bytes": len(data), "ops": len(described.ops)},
            "after": {"bytes": len(made), "ops": len(after.ops)},
        }
        return {"steps": [step] if precision != "fp32" else [], "warnings": [*warnings, *_left(precision, after)]}

    return each(request["precisions"], make)


def _quantize(data: bytes, described: tflite_file.TFLiteFile, precision: str, samples: dict[str, Array]) -> bytes:
    try:
        from ai_edge_quantizer import calibrator, quantizer, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils
    except ImportError as exc:
        raise missing("ai-edge-quantizer", "tflite") from exc
    recipe = recipe_manager.RecipeManager()
    _RECIPES[precision](recipe)
    try:
        work = quantizer.Quantizer(data)
        work.load_quantization_recipe(recipe.get_quantization_recipe())
        ranges = None
        if precision == "int8":
            # True minima and maxima: the quantizer's own moving average depends on the samples' order and
            # costs half a point on a keyword spotter, where these give what TensorFlow's converter gives.
            seen = calibrator.Calibrator(data, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
            seen.calibrate(_dataset(described, samples), recipe)
            ranges = seen.get_model_qsvs()
        made = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
    except ConversionError:
        raise
    except Exception as exc:
        raise UnsupportedError(f"ai-edge-quantizer cannot make {precision}: {first_line(exc)}") from exc
    finished = completed(bytes(made))
    after = tflite_file.parse(finished, precision)
    inputs, outputs = (
        [(name, one.index) for name, one in side] for side in (after.public_inputs, after.public_outputs)
    )
    return signed(finished, inputs, outputs)  # a new QUANTIZE or DEQUANTIZE at the rim took a name of its own


def _dataset(described: tflite_file.TFLiteFile, samples: dict[str, Array]) -> dict[str, list[dict[str, Array]]]:
    inputs = [TensorSpec(name=name, shape=one.shape, dtype=one.dtype) for name, one in described.public_inputs]
    key = described.signature.key if described.signature else tflite_file.SIGNATURE
    return {key: list(runs(samples, inputs))}


def _fp16(recipe: Recipe) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    recipe.add_quantization_config(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )


def _int8(recipe: Recipe) -> None:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName as Op

    recipe.add_static_config(".*", Op.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for side in (Op.INPUT, Op.OUTPUT):  # the source's own dtype stays
        recipe.add_quantization_config(".*", side, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _int8_dynamic(recipe: Recipe) -> None:
    from ai_edge_quantizer.qtyping import QuantGranularity
    from ai_edge_quantizer.qtyping import TFLOperationName as Op

    for op in (Op.CONV_2D, Op.DEPTHWISE_CONV_2D):
        recipe.add_dynamic_config(".*", op, 8)
    # tflite-runtime 2.14 reads only the first scale here: with one a channel its results are silently wrong.
    recipe.add_dynamic_config(".*", Op.FULLY_CONNECTED, 8, granularity=QuantGranularity.TENSORWISE)


_RECIPES: dict[str, Callable[[Recipe], None]] = {"fp16": _fp16, "int8": _int8, "int8-dynamic": _int8_dynamic}
_NAMES = {
    "fp32": "copy",
    "fp16": "weights to float16",
    "int8": "static int8, weights a channel",
    "int8-dynamic": "int8 weights, activations at run time",
}
_FLOAT_IS_RIGHT = frozenset({"QUANTIZE", "DEQUANTIZE"})


def _left(precision: str, made: tflite_file.TFLiteFile) -> list[str]:
    """Say which operators a static int8 file still computes in float."""
    if precision != "int8":
        return []
    names = sorted(
        {
            op.name
            for op in made.ops
            if op.name not in _FLOAT_IS_RIGHT and any(one and one.dtype == "float32" for one in op.outputs)
        }
    )
    return [f"computed in float: {', '.join(names)}"] if names else []
