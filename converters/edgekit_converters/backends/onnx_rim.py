"""Inputs and outputs of a quantized ONNX model as it stores them: the Q or DQ at the rim is taken away."""

from typing import Any

Proto = Any  # ONNX's messages have no types


def store_rim(model: Proto) -> list[str]:
    """Give inputs and outputs their stored dtypes in place; return the names of float ones that stay as they are."""
    kept = [one.name for one in model.graph.input if _is_float(one) and not _input(model.graph, one)]
    kept += [one.name for one in model.graph.output if _is_float(one) and not _output(model.graph, one)]
    return kept


def _input(graph: Proto, value: Proto) -> bool:
    """Take away every QuantizeLinear behind an input if nothing else takes it, and all store alike."""
    takers = [node for node in graph.node if value.name in node.input]
    alike = {tuple(node.input[1:]) for node in takers}
    if not takers or len(alike) != 1 or any(node.op_type != "QuantizeLinear" for node in takers):
        return False
    stored = {node.output[0] for node in takers}
    for node in graph.node:
        node.input[:] = [value.name if name in stored else name for name in node.input]
    for node in takers:
        graph.node.remove(node)
    value.type.tensor_type.elem_type = _stored_type(graph, takers[0])
    return True


def _output(graph: Proto, value: Proto) -> bool:
    """Give the name of an output to what is stored before its DequantizeLinear, if that is of a QuantizeLinear."""
    makers = {name: node for node in graph.node for name in node.output}
    last = makers.get(value.name)
    before = makers.get(last.input[0]) if last is not None and last.op_type == "DequantizeLinear" else None
    if last is None or before is None or before.op_type != "QuantizeLinear":
        return False
    stored, real = before.output[0], f"{value.name}/real"
    if stored in {one.name for one in graph.output}:
        return False
    taken = any(value.name in node.input for node in graph.node)
    renamed = {value.name: real, stored: value.name}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    if not taken:
        graph.node.remove(last)
    value.type.tensor_type.elem_type = _stored_type(graph, before)
    return True


def _stored_type(graph: Proto, node: Proto) -> int:
    zero_point = next(one for one in graph.initializer if one.name == node.input[2])
    return int(zero_point.data_type)


def _is_float(value: Proto) -> bool:
    import onnx

    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
