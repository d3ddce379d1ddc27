"""What ai-edge-quantizer is told to do for each precision."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from edgekit_converters.backends.shared_options import CORRECT, EQUALIZE, MODEL, RANGES
from edgekit_converters.jobs import Json
from edgekit_converters.precisions import Precisions, choice, flag

Recipe = Any  # the quantizer's RecipeManager, which has no types

_BLOCKS = (32, 64, 128, 256)

_SPARSE = {"sparse": flag("weights with many zeros stored as sparse tensors, where that is smaller")}

TFLITE: Precisions = MappingProxyType(
    {
        "fp32": _SPARSE,
        "fp16": _SPARSE,
        "int8": {
            **RANGES,
            **EQUALIZE,
            **CORRECT,
            **MODEL,
            "weights": choice("channel", "tensor", text="a scale a channel of the weights, or one a tensor"),
            **_SPARSE,
        },
        "int8-dynamic": {},
        "int8-weights": _SPARSE,
        "int16x8": RANGES,
        "int4-weights": {
            "group": choice(
                "channel", *map(str, _BLOCKS), text="values of a row that share a scale, in dense layers and embeddings"
            ),
            "fit": choice("min-max", "mse", "octav", text="how the scale of a row is found"),
        },
    }
)
# What a transformer spends its time on. Its norms and sums have outliers that no grid a tensor can hold (T. Dettmers et
# al., "LLM.int8()", 2022), and cost little.
_PRODUCTS = ("FULLY_CONNECTED", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")
STATIC = frozenset({"int8", "int16x8"})
"""Those whose activations are stored on grids, from calibration."""
BLOCKWISE = ("FULLY_CONNECTED", "EMBEDDING_LOOKUP")
"""Operators whose weights may have a scale a block."""
SPARSE = "zeros of weights left out"
NAMES = {
    "fp32": "copy",
    "fp16": "weights to float16",
    "int8": "static int8",
    "int8-dynamic": "int8 weights, activations at run time",
    "int8-weights": "int8 weights, computed in float",
    "int16x8": "static int16 activations, int8 weights",
    "int4-weights": "int4 weights, computed in float",
}


def recipe(asked: Json, float_ops: Sequence[str] = (), unfit: Sequence[str] = (), *, quantized_io: bool) -> Recipe:
    """Return the recipe of a precision with its options, but for operators of these scopes.

    `float_ops` stay in float; rows of `unfit` have one scale each, whatever the size of the blocks.
    """
    from ai_edge_quantizer import recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName as Op

    made = recipe_manager.RecipeManager()
    _RECIPES[asked["name"]](made, asked)
    if unfit:
        _four_bits(made, asked, _scopes(unfit))
    if asked["name"] in STATIC and not quantized_io:
        for side in (Op.INPUT, Op.OUTPUT):  # the source's own dtype stays
            made.add_quantization_config(".*", side, algorithm_key=AlgorithmName.NO_QUANTIZE)
    if float_ops:
        made.add_quantization_config(_scopes(float_ops), Op.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return made


def _scopes(names: Sequence[str]) -> str:
    return f"^({'|'.join(map(re.escape, names))})$"


def _fp16(made: Recipe, _asked: Json) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    made.add_quantization_config(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )


def _static(bits: int) -> Callable[[Recipe, Json], None]:
    def add(made: Recipe, asked: Json) -> None:
        from ai_edge_quantizer.qtyping import QuantGranularity
        from ai_edge_quantizer.qtyping import TFLOperationName as Op

        tensor = asked.get("weights") == "tensor"
        # there is no static form of a table of embeddings: its rows are looked up and become float
        made.add_dynamic_config(".*", Op.EMBEDDING_LOOKUP, 8)
        for op in _PRODUCTS if asked.get("model") == "transformer" else ("*",):
            made.add_static_config(
                ".*",
                Op(op),
                activation_num_bits=bits,
                weight_num_bits=8,
                weight_granularity=QuantGranularity.TENSORWISE if tensor else QuantGranularity.CHANNELWISE,
            )

    return add


def _int8_dynamic(made: Recipe, _asked: Json) -> None:
    from ai_edge_quantizer.qtyping import QuantGranularity
    from ai_edge_quantizer.qtyping import TFLOperationName as Op

    for op in (Op.CONV_2D, Op.DEPTHWISE_CONV_2D):
        made.add_dynamic_config(".*", op, 8)
    # tflite-runtime 2.14 reads only the first scale here: with one a channel its results are silently wrong.
    made.add_dynamic_config(".*", Op.FULLY_CONNECTED, 8, granularity=QuantGranularity.TENSORWISE)


def _int8_weights(made: Recipe, _asked: Json) -> None:
    from ai_edge_quantizer.qtyping import TFLOperationName as Op

    made.add_weight_only_config(".*", Op.ALL_SUPPORTED, 8)


def _int4_weights(made: Recipe, asked: Json) -> None:
    from ai_edge_quantizer.qtyping import QuantGranularity
    from ai_edge_quantizer.qtyping import TFLOperationName as Op

    # what has no four-bit kernel, such as depthwise convolutions
    made.add_weight_only_config(".*", Op.ALL_SUPPORTED, 8)
    _four_bits(made, asked, ".*")
    if asked["group"] != "channel":
        block = QuantGranularity(f"BLOCKWISE_{asked['group']}")
        for name in BLOCKWISE:
            made.add_dynamic_config(".*", Op(name), 4, granularity=block, algorithm_key=_fit(asked))


def _four_bits(made: Recipe, asked: Json, scope: str) -> None:
    """Add four bits with a scale a row."""
    from ai_edge_quantizer.qtyping import TFLOperationName as Op

    for name in ("CONV_2D", *BLOCKWISE):
        made.add_weight_only_config(scope, Op(name), 4, algorithm_key=_fit(asked))


def _fit(asked: Json) -> Any:  # noqa: ANN401  # the quantizer's
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    fits = {
        "min-max": AlgorithmName.MIN_MAX_UNIFORM_QUANT,
        "mse": AlgorithmName.MSE,
        "octav": AlgorithmName.OCTAV,
    }
    return fits[asked["fit"]]


_RECIPES: Mapping[str, Callable[[Recipe, Json], None]] = MappingProxyType(
    {
        "fp16": _fp16,
        "int8": _static(8),
        "int8-dynamic": _int8_dynamic,
        "int8-weights": _int8_weights,
        "int16x8": _static(16),
        "int4-weights": _int4_weights,
    }
)
