"""The ops of a TFLite file as a runtime sees them: what the table of probes is keyed by.

A kernel is chosen by the op's code and version and then looks at its tensors' types and at a few facts
of structure. `Node.types` and `Node.facts` hold these; names, sizes and values do not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from edgekit_converters import tflite_file
from edgekit_converters._tflite_parser import schema
from edgekit_converters.tflite_file import Tensor

# int32 and int64 are counted as plain: a bias or an index carries a scale in one writer's files and none in another's.
_SCALED = frozenset({"int2", "int4", "int8", "uint8", "int16"})
# Ops that take or give any number of equal tensors: that number does not decide anything.
_VARIADIC = frozenset({"ADD_N", "CONCATENATION", "PACK", "SPLIT", "SPLIT_V", "STABLEHLO_CONCATENATE", "UNPACK"})
# Ops that pass on what their graphs take and give: of any number and type.
_ANY_TYPES = frozenset({"CALL_ONCE", "IF", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE", "WHILE"})
# Ops with learnt weights in second place.
WEIGHTED = frozenset(
    {
        "BATCH_MATMUL",
        "CONV_2D",
        "CONV_3D",
        "CONV_3D_TRANSPOSE",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "TRANSPOSE_CONV",
    }
)
# Elementwise ops with more than one operand, which stretch the smaller one.
_STRETCHING = frozenset(
    {
        *(
            "ADD",
            "SUB",
            "MUL",
            "DIV",
            "MAXIMUM",
            "MINIMUM",
            "POW",
            "SQUARED_DIFFERENCE",
            "FLOOR_DIV",
            "FLOOR_MOD",
            "ATAN2",
        ),
        *("BITWISE_XOR", "RIGHT_SHIFT", "LOGICAL_AND", "LOGICAL_OR", "SELECT", "SELECT_V2", "PRELU"),
        *("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"),
    }
)
# Options that name the graph an op applies to pairs of values.
_BODIES = ("updateComputationSubgraphIndex", "bodySubgraphIndex", "comparatorSubgraphIndex")
_COMMON_RANK = 4
_COMMON_ACTIVATIONS = frozenset({"NONE", "RELU", "RELU_N1_TO_1", "RELU6"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator: `graph` and `index` say where it is, `output` is the name of its first output."""

    graph: int
    index: int
    op: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    options: Mapping[str, Any]
    """Options by the schema's names, e.g. `dilationHFactor`; empty where the file has none."""
    body: tuple[str, ...] | None = None
    """Ops of the graph that a reduction or scatter applies."""

    @property
    def output(self) -> str:
        """Name of the first output."""
        first = next((one for one in self.outputs if one is not None), None)
        return "" if first is None else first.name or f"tensor_{first.index}"

    @property
    def types(self) -> str:
        """Types in and out, e.g. `float32 qint8 - > float32`: `q` is a quantized value, `-` an operand left out."""
        if self.op in _ANY_TYPES or self.op.startswith("CUSTOM:"):
            return "any"
        sides = [[_label(one) for one in tensors] for tensors in (self.inputs, self.outputs)]
        if self.op in _VARIADIC:
            sides = [list(dict.fromkeys(side)) for side in sides]
        return f"{' '.join(sides[0])} > {' '.join(sides[1])}"

    @property
    def facts(self) -> frozenset[str]:
        """Facts of structure on which kernels were seen to differ."""
        return frozenset(_facts(self))

    @property
    def key(self) -> str:
        """Types and facts as the table has them: `float32 qint8 float32 > float32 | per channel`."""
        facts = ", ".join(sorted(self.facts))
        return f"{self.types} | {facts}" if facts else self.types


def read_nodes(data: bytes, what: str) -> list[Node]:
    """Return every operator of a TFLite file; `what` names it in errors.

    Raises:
        ModelFileError: if it is not TFLite, truncated or damaged.
        ConverterMissingError: if ai-edge-litert, whose schema is used, is not installed.
    """
    file = tflite_file.parse(data, what)
    model = schema().ModelT.InitFromObj(schema().Model.GetRootAs(data, 0))
    nodes = []
    for number, (graph, raw) in enumerate(zip(file.subgraphs, model.subgraphs, strict=True)):
        for op, unpacked in zip(graph.ops, raw.operators or (), strict=True):
            found = unpacked.builtinOptions or unpacked.builtinOptions2
            options = vars(found) if found is not None else {}
            nodes.append(
                Node(
                    graph=number,
                    index=op.index,
                    op=op.name,
                    version=int(model.operatorCodes[unpacked.opcodeIndex].version),
                    inputs=op.inputs,
                    outputs=op.outputs,
                    options=options,
                    body=_body(options, file) if op.name not in _ANY_TYPES else None,
                )
            )
    return nodes


def _body(options: Mapping[str, Any], file: tflite_file.TFLiteFile) -> tuple[str, ...] | None:
    at = next((int(options[name]) for name in _BODIES if name in options), None)
    return None if at is None or not 0 <= at < len(file.subgraphs) else tuple(op.name for op in file.subgraphs[at].ops)


def _label(tensor: Tensor | None) -> str:
    if tensor is None:
        return "-"
    return f"q{tensor.dtype}" if tensor.quantization is not None and tensor.dtype in _SCALED else tensor.dtype


def _facts(node: Node) -> list[str]:
    known = [one for one in (*node.inputs, *node.outputs) if one is not None]
    rank = max((len(one.stored_shape) for one in known), default=0)
    facts = []
    if rank > _COMMON_RANK:
        shapes = {one.stored_shape for one in node.inputs if one is not None and prod(one.stored_shape) > 1}
        facts.append(f"rank {rank}" + (" broadcast" if node.op in _STRETCHING and len(shapes) > 1 else ""))
    if node.op in WEIGHTED and len(node.inputs) > 1 and (weights := node.inputs[1]) is not None:
        facts += _weight_facts(node, weights)
    activation = _activation(node)
    if activation not in _COMMON_ACTIVATIONS:
        facts.append(f"fused {activation}")
    if node.body is not None:
        facts.append(f"body {' '.join(node.body)}".rstrip())
    if node.op == "REVERSE_V2" and len(node.inputs) > 1 and (axes := node.inputs[1]) is not None and axes.elements > 1:
        facts.append("several axes")
    if any(one.dtype == "int16" and one.quantization and any(one.quantization.zero_point) for one in known):
        facts.append("int16 zero point")
    return facts


def _weight_facts(node: Node, weights: Tensor) -> list[str]:
    facts = []
    if not weights.data_bytes:
        facts.append("weights at run time")
    if weights.quantization is not None:
        if len(weights.quantization.scale) > 1:
            facts.append("per channel")
        if weights.dtype != "uint8" and any(weights.quantization.zero_point):
            facts.append("asymmetric weights")
    image = node.inputs[0]
    if node.op == "CONV_2D" and image is not None and image.stored_shape[-1:] != weights.stored_shape[-1:]:
        facts.append("grouped")
    return facts


def _activation(node: Node) -> str:
    number = node.options.get("fusedActivationFunction", 0)
    names = vars(schema().ActivationFunctionType).items()
    return next((str(name) for name, value in names if value == number), f"activation {number}")
