"""Whether every part of a `.tflite` file that TensorFlow Lite's `schema.fbs` names lies inside the file.

tflite-runtime 2.14 follows offsets without looking: a file that was cut ends its process.
"""

from collections.abc import Mapping
from types import MappingProxyType

from edgekit_agent.runtimes._flatbuffer import Table

# field number -> bytes an item of a vector (or string), or the name of a table, or [name] of a vector of tables
_TABLES: Mapping[str, Mapping[int, int | str | tuple[str]]] = MappingProxyType(
    {
        "Model": {
            1: ("OperatorCode",),
            2: ("SubGraph",),
            3: 1,
            4: ("Buffer",),
            5: 4,
            6: ("Named",),
            7: ("SignatureDef",),
        },
        "OperatorCode": {1: 1},
        "SubGraph": {0: ("Tensor",), 1: 4, 2: 4, 3: ("Operator",), 4: 1},
        "Tensor": {0: 4, 3: 1, 4: "Quantization", 6: "Sparsity", 7: 4, 9: ("Shaped",)},
        "Quantization": {0: 4, 1: 4, 2: 4, 3: 8, 5: "Plain"},
        "Sparsity": {0: 4, 1: 4, 2: ("Dimension",)},
        "Dimension": {3: "Plain", 5: "Plain"},
        "Operator": {1: 4, 2: 4, 4: "Plain", 5: 1, 7: 1, 8: 4, 12: "Plain"},
        "SignatureDef": {0: ("Named",), 1: ("Named",), 2: 1},
        "Buffer": {0: 1},
        "Named": {0: 1},
        "Shaped": {0: 4},
        "Plain": {},
    }
)
_OPERATOR_CODES, _SUBGRAPHS, _BUFFERS, _SIGNATURES = 1, 2, 4, 7  # of Model
_SIGNED_INPUTS, _SIGNED_OUTPUTS, _SIGNED_GRAPH = 0, 1, 4  # of SignatureDef
_SIGNED_TENSOR = 1  # of TensorMap
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 0, 1, 2, 3  # of SubGraph
_BUFFER = 2  # of Tensor
_CODE, _TAKES, _GIVES, _OPTIONS_KIND, _OPTIONS = 0, 1, 2, 3, 4  # of Operator
_WITH_VECTOR = (17, 30)  # options of RESHAPE and SQUEEZE hold a vector of int32 as field 0
_ABSENT = -1  # an optional input that is left out


def verify(content: bytes) -> None:
    """Walk the whole file.

    Raises:
        IndexError: if a part lies outside the file, or a number names a tensor, buffer or operator that is not there.
        struct.error: the same.
    """
    model = Table.root(content)
    _walk(model, "Model")
    codes, buffers = len(model.tables(_OPERATOR_CODES)), len(model.tables(_BUFFERS))
    graphs = model.tables(_SUBGRAPHS)
    for signature in model.tables(_SIGNATURES):
        number = signature.scalar(_SIGNED_GRAPH, "I")
        _within([number], len(graphs))
        for one in [*signature.tables(_SIGNED_INPUTS), *signature.tables(_SIGNED_OUTPUTS)]:
            _within([one.scalar(_SIGNED_TENSOR, "I")], len(graphs[number].tables(_TENSORS)))
    for graph in graphs:
        tensors = graph.tables(_TENSORS)
        for tensor in tensors:
            _within([tensor.scalar(_BUFFER, "I")], buffers)
        _within([*graph.numbers(_INPUTS, "i"), *graph.numbers(_OUTPUTS, "i")], len(tensors))
        for operator in graph.tables(_OPERATORS):
            _operator(operator, codes, len(tensors))


def _walk(table: Table, name: str) -> None:
    table.check()
    for field, kind in _TABLES[name].items():
        if isinstance(kind, int):
            table.span(field, kind)
        elif isinstance(kind, tuple):
            for one in table.tables(field):
                _walk(one, kind[0])
        elif (inner := table.table(field)) is not None:
            _walk(inner, kind)


def _operator(operator: Table, codes: int, tensors: int) -> None:
    _within([operator.scalar(_CODE, "I")], codes)
    named = [*operator.numbers(_TAKES, "i"), *operator.numbers(_GIVES, "i")]
    _within([index for index in named if index != _ABSENT], tensors)
    options = operator.table(_OPTIONS)
    if options is not None and operator.scalar(_OPTIONS_KIND, "B") in _WITH_VECTOR:
        options.span(0, 4)


def _within(indices: list[int], count: int) -> None:
    if any(not 0 <= index < count for index in indices):
        raise IndexError
