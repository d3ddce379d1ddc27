"""Control flow that is known beforehand, replaced by the nodes it runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit_converters.model import Array


def fold(proto: Any, constants: Mapping[str, Array], run: Mapping[str, Array]) -> tuple[bool, list[str]]:  # noqa: ANN401, ARG001  # an onnx.ModelProto
    """Replace every `If` on a constant by the branch it takes, in place.

    Returns:
        Whether anything changed, and warnings.
    """
    nodes, changed = [], False
    for index, node in enumerate(proto.graph.node):
        if node.op_type == "If" and node.input[0] in constants:
            nodes += inline_if(node, taken=bool(np.ravel(constants[node.input[0]])[0]), prefix=f"{index}")
            changed = True
        else:
            nodes.append(node)
    if changed:
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
    return changed, []


def inline_if(node: Any, *, taken: bool, prefix: str) -> list[Any]:  # noqa: ANN401  # an onnx.NodeProto -> NodeProtos
    """Return the nodes of a branch, its values renamed so that they are unique."""
    import onnx

    name = "then_branch" if taken else "else_branch"
    branch = next(one.g for one in node.attribute if one.name == name)
    inside = {one for inner in branch.node for one in inner.output} | {one.name for one in branch.initializer}
    renamed = {one: f"{node.name or node.output[0]}/{prefix}/{one}" for one in inside}
    made = [onnx.helper.make_node("Constant", [], [renamed[one.name]], value=one) for one in branch.initializer]
    for inner in branch.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        _rename(copy, renamed)
        made.append(copy)
    for value, output in zip(branch.output, node.output, strict=True):
        made.append(onnx.helper.make_node("Identity", [renamed.get(value.name, value.name)], [output]))
    return made


def _rename(node: Any, renamed: Mapping[str, str]) -> None:  # noqa: ANN401  # an onnx.NodeProto
    """Rename values in a node and in the graphs inside it."""
    for names in (node.input, node.output):
        names[:] = [renamed.get(one, one) for one in names]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                _rename(inner, renamed)
            for value in attribute.g.output:
                value.name = renamed.get(value.name, value.name)
