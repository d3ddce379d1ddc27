"""Static int8: where each engine wants QuantizeLinear and DequantizeLinear, written by ONNX Runtime's quantizer."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit_converters.backends.onnx_graph import opset_of
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph.oracle import Oracle
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array
from edgekit_converters.ranges import Range, Ranges, observe, unmasked

Proto = Any  # ONNX's messages have no types
Feeds = Mapping[str, Array]

OPSET = 13
"""The first with a scale a channel."""
WIDE_OPSET = 21
"""The first with 16 bits."""
_MULTIPLY = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """What ONNX Runtime's quantizer is told for an engine."""

    activations: str
    ops: Sequence[str]
    options: Mapping[str, object] = field(default_factory=dict)


def seen(model: Proto, runs: Sequence[Feeds], asked: Json) -> dict[str, Range]:
    """Return the range of every float value of the main graph over the runs of calibration data."""
    oracle, masked = Oracle(model), _only_softmax(model)

    def values() -> Iterable[Mapping[Any, Array]]:
        for feeds in runs:
            found = {name: one for name, one in oracle.values(feeds).items() if one.dtype == np.float32}
            yield found | {name: unmasked(found[name], axis) for name, axis in masked.items() if name in found}

    levels = 1 << int(asked["activations"])
    found = observe(Ranges(asked["ranges"], asked["percentile"]), values).found(levels)
    return {str(name): limits for name, limits in found.items()}


def _only_softmax(model: Proto) -> dict[str, int]:
    """Return the values that Softmax and nothing else takes, with its axis."""
    takers: dict[str, list[Proto]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    return {
        name: next((one.i for one in nodes[0].attribute if one.name == "axis"), -1)
        for name, nodes in takers.items()
        if len(nodes) == 1 and nodes[0].op_type == "Softmax"
    }


def quantized(model: Proto, asked: Json, ranges: Mapping[str, Range], floats: Collection[str]) -> Proto:
    """Return the model in the form of the engine `asked["for"]`, but for nodes named in `floats`.

    Raises:
        UnsupportedError: if ONNX Runtime's quantizer cannot, or the model's opset has no such form.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    if opset_of(model) < OPSET:
        raise UnsupportedError(
            f"a scale a channel needs opset {OPSET}, and the model of opset {opset_of(model)} cannot be raised to it"
        )
    form = _FORMS[asked["for"]](model, asked)
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    left = [*floats, *_without_range(model, ranges)]
    if asked["for"] == "tensorrt":
        left += _bias_sums(model)
    activations = getattr(QuantType, form.activations)
    try:
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=asked["reduce-range"],
            weight_qType=QuantType.QInt8,
            activation_qType=activations,
            tensors_range=data,
            nodes_to_quantize=[],
            nodes_to_exclude=left,
            op_types_to_quantize=form.ops,
            extra_options=dict(form.options),
        )
        quantizer.quantize_model()
    except Exception as exc:
        raise UnsupportedError(f"ONNX Runtime's quantizer cannot quantize the model: {first_line(exc)}") from exc
    return quantizer.model.model


def _ort(_model: Proto, asked: Json) -> _Form:
    from onnxruntime.quantization.registry import QLinearOpsRegistry

    _only_eight(asked)
    return _Form(activations="QUInt8", ops=[*QLinearOpsRegistry, "Slice"])  # what it has integer kernels for


def _tensorrt(_model: Proto, asked: Json) -> _Form:
    _only_eight(asked)
    ops = [*_MULTIPLY, "Add"]
    return _Form(
        activations="QInt8",
        ops=ops,
        options={
            "ActivationSymmetric": True,
            "QuantizeBias": False,
            "DedicatedQDQPair": True,
            "OpTypesToExcludeOutputQuantization": ops,
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
        },
    )


def _qnn(model: Proto, asked: Json) -> _Form:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    activations = {"8": "QUInt8", "16": "QUInt16"}[asked["activations"]]
    config = get_qnn_qdq_config(
        model,
        None,
        activation_type=getattr(QuantType, activations),
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    return _Form(activations=activations, ops=config.op_types_to_quantize, options=config.extra_options)


_FORMS: Mapping[str, Callable[[Proto, Json], _Form]] = {"ort": _ort, "tensorrt": _tensorrt, "qnn": _qnn}


def _only_eight(asked: Json) -> None:
    if asked["activations"] != "8":
        raise UnsupportedError(f"16 bits of activations are for QNN: for={asked['for']} takes 8")


def _without_range(model: Proto, ranges: Collection[str]) -> list[str]:
    """Return the nodes with a float value that had no usable number in any run: they cannot be quantized."""
    import onnx

    known = onnx.shape_inference.infer_shapes(model).graph
    floats = {
        one.name
        for one in (*known.input, *known.value_info, *known.output)
        if one.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    blank = floats - set(ranges) - {one.name for one in model.graph.initializer}
    return [node.name for node in model.graph.node if blank & {*node.input, *node.output}]


def _bias_sums(model: Proto) -> list[str]:
    """Return the sums with a constant: a bias in its own node, which TensorRT keeps in float."""
    constant = {one.name for one in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "Add" and constant & set(node.input)]
