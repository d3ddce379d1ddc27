"""Coral's Edge TPU: 8 bit integers, fixed shapes, and a list of ops; what follows the first other op runs on the CPU.

The list and its limits are those of the Coral documentation (TensorFlow models on the Edge TPU, supported operations).
"""

from collections.abc import Collection, Iterator, Sequence

from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.nodes import Node
from edgekit_converters.compat.rules.free_shapes import free_inputs
from edgekit_converters.tflite_file import Tensor

SOURCE = "Coral documentation, TensorFlow models on the Edge TPU: supported operations"
COMPILED = "CUSTOM:edgetpu-custom-op"
_OPS = frozenset(
    [
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "EXPAND_DIMS",
        "FULLY_CONNECTED",
        "L2_NORMALIZATION",
        "LOGISTIC",
        "MAX_POOL_2D",
        "MAXIMUM",
        "MEAN",
        "MINIMUM",
        "MUL",
        "PACK",
        "PAD",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "RSQRT",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "SQUARED_DIFFERENCE",
        "TANH",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    ]
)
_NO_FUSED = frozenset({"AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"})
_INTEGERS = frozenset({"int8", "uint8"})
_LONG_SIDES = 3
_SOFTMAX_VALUES = 16_000


def judge(nodes: Sequence[Node]) -> list[Finding]:
    """Return a finding for each node that keeps itself and what follows from the Edge TPU."""
    free = free_inputs(nodes, SOURCE)
    taken = {one.name for node in nodes for one in node.inputs if one is not None}
    return free + [
        Finding(status=Status.FAILS, kind=Kind.RULE, source=SOURCE, reason=reason, advice=_advice(node)).at(node)
        for node in nodes
        if node.op != COMPILED
        and not _at_the_end(node, taken)
        and (reason := next(_reasons(node, free=bool(free)), ""))
    ]


def _at_the_end(node: Node, taken: Collection[str]) -> bool:
    """Whether a node gives real values to the outside: it runs on the CPU, and nothing is left to follow it there."""
    return node.op == "DEQUANTIZE" and not any(one is not None and one.name in taken for one in node.outputs)


def _advice(node: Node) -> str:
    if node.op in _OPS and "float" in node.types:
        return "quantize it: edgekit convert --precision int8 --calib DATA"
    return "this op and all that follow it run on the CPU: move it to the end or replace it"


def _reasons(node: Node, *, free: bool) -> Iterator[str]:
    if node.op not in _OPS:
        yield "the Edge TPU does not have this op"
    values = [one for one in (*node.inputs, *node.outputs) if one is not None and _is_value(one)]
    for one in values:
        if None in one.shape and not free:
            yield f"the shape of '{one.name}' is not fixed"
        if one.dtype not in _INTEGERS and node.op != "QUANTIZE":
            yield f"it works on {one.dtype} and the Edge TPU on 8 bit integers only"
        if not one.data_bytes and sum(size > 1 for size in one.stored_shape) > _LONG_SIDES:
            yield f"a value of it has more than {_LONG_SIDES} dimensions larger than 1"
    options = node.options
    if node.op in _NO_FUSED and options.get("fusedActivationFunction", 0):
        yield "it has an activation fused into it"
    if options.get("dilationWFactor", 1) != options.get("dilationHFactor", 1):
        yield "its dilation differs between height and width"
    if node.op == "FULLY_CONNECTED" and options.get("weightsFormat", 0):
        yield "its weights are not in the default format"
    if node.op == "SOFTMAX" and values and values[0].stored_shape[-1:] > (_SOFTMAX_VALUES,):
        yield f"it takes at most {_SOFTMAX_VALUES:,} values"


def _is_value(tensor: Tensor) -> bool:
    """Whether a tensor holds values of the model: shapes, axes and integer biases are not meant."""
    return not (tensor.data_bytes and tensor.dtype in {"int32", "int64"})
