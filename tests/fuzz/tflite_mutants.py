"""Broken TFLite files: changes to what the tables say, and to the bytes."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

byte_mutants = importlib.import_module("byte_mutants")  # it lies beside this file, which is no package

Random = np.random.Generator
Model = Any  # a schema.ModelT
SAMPLE = (8, 8, 3)
"""The shape of what the first source takes one of."""
NUMBERS = (0, -1, 1, 3, 127, 2**15, 2**31 - 1, -(2**31))


def sources(more: list[bytes]) -> list[bytes]:
    """Return whole models."""
    return more


def mutants(seed: int, count: int, more: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of broken models: in turn a change of the structure and one of the bytes."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        data = more[int(rng.integers(len(more)))]
        if number % 2:
            change = byte_mutants.CHANGES[int(rng.integers(len(byte_mutants.CHANGES)))]
            yield f"{number}-{change.__name__}", change(rng, data)
            continue
        alter = CHANGES[int(rng.integers(len(CHANGES)))]
        yield f"{number}-{alter.__name__}", _altered(rng, data, alter)


def _altered(rng: Random, data: bytes, alter: Callable[[Random, Model], None]) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    alter(rng, model)
    builder = flatbuffers.Builder(len(data))
    try:
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    except TypeError:  # a number that its field has no room for
        return bytes(byte_mutants.word(rng, data))
    return bytes(builder.Output())


def _one(rng: Random, many: Any) -> Any:
    return many[int(rng.integers(len(many)))]


def _number(rng: Random) -> int:
    return int(NUMBERS[int(rng.integers(len(NUMBERS)))])


def shape(rng: Random, model: Model) -> None:
    """Make a size of a tensor an extreme."""
    tensor = _one(rng, _one(rng, model.subgraphs).tensors)
    sizes = [int(one) for one in (tensor.shape if tensor.shape is not None else [])] or [1]
    sizes[int(rng.integers(len(sizes)))] = _number(rng)
    tensor.shape = sizes


def rank(rng: Random, model: Model) -> None:
    """Give a tensor sizes more or less."""
    tensor = _one(rng, _one(rng, model.subgraphs).tensors)
    sizes = [int(one) for one in (tensor.shape if tensor.shape is not None else [])]
    tensor.shape = _one(rng, [sizes[1:], [*sizes, 1], [1] * 9, []])


def free(rng: Random, model: Model) -> None:
    """Declare a tensor's sizes as free."""
    tensor = _one(rng, _one(rng, model.subgraphs).tensors)
    tensor.shapeSignature = [-1] * int(rng.integers(1, 6))


def dtype(rng: Random, model: Model) -> None:
    """Make a tensor another type."""
    _one(rng, _one(rng, model.subgraphs).tensors).type = int(rng.integers(0, 24))


def buffer(rng: Random, model: Model) -> None:
    """Let a tensor's data be another's."""
    _one(rng, _one(rng, model.subgraphs).tensors).buffer = int(rng.integers(0, len(model.buffers) + 2))


def data(rng: Random, model: Model) -> None:
    """Fill a constant with extremes: sizes, axes and indices among them."""
    filled = [one for one in model.buffers if one.data is not None and len(one.data)]
    chosen = _one(rng, filled)
    width = 4 * (len(chosen.data) // 4)
    chosen.data = np.frombuffer(np.full(width // 4, _number(rng), np.int32).tobytes(), np.uint8)


def shorter(rng: Random, model: Model) -> None:
    """Cut a constant's data."""
    chosen = _one(rng, [one for one in model.buffers if one.data is not None and len(one.data)])
    chosen.data = np.asarray(chosen.data[: int(rng.integers(0, len(chosen.data)))], np.uint8)


def wires(rng: Random, model: Model) -> None:
    """Let an operator take or make another tensor, itself made later (a cycle) or nothing among them."""
    graph = _one(rng, model.subgraphs)
    operator = _one(rng, graph.operators)
    side = _one(rng, ["inputs", "outputs"])
    indices = [int(one) for one in getattr(operator, side)]
    indices[int(rng.integers(len(indices)))] = int(rng.integers(-1, len(graph.tensors) + 1))
    setattr(operator, side, indices)


def fewer_wires(rng: Random, model: Model) -> None:
    """Take an operator's inputs or outputs away."""
    operator = _one(rng, _one(rng, model.subgraphs).operators)
    side = _one(rng, ["inputs", "outputs"])
    setattr(operator, side, [int(one) for one in getattr(operator, side)][: int(rng.integers(0, 2))])


def rim(rng: Random, model: Model) -> None:
    """Let the graph take or give another tensor, or one twice."""
    graph = _one(rng, model.subgraphs)
    side = _one(rng, ["inputs", "outputs"])
    setattr(graph, side, [int(one) for one in rng.integers(0, len(graph.tensors), size=int(rng.integers(0, 4)))])


def code(rng: Random, model: Model) -> None:
    """Make an operator another one, whose options these are not."""
    chosen = _one(rng, model.operatorCodes)
    number = int(rng.integers(0, 220))
    chosen.builtinCode, chosen.deprecatedBuiltinCode = number, min(number, 127)


def options(rng: Random, model: Model) -> None:
    """Take an operator's options away, or make a number of them an extreme."""
    chosen = _one(rng, _one(rng, model.subgraphs).operators)
    table = chosen.builtinOptions
    numbers = [] if table is None else [name for name, one in vars(table).items() if isinstance(one, int)]
    if not numbers or not rng.integers(3):
        chosen.builtinOptions, chosen.builtinOptionsType = None, 0
        return
    name = str(_one(rng, numbers))
    small = isinstance(getattr(table, name), bool) or "ctivation" in name or "adding" in name
    setattr(table, name, int(rng.integers(0, 7)) if small else _number(rng))


def scales(rng: Random, model: Model) -> None:
    """Let a tensor be quantized in a way that cannot be."""
    from ai_edge_litert import schema_py_generated as schema

    chosen = schema.QuantizationParametersT()
    chosen.scale = [float(one) for one in rng.choice([0.0, -1.0, 0.1, np.inf, np.nan], size=int(rng.integers(1, 6)))]
    chosen.zeroPoint = [_number(rng)] * int(rng.integers(0, 4))
    chosen.quantizedDimension = _number(rng)
    _one(rng, _one(rng, model.subgraphs).tensors).quantization = chosen


def names(rng: Random, model: Model) -> None:
    """Name every tensor alike, or one by what is no text."""
    for tensor in _one(rng, model.subgraphs).tensors:
        tensor.name = _one(rng, [b"same", b"same", b"\xff\xfe", b"", b"../up", b"x" * 5000])


def order(rng: Random, model: Model) -> None:
    """Put the operators into another order."""
    graph = _one(rng, model.subgraphs)
    graph.operators = [graph.operators[at] for at in rng.permutation(len(graph.operators))]


def signature(rng: Random, model: Model) -> None:
    """Let a signature name what is not there."""
    for one in model.signatureDefs or []:
        one.subgraphIndex = int(rng.integers(0, 3))
        for wire in (*(one.inputs or []), *(one.outputs or [])):
            wire.tensorIndex = int(rng.integers(0, 40))
            wire.name = _one(rng, [b"same", b"", None, b"\xff"])


CHANGES: tuple[Callable[[Random, Model], None], ...] = (
    shape, rank, free, dtype, buffer, data, shorter, wires, fewer_wires, rim, code, options, scales, names, order,
    signature,
)  # fmt: skip
