"""The precisions of ONNX files, and the form of static int8 each engine documents.

- ONNX Runtime on CPU: uint8 activations with a zero point, int8 weights a channel, int32 biases
  ("Quantize ONNX models", onnxruntime.ai).
- TensorRT: int8 without zero points, weights a channel and stored as int8, biases in float, Q/DQ pairs at the inputs of
  what multiplies and of residual sums, none behind it ("Working with Quantized Types", TensorRT documentation).
- QNN: uint8 or uint16 activations with a zero point, every operator quantized, int8 weights a channel in convolutions
  and a tensor elsewhere (`get_qnn_qdq_config` of ONNX Runtime, "QNN Execution Provider").
"""

from collections.abc import Mapping
from types import MappingProxyType

from edgekit_converters.backends.shared_options import CORRECT, EQUALIZE, RANGES
from edgekit_converters.precisions import Precisions, choice, flag

ONNX: Precisions = MappingProxyType(
    {
        "fp32": {},
        "fp16": {},
        "int8": {
            "for": choice(
                "ort", "tensorrt", "qnn", text="the engine whose form it is in: ONNX Runtime on CPU, or these"
            ),
            **RANGES,
            **EQUALIZE,
            **CORRECT,
            "activations": choice("8", "16", text="bits of activations, 16 for QNN only"),
            "reduce-range": flag("weights in 7 bits: for ONNX Runtime on x86 CPUs without VNNI, whose sums saturate"),
        },
        "int8-dynamic": {},
        "int8-weights": {},
        "int4-weights": {"group": choice("64", "16", "32", "128", "256", text="values of a row that share a scale")},
    }
)
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "fp32": "copy",
        "fp16": "weights to float16, computed in float32",
        "int8": "static int8, quantize and dequantize pairs",
        "int8-dynamic": "int8 weights, activations at run time",
        "int8-weights": "int8 weights, computed in float",
        "int4-weights": "int4 weights, computed in float",
    }
)
