"""Functions replaced by their bodies: a model's own, and those by which ONNX defines some of its ops.

ONNX's inliner has a way for the latter, but stops at a node that leaves out an optional input and knows ONNX's own
domain alone. So each such node gets its body as a function of the model, which the inliner takes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.subgraphs import graphs_of

Proto = Any  # onnx's protobuf classes
_BODIES = "edgekit.bodies"
_DEEPEST = 64  # of functions inside functions


def without_functions(proto: Proto, kept: Callable[[str], bool]) -> Proto:
    """Return the model with functions replaced by their bodies, which may hold functions again.

    Args:
        proto: an onnx.ModelProto; it may be changed.
        kept: whether an op type stays as it is.

    Raises:
        UnsupportedError: if a function calls itself, or is written for an opset that it cannot be taken from.
    """
    import onnx.inliner

    for _ in range(_DEEPEST):
        _give_bodies(proto, kept)
        if not proto.functions:
            return proto
        try:
            proto = onnx.inliner.inline_local_functions(proto, convert_version=True)
        except Exception as exc:  # its exceptions have no common base
            raise UnsupportedError(f"the model's functions cannot be written out: {first_line(exc)}") from exc
        imports = [one for one in proto.opset_import if one.domain != _BODIES]
        del proto.opset_import[:]
        proto.opset_import.extend(imports)
    raise UnsupportedError(f"function '{proto.functions[0].name}' of the model cannot be written out")


def _give_bodies(proto: Proto, kept: Callable[[str], bool]) -> None:
    """Make every node that is defined by a function a call of one of the model's."""
    import onnx

    versions = {one.domain or "": one.version for one in proto.opset_import}
    versions[""] = versions.get("", versions.get("ai.onnx", 0))
    found = [(node, schema) for node in _every_node(proto.graph) if (schema := _defining(node, versions, kept))]
    if not found:
        return
    types = _types(proto)
    for node, schema in found:
        body = _body(node, schema, versions, types)
        if body is None:
            continue
        given = {one.name for one in node.attribute}
        defaults = [one.default_value for name, one in schema.attributes.items() if name not in given]
        node.attribute.extend(one for one in defaults if one.type != onnx.AttributeProto.UNDEFINED)
        body.name, body.domain = f"{node.op_type}.{len(proto.functions)}", _BODIES
        node.op_type, node.domain = body.name, _BODIES
        body.ClearField("opset_import")
        body.opset_import.extend(proto.opset_import)
        proto.functions.append(body)
    if proto.functions:
        proto.opset_import.append(onnx.helper.make_opsetid(_BODIES, 1))


def _every_node(graph: Proto) -> list[Proto]:
    """Return the nodes of a graph and of the graphs inside."""
    return [one for node in graph.node for one in (node, *(n for g in graphs_of(node) for n in _every_node(g)))]


def _defining(node: Proto, versions: Mapping[str, int], kept: Callable[[str], bool]) -> Any | None:  # noqa: ANN401  # an OpSchema
    """Return the schema of an op that ONNX defines by a function and that does not stay."""
    import onnx

    domain = "" if node.domain in ONNX else node.domain
    if domain not in versions or kept(node.op_type):
        return None
    try:
        schema = onnx.defs.get_schema(node.op_type, versions[domain], domain)
    except onnx.defs.SchemaError:
        return None
    return schema if schema.has_function or schema.has_context_dependent_function else None


def _body(node: Proto, schema: Any, versions: Mapping[str, int], types: Mapping[str, Proto]) -> Proto | None:  # noqa: ANN401  # an OpSchema
    """Return the newest body the model's opset allows; None where it depends on types that are not known."""
    import onnx

    plain = [one for one in schema.function_opset_versions if one <= versions[""]]
    dependent = [one for one in schema.context_dependent_function_opset_versions if one <= versions[""]]
    try:
        if plain:
            data = schema.get_function_with_opset_version(max(plain))
        elif dependent:
            given = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
            data = schema.get_context_dependent_function_with_opset_version(
                max(dependent), node.SerializeToString(), given
            )
        else:
            return None
    except RuntimeError:
        return None
    return onnx.FunctionProto.FromString(data) if data else None


def _types(proto: Proto) -> dict[str, Proto]:
    """Return the type of every value that ONNX's inference finds."""
    import onnx

    try:
        typed = onnx.shape_inference.infer_shapes(proto)
    except (RuntimeError, onnx.shape_inference.InferenceError):
        typed = proto
    found = {one.name: one.type for one in (*typed.graph.value_info, *typed.graph.output, *typed.graph.input)}
    for one in typed.graph.initializer:
        found.setdefault(one.name, onnx.helper.make_tensor_type_proto(one.data_type, list(one.dims)))
    return found
