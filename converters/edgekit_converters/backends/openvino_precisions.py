"""The precisions OpenVINO has, and how NNCF is told to make them."""

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekit_converters.backends.shared_options import EQUALIZE, MODEL, RANGES
from edgekit_converters.data import runs
from edgekit_converters.errors import ConversionError, UnsupportedError
from edgekit_converters.foreign import last_line, missing
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec
from edgekit_converters.precisions import Option, Precision, Precisions, choice, flag, number

Model = Any  # ov.Model has no types

_MAX_SAMPLES = 300
_RECURRENT = re.compile(r"^(LSTM|GRU|RNN|TensorIterator|Loop)")
_FOUR_BITS: Mapping[str, Option] = MappingProxyType(
    {
        "group": number(128, -1, 4096, "values of a row that share a scale; -1 is the whole row"),
        "ratio": number(1.0, 0.0, 1.0, "share of the layers in four bits, the least sensitive ones; the rest in eight"),
        "all": flag("embeddings and the last layer in four bits too"),
        "awq": flag("scale channels by what flows through them (AWQ)"),
        "scales": flag("fit the scales to the layers' outputs (scale estimation)"),
    }
)
_CODEBOOK = {"codebook": flag("weights of at most 256 values a layer stored as codes: what share-weights makes")}
OPENVINO: Precisions = MappingProxyType(
    {
        "fp32": _CODEBOOK,
        "fp16": _CODEBOOK,
        "int8": {
            "preset": choice(
                "auto",
                "performance",
                "mixed",
                text="zero points of activations: none, or some; auto: some in recurrent nets",
            ),
            **RANGES,
            **EQUALIZE,
            **MODEL,
            "smooth": number(0.95, -1.0, 1.0, "SmoothQuant's alpha for a transformer; -1 is without"),
            "bias": choice("exact", "fast", "off", text="how biases are corrected for what rounding shifts"),
        },
        "int8-weights": {"form": choice("asymmetric", "symmetric", text="with a zero point a row, or without")},
        "int4-weights": {
            "form": choice("symmetric", "asymmetric", text="without a zero point a group, or with"),
            **_FOUR_BITS,
            "gptq": flag("round by second-order error (GPTQ)"),
        },
        "nf4-weights": {**_FOUR_BITS, "gptq": flag("round by second-order error (GPTQ)")},
        "codebook-weights": _FOUR_BITS,
    }
)
NAMES = {
    "fp32": "save float IR",
    "fp16": "compress weights to float16",
    "int8": "NNCF post-training int8",
    "int8-weights": "int8 weights, computed in float",
    "int4-weights": "int4 weights, computed in float",
    "nf4-weights": "NF4 weights, computed in float",
    "codebook-weights": "4-bit codebook weights, computed in float",
}
_FOUR = frozenset({"int4-weights", "nf4-weights", "codebook-weights"})


def calibrated(precision: Precision) -> bool:
    """Whether it looks at activations: int8, and four-bit weights that are fitted to them."""
    return looks_at_activations({"name": precision.name, **precision.values})


def looks_at_activations(asked: Json) -> bool:
    """Say the same of a precision as a job is given it."""
    fitted = any(asked.get(one) for one in ("awq", "scales", "gptq"))
    return asked["name"] == "int8" or fitted or asked.get("ratio", 1.0) != 1.0


