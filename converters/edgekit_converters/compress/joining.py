"""Two models as one graph: outputs of the first go into inputs of the second, or both take the same inputs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

Wires = Mapping[str, str]
"""Names in the first model by the names of the second's inputs."""
Sizes = dict[str, "int | str"]
"""What names of free dimensions stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the second model's inputs and outputs are called in the one of both, by what they were called."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def join_graphs(first: "ir.Model", second: "ir.Model", chain: Wires, share: Wires, prefix: str) -> Names:
    """Make the first model, in place, the two of them; the second one is used up.

    The inputs are the first one's and those of the second that are not wired; the outputs those of the first that the
    second does not take, and the second's.

    Args:
        first: a model without functions of its own.
        second: likewise, of the same opsets (`align`).
        chain: outputs of the first by the inputs of the second that take them.
        share: inputs of the first by the inputs of the second that are the same.
        prefix: goes before those of the second's names that the first one has too.

    Raises:
        UnsupportedError: if there is no such input or output, or shapes or dtypes do not fit.
    """
    wires = _wires(first, second, chain, share)
    inputs = {str(one.name): one for one in graph_model.inputs_of(second)}
    outputs = [str(one.name) for one in second.graph.outputs]
    _agree_on_sizes(first, second, wires)
    nodes, ends, stored = _taken_apart(second)
    _rename(first, (*nodes,), (*inputs.values(), *ends, *stored), prefix)
    sources = {id(into): source for into, source in wires}
    for into, source in wires:
        into.replace_all_uses_with(source)
    ends = [sources.get(id(one), one) for one in ends]  # an input that is handed on as it is
    for value in stored:
        first.graph.register_initializer(value)
    first.graph.extend(nodes)
    first.graph.inputs.extend(one for one in inputs.values() if id(one) not in sources)
    chained = {id(sources[id(inputs[name])]) for name in chain} | {id(one) for one in ends}
    kept = [one for one in first.graph.outputs if id(one) not in chained]
    first.graph.outputs.clear()
    first.graph.outputs.extend([*kept, *ends])
    return Names(
        inputs={name: str(sources.get(id(one), one).name) for name, one in inputs.items()},
        outputs={name: str(one.name) for name, one in zip(outputs, ends, strict=True)},
    )


def wires_by_default(first: "ir.Model", second: "ir.Model") -> dict[str, str]:
    """Return how to chain two models when nothing is said: by name, or the only output into the only input.

    Raises:
        UnsupportedError: if neither is to be had; names what there is.
    """
    made = [str(one.name) for one in first.graph.outputs]
    taken = [str(one.name) for one in graph_model.inputs_of(second)]
    same = {name: name for name in taken if name in made}
    if same:
        return same
    if len(made) == len(taken) == 1:
        return {taken[0]: made[0]}
    exc = UnsupportedError(
        f"which output goes into which input is not clear: the first model gives {', '.join(made)}, the second takes"
        f" {', '.join(taken)}"
    )
    exc.add_note(f"say it: --chain {made[0]}={taken[0]}")
    raise exc


def align(first: "ir.Model", second: "ir.Model") -> "tuple[ir.Model, ir.Model]":
    """Return both models at the newer one's opset.

    Raises:
        UnsupportedError: if the older one cannot be brought there, or they need different versions of other operators.
    """
    versions = [_opset(one) for one in (first, second)]
    target = max(versions)
    first, second = (
        one if version == target else _raised(one, version, target)
        for one, version in zip((first, second), versions, strict=True)
    )
    theirs = second.graph.opset_imports
    for domain, version in first.graph.opset_imports.items():
        if domain not in ONNX and theirs.get(domain, version) != version:
            raise UnsupportedError(f"the models need versions {version} and {theirs[domain]} of the ops of '{domain}'")
    first.graph.opset_imports.update({domain: version for domain, version in theirs.items() if domain not in ONNX})
    first.ir_version = max(first.ir_version, second.ir_version)
    return first, second


def _opset(model: "ir.Model") -> int:
    return max((model.graph.opset_imports.get(domain, 0) for domain in ONNX), default=0)


def _raised(model: "ir.Model", version: int, target: int) -> "ir.Model":
    import onnx_ir as ir
    from onnx import version_converter

    try:
        return ir.serde.deserialize_model(version_converter.convert_version(ir.serde.serialize_model(model), target))
    except Exception as exc:  # its exceptions have no common base
        raise UnsupportedError(
            f"the models are of ONNX opsets {version} and {target}, and the older one cannot be brought to the newer:"
            f" {first_line(exc)[:200]}"
        ) from exc


def _wires(first: "ir.Model", second: "ir.Model", chain: Wires, share: Wires) -> "list[tuple[ir.Value, ir.Value]]":
    """Return pairs of an input of the second model and what stands for it."""
    takes = graph_model.inputs_of(second)
    twice = chain.keys() & share.keys()
    if twice:
        raise UnsupportedError(f"the second model's input '{min(twice)}' is to be chained and shared")
    found = []
    for wires, values, what in (
        (chain, list(first.graph.outputs), "output"),
        (share, graph_model.inputs_of(first), "input"),
    ):
        for into, name in wires.items():
            pair = (_named(takes, into, "the second model", "input"), _named(values, name, "the first model", what))
            _check_fits(*pair)
            found.append(pair)
    return found


def _named(values: "Sequence[ir.Value]", name: str, whose: str, what: str) -> "ir.Value":
    for one in values:
        if one.name == name:
            return one
    raise UnsupportedError(f"{whose} has no {what} '{name}'; it has: {', '.join(str(one.name) for one in values)}")


def _check_fits(into: "ir.Value", source: "ir.Value") -> None:
    what = f"'{source.name}' does not fit the second model's input '{into.name}'"
    if into.dtype != source.dtype:
        raise UnsupportedError(f"{what}: {_dtype(source)} against {_dtype(into)}")
    if into.shape is None or source.shape is None:
        return
    sizes = [graph_model.dimensions(one) for one in (source, into)]
    if len(sizes[0]) != len(sizes[1]) or any(None not in {a, b} and a != b for a, b in zip(*sizes, strict=True)):
        shown = ["x".join("?" if size is None else str(size) for size in one) or "scalar" for one in sizes]
        raise UnsupportedError(f"{what}: shape {shown[0]} against {shown[1]}")


def _dtype(value: "ir.Value") -> str:
    return "unknown" if value.dtype is None else value.dtype.name.lower()


def _agree_on_sizes(first: "ir.Model", second: "ir.Model", wires: "Sequence[tuple[ir.Value, ir.Value]]") -> None:
    """Give free dimensions that meet a fixed one its size, and those that meet each other one name."""
    ours, theirs = Sizes(), Sizes()
    for into, source in wires:
        for a, b in zip(source.shape or (), into.shape or (), strict=False):
            left, right = (size if isinstance(size, int) else size.value for size in (a, b))
            if isinstance(left, str) and isinstance(right, int):
                _settle(ours, left, right)
            elif isinstance(right, str) and left is not None:
                _settle(theirs, right, left)
    for name, size in theirs.items():
        theirs[name] = ours.get(size, size) if isinstance(size, str) else size
    for model, sizes in ((first, ours), (second, theirs)):
        for value in (*model.graph.inputs, *model.graph.outputs):
            _fix(value, sizes)


def _settle(sizes: Sizes, name: str, size: int | str) -> None:
    known = sizes.setdefault(name, size)
    if isinstance(known, int) and isinstance(size, int) and known != size:
        raise UnsupportedError(f"the free dimension '{name}' would have to be {known} and {size}")
    sizes[name] = size if isinstance(size, int) else known


def _fix(value: "ir.Value", sizes: Sizes) -> None:
    import onnx_ir as ir

    if value.shape is not None:
        given = [size if isinstance(size, int) else size.value for size in value.shape]
        value.shape = ir.Shape([sizes.get(one, one) if isinstance(one, str) else one for one in given])


def _taken_apart(model: "ir.Model") -> "tuple[list[ir.Node], list[ir.Value], list[ir.Value]]":
    """Return a model's nodes, outputs and stored tensors, which are no longer its."""
    graph = model.graph
    nodes, ends, stored = list(graph), list(graph.outputs), list(graph.initializers.values())
    graph.outputs.clear()
    graph.remove(nodes)
    graph.inputs.clear()
    graph.initializers.clear()
    return nodes, ends, stored


