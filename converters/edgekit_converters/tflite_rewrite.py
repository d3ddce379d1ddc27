"""Rewrite a checked TFLite file: names, order and signature of its inputs and outputs, and what writers left out."""

import copy
from collections.abc import Sequence
from typing import Any

from edgekit_converters.tflite_file import IDENTIFIER, SIGNATURE

Names = Sequence[tuple[str, int]]
"""Pairs of public name and tensor index in the first graph."""

_ALIGNMENT = 16  # the schema's `force_align` of buffers, which the generated Python code leaves out


def signed(data: bytes, inputs: Names, outputs: Names, shapes: Sequence[Sequence[int]] | None = None) -> bytes:
    """Return the file with its inputs and outputs named and ordered as given.

    The tensors themselves take the public names too, for runtimes that do not read signatures. `shapes`
    are fixed shapes for every tensor of the first graph. `data` must have passed `tflite_file.parse`.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(data)
    graph = model.subgraphs[0]
    graph.inputs, graph.outputs = [at for _, at in inputs], [at for _, at in outputs]
    names = _unique([one.name.decode("utf-8", "replace") if one.name else "" for one in graph.tensors], inputs, outputs)
    for tensor, name in zip(graph.tensors, names, strict=True):
        tensor.name = name.encode()
    if shapes is not None:
        for tensor, shape in zip(graph.tensors, shapes, strict=True):
            tensor.shape, tensor.shapeSignature = list(shape), None
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs, signature.outputs = _maps(schema, inputs), _maps(schema, outputs)
    model.signatureDefs = [signature]
    return packed(model)


def completed(data: bytes) -> bytes:
    """Return a quantizer's file with what it left out and readers and runtimes need.

    That is the older field of the operator codes, the (empty) options of QUANTIZE and DEQUANTIZE, and the type of
    values that nobody takes: one part of a SPLIT in float beside others in int8 is no model LiteRT runs.
    """
    from ai_edge_litert import schema_py_generated as schema

    kinds, codes = schema.BuiltinOptions, schema.BuiltinOperator
    empty = {
        codes.QUANTIZE: (kinds.QuantizeOptions, schema.QuantizeOptionsT),
        codes.DEQUANTIZE: (kinds.DequantizeOptions, schema.DequantizeOptionsT),
    }
    model = unpacked(data)
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode = min(
            max(code.builtinCode, code.deprecatedBuiltinCode), codes.PLACEHOLDER_FOR_GREATER_OP_CODES
        )
    for op in (op for graph in model.subgraphs for op in graph.operators):
        number = model.operatorCodes[op.opcodeIndex].builtinCode
        if number in empty and op.builtinOptions is None:
            op.builtinOptionsType, op.builtinOptions = empty[number][0], empty[number][1]()
    for graph in model.subgraphs:
        _type_unused(graph, schema.TensorType.FLOAT32)
    return packed(model)


def _type_unused(graph: Any, real: int) -> None:  # noqa: ANN401  # the generated schema has no types
    for at in _unused(graph):
        op = next(one for one in graph.operators if at in one.outputs)
        parts = [graph.tensors[int(one)] for one in op.outputs]
        stored = [one for one in parts if one.type != real and one.quantization is not None]
        if graph.tensors[at].type == real and stored:
            graph.tensors[at].type, graph.tensors[at].quantization = stored[0].type, stored[0].quantization


def _unused(graph: Any) -> list[int]:  # noqa: ANN401
    """Return the computed tensors that no operator takes and that are no outputs."""
    taken = {int(at) for op in graph.operators for at in (() if op.inputs is None else op.inputs)}
    known = taken.union(map(int, graph.outputs))
    return [int(at) for op in graph.operators for at in op.outputs if int(at) not in known]


def cut(data: bytes, *, outputs: Sequence[int], inputs: Sequence[int]) -> tuple[bytes, dict[int, int]]:
    """Return the file with other outputs and with more inputs, and the tensors of the new inputs.

    Whoever took one of the tensors `inputs` takes a new tensor like it, an input of the model, instead. Operators that
    no output needs any more are left out. `data` must have passed `tflite_file.parse`.
    """
    model = unpacked(data)
    graph = model.subgraphs[0]
    made = {at: len(graph.tensors) + place for place, at in enumerate(inputs)}
    for at in inputs:
        tensor = copy.copy(graph.tensors[at])
        tensor.name = f"given_{at}".encode()
        graph.tensors.append(tensor)
    for op in graph.operators:
        op.inputs = [made.get(int(at), int(at)) for at in (() if op.inputs is None else op.inputs)]
    graph.operators = _needed(graph.operators, outputs)
    graph.inputs = [int(at) for at in graph.inputs if int(at) not in made] + list(made.values())
    graph.outputs = list(outputs)
    model.signatureDefs = []
    return packed(model), made


def showing_unused(data: bytes) -> bytes:
    """Return the file with the values that nobody takes as outputs: an interpreter has no memory for them else."""
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(data)
    graph = model.subgraphs[0]
    unused = _unused(graph)
    if not unused:
        return data
    graph.outputs = [*map(int, graph.outputs), *unused]
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            signature.outputs += _maps(schema, [(f"unused_{at}", at) for at in unused])
    return packed(model)


def _needed(operators: Sequence[Any], outputs: Sequence[int]) -> list[Any]:
    wanted, kept = set(outputs), []
    for op in reversed(operators):
        if wanted.intersection(int(at) for at in op.outputs):
            wanted.update(int(at) for at in op.inputs)
            kept.append(op)
    return kept[::-1]


def has_unique_names(names: Sequence[str]) -> bool:
    """Say whether tensors can be told apart by name, as calibration does."""
    return len(set(names)) == len(names) and all(names)


def unpacked(data: bytes) -> Any:  # noqa: ANN401  # the generated schema has no types
    """Return a checked file as the schema's objects."""
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(data))


def packed(model: Any) -> bytes:  # noqa: ANN401
    """Return the file of such objects, every buffer where runtimes want it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    for buffer in model.buffers:
        buffer.Pack = _aligned(schema, buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _maps(schema: Any, names: Names) -> list[Any]:  # noqa: ANN401  # the generated schema has no types
    maps = []
    for name, at in names:
        one = schema.TensorMapT()
        one.name, one.tensorIndex = name.encode(), at
        maps.append(one)
    return maps


def _unique(names: list[str], inputs: Names, outputs: Names) -> list[str]:
    public: dict[int, str] = {}
    for name, at in (*inputs, *outputs):
        if at not in public and name not in public.values():
            public[at] = name
    taken, result = set(public.values()), []
    for at, name in enumerate(names):
        wanted = public.get(at) or name or f"tensor_{at}"
        count = 0
        while at not in public and wanted in taken:
            count += 1
            wanted = f"{name or 'tensor'}_{at}" if count == 1 else f"{name or 'tensor'}_{at}_{count}"
        taken.add(wanted)
        result.append(wanted)
    return result


def _aligned(schema: Any, buffer: Any) -> Any:  # noqa: ANN401  # the generated schema has no types
    def pack(builder: Any) -> int:  # noqa: ANN401
        vector = None
        if buffer.data is not None and len(buffer.data):
            raw = bytes(buffer.data)
            builder.StartVector(1, len(raw), _ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))

    return pack
