"""TFLite's GPU delegate: an op outside its list stays on the CPU, and each change of place costs copies.

The list is that of the LiteRT documentation (GPU delegates, supported ops). TensorFlow's own
`Analyzer(gpu_compatibility=True)` is not asked: it calls every model compatible.
"""

from collections.abc import Iterator, Mapping, Sequence

from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.nodes import Node
from edgekit_converters.compat.rules.free_shapes import free_inputs

SOURCE = "LiteRT documentation, GPU delegates: supported ops"
_OPS = frozenset(
    [
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "EXP",
        "FULLY_CONNECTED",
        "LOGICAL_AND",
        "LOGISTIC",
        "LSTM",
        "MAX_POOL_2D",
        "MAXIMUM",
        "MINIMUM",
        "MUL",
        "PAD",
        "PRELU",
        "RELU",
        "RELU6",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "SOFTMAX",
        "STRIDED_SLICE",
        "SUB",
        "TRANSPOSE_CONV",
    ]
)
# Values it computes in half or single precision; 8 bit models are widened to them.
_TYPES = frozenset({"float32", "float16", "int8", "uint8"})
_MAX_RANK = 4
# Ops whose other operands are read when the graph is built.
_CONSTANTS: Mapping[str, tuple[int, ...]] = {
    "PAD": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "STRIDED_SLICE": (1, 2, 3),
}


def judge(nodes: Sequence[Node]) -> list[Finding]:
    """Return a finding for each node that would stay on the CPU."""
    free = free_inputs(nodes, SOURCE)
    advice = "the rest may run on the GPU with this op on the CPU: measure it on the device"
    return free + [
        Finding(status=Status.FAILS, kind=Kind.RULE, source=SOURCE, reason=reason, advice=advice).at(node)
        for node in nodes
        if (reason := next(_reasons(node, free=bool(free)), ""))
    ]


def _reasons(node: Node, *, free: bool) -> Iterator[str]:
    if node.op == "DEQUANTIZE" and node.inputs and node.inputs[0] is not None and node.inputs[0].data_bytes:
        return  # weights in half precision: widened when the graph is built
    if node.op not in _OPS:
        yield "the delegate does not have this op"
    fixed = _CONSTANTS.get(node.op, ())
    for at, one in enumerate(node.inputs):
        if one is None or (at in fixed and one.data_bytes):
            continue
        if at in fixed:
            yield f"its operand {at} has to be a constant"
        if None in one.shape and not free:
            yield f"the shape of '{one.name}' is not fixed"
        if len(one.stored_shape) > _MAX_RANK:
            yield f"a value of it has {len(one.stored_shape)} dimensions and the delegate has at most {_MAX_RANK}"
        if one.dtype not in _TYPES and not one.data_bytes:
            yield f"it does not compute in {one.dtype}"