def quantized(model: Model, asked: Json, samples: Sequence[Mapping[str, Array]], seed: int, floats: list[str]) -> Model:
    """Return a model in int8, activations too, but for the layers `floats`.

    Raises:
        UnsupportedError: if NNCF cannot.
        ConverterMissingError: if NNCF is not installed.
    """
    nncf = library(seed)
    from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    # Chosen by measurement over five nets: true minima and maxima with exact bias correction lose about
    # a tenth of the error power of NNCF's defaults (KWS 31 against 22 dB, ResNet8 24 against 12 dB).
    advanced = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        disable_bias_correction=asked["bias"] == "off",
        smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=asked["smooth"]),
    )
    transformer = asked["model"] == "transformer" or (asked["model"] == "auto" and has_attention(model))
    return _tried(
        lambda: nncf.quantize(
            model,
            nncf.Dataset(list(samples)),
            preset=nncf.QuantizationPreset(_preset(model, asked)),
            target_device=nncf.TargetDevice.CPU,
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            subset_size=len(samples),
            fast_bias_correction=asked["bias"] != "exact" or transformer or has_branches(model),
            ignored_scope=nncf.IgnoredScope(names=floats) if floats else None,
            advanced_parameters=advanced,
        ),
        "quantize",
    )


def compressed(
    model: Model, asked: Json, samples: Sequence[Mapping[str, Array]], seed: int, floats: list[str]
) -> Model:
    """Return a model whose weights alone are stored in few bits.

    Raises:
        UnsupportedError: if NNCF cannot.
        ConverterMissingError: if NNCF is not installed.
    """
    nncf = library(seed)
    form = {"symmetric": "sym", "asymmetric": "asym"}.get(asked.get("form", ""), "")
    mode = {
        "int8-weights": f"int8_{form}", "int4-weights": f"int4_{form}", "nf4-weights": "nf4", "codebook-weights": "cb4",
    }[asked["name"]]  # fmt: skip
    four: dict[str, Any] = {}
    if asked["name"] in _FOUR:
        four = {
            "group_size": asked["group"], "ratio": asked["ratio"], "all_layers": asked["all"], "awq": asked["awq"],
            "scale_estimation": asked["scales"], "gptq": asked.get("gptq", False),
            # rows that no group fits into share one scale instead of ending the whole run
            "advanced_parameters": nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
            ),
        }  # fmt: skip
    return _tried(
        lambda: nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode(mode),
            ignored_scope=nncf.IgnoredScope(names=floats) if floats else None,
            dataset=nncf.Dataset(list(samples)) if samples else None,
            **{name: value for name, value in four.items() if value is not False},
        ),
        "compress",
    )


def library(seed: int) -> Any:  # noqa: ANN401  # NNCF has no types
    """Return NNCF, its generators seeded.

    Raises:
        ConverterMissingError: if it is not installed.
    """
    try:
        import nncf
    except ImportError as exc:
        raise missing("NNCF", "openvino") from exc
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the generator NNCF draws from
    return nncf


def batches(samples: Mapping[str, Array], inputs: Sequence[TensorSpec]) -> list[dict[str, Array]]:
    """Return what NNCF is shown, run by run."""
    return list(itertools.islice(runs(samples, inputs), _MAX_SAMPLES)) if samples else []


def has_attention(model: Model) -> bool:
    """Whether a model multiplies with what a Softmax gives: attention."""
    return any(
        taker.get_node().get_type_name() == "MatMul"
        for one in model.get_ops()
        if one.get_type_name() == "Softmax"
        for taker in one.output(0).get_target_inputs()
    ) or any(one.get_type_name() == "ScaledDotProductAttention" for one in model.get_ops())


def _preset(model: Model, asked: Json) -> str:
    """Return NNCF's preset; recurrent nets lose nearly everything without zero points (an LSTM: 1.4 dB, not 20)."""
    if asked["preset"] != "auto":
        return str(asked["preset"])
    return "mixed" if any(_RECURRENT.search(one.get_type_name()) for one in model.get_ops()) else "performance"


def has_branches(model: Model) -> bool:
    """Whether a model has an If, which NNCF's exact bias correction does not take."""
    return any(one.get_type_name() == "If" for one in model.get_ops())


def _tried(make: Any, what: str) -> Model:  # noqa: ANN401
    try:
        return make()
    except ConversionError:
        raise
    except Exception as exc:
        raise UnsupportedError(f"NNCF cannot {what} the model: {last_line(exc)}") from exc