def _rename(first: "ir.Model", nodes: "Sequence[ir.Node]", others: "Sequence[ir.Value]", prefix: str) -> None:
    """Put the prefix before those names of the second model that the first one has too."""
    values = {*(one.name for one in _values(list(first.graph))), *first.graph.initializers}
    values |= {one.name for one in first.graph.inputs}
    names = {node.name for node in first.graph.all_nodes()}
    for value in {id(one): one for one in (*_values(nodes), *others)}.values():
        value.name = _free(str(value.name), values, prefix)
    for node in _all(nodes):
        if node.name:
            node.name = _free(node.name, names, prefix)


def _free(name: str, taken: "set[str | None]", prefix: str) -> str:
    wanted, count = name, 1
    while wanted in taken:
        wanted, count = f"{prefix}/{name}" if count == 1 else f"{prefix}{count}/{name}", count + 1
    taken.add(wanted)
    return wanted


def _all(nodes: "Sequence[ir.Node]") -> "Iterator[ir.Node]":
    """Yield nodes and those in their branches."""
    for node in nodes:
        yield node
        for graph in _branches(node):
            yield from _all(list(graph))


def _values(nodes: "Sequence[ir.Node]") -> "Iterator[ir.Value]":
    """Yield what nodes compute, and what their branches take and store."""
    for node in _all(nodes):
        yield from node.outputs
        for graph in _branches(node):
            yield from graph.inputs
            yield from graph.initializers.values()


def _branches(node: "ir.Node") -> "Iterator[ir.Graph]":
    import onnx_ir as ir

    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()
