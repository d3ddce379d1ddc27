"""A model made flat: no functions, no control flow that is known beforehand, every value known from a run.

Exporters leave chains of Shape, Gather and Concat, functions, and branches on things that never change. The
model is run (`oracle`); what does not depend on the inputs is a constant from there on. A branch on a
constant is replaced by the nodes it takes, and the model is run again.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import control
from edgekit_converters.graph.functions import without_functions
from edgekit_converters.graph.model import lifted
from edgekit_converters.graph.oracle import Oracle
from edgekit_converters.graph.shapes import decides_shapes
from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir

Feeds = Mapping[str, Array]
_ROUNDS = 20
# Their outputs depend on shapes alone.
SHAPE_OPS = frozenset({"Shape", "Size"})
_NOT_CONSTANT = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """A flat model: `runs` are all values of each run, `weights` and the initializers are what it starts from."""

    proto: Any
    """An `onnx.ModelProto`; large weights are inputs."""
    weights: dict[str, Array]
    runs: tuple[dict[str, Array], ...]
    feeds: tuple[Feeds, ...]
    constants: dict[str, Array]
    """Every value that is the same in all runs and depends on no input's values."""
    shape_only: frozenset[str]
    """Values that depend on the inputs' shapes alone and differ from run to run."""
    stuck: Mapping[str, str] = field(default_factory=dict)
    """Why control flow is left, by the first output of its node."""
    warnings: tuple[str, ...] = ()

    def whole(self) -> Any:  # noqa: ANN401  # an onnx.ModelProto
        """Return the model with its large weights inside."""
        import onnx

        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        inputs = [one for one in proto.graph.input if one.name not in self.weights]
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
        proto.graph.initializer.extend(onnx.numpy_helper.from_array(one, name) for name, one in self.weights.items())
        return proto


def flatten(
    model: "ir.Model",
    trials: Iterable[Sequence[Feeds]],
    keep: Container[str],
    *,
    expand: Container[str] = (),
) -> Flat:
    """Flatten a model.

    Args:
        model: the canonical graph; it is not changed.
        trials: lists of feeds, tried in turn until the model can be run with all of a list.
        keep: op types that stay as they are; others that ONNX defines as functions are replaced by their bodies.
        expand: op types of `keep` to replace by their bodies all the same.

    Raises:
        UnsupportedError: if the model stops with every list of feeds.
        ModelFileError: if it cannot be run at all.
        DeadlineError: if a run does not end.
    """
    proto, weights = lifted(model)
    proto = without_functions(proto, lambda op: op in keep and op not in expand)
    warnings: list[str] = []
    feeds, runs = _first_that_runs(proto, weights, trials)
    wanted = [{value.name: run[value.name] for value in proto.graph.output} for run in runs]
    for _ in range(_ROUNDS):
        constants, shape_only = _told_apart(proto, weights, runs)
        folded = control.fold(proto, constants, runs)
        warnings += folded.warnings
        if not folded.changed:
            break
        proto = without_functions(proto, lambda op: op in keep and op not in expand)
        runs = _run(proto, weights, feeds)
    return Flat(
        proto=proto,
        weights=weights,
        runs=tuple(run | of_the_source for run, of_the_source in zip(runs, wanted, strict=True)),
        feeds=tuple(feeds),
        constants=constants,
        shape_only=frozenset(shape_only),
        stuck=folded.stuck,
        warnings=tuple(warnings),
    )


def _first_that_runs(
    proto: Any,  # noqa: ANN401  # an onnx.ModelProto
    weights: Mapping[str, Array],
    trials: Iterable[Sequence[Feeds]],
) -> tuple[Sequence[Feeds], list[dict[str, Array]]]:
    oracle, first = Oracle(proto), None
    for feeds in trials:
        try:
            return feeds, [oracle.values({**one, **weights}) for one in feeds]
        except UnsupportedError as exc:
            first = first or exc
    if first is None:
        raise AssertionError("there is always one list of feeds")
    raise first


def _run(proto: Any, weights: Mapping[str, Array], feeds: Sequence[Feeds]) -> list[dict[str, Array]]:  # noqa: ANN401  # an onnx.ModelProto
    oracle = Oracle(proto)
    return [oracle.values({**one, **weights}) for one in feeds]


def _told_apart(
    proto: Any,  # noqa: ANN401  # an onnx.ModelProto
    weights: Mapping[str, Array],
    runs: Sequence[Mapping[str, Array]],
) -> tuple[dict[str, Array], set[str]]:
    """Return the constants, and the values that depend on shapes alone but differ from run to run."""
    import onnx

    constants = dict(weights)
    constants |= {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer}
    shape_only: set[str] = set()
    loose: set[str] = set()  # values whose shapes may depend on what the inputs hold
    for node in proto.graph.node:
        if loose.intersection(node.input) or decides_shapes(node, lambda name: name in constants or name in shape_only):
            loose.update(node.output)
        inputs = [name for name in _used(node) if name]
        on_shapes = node.op_type in SHAPE_OPS and not loose.intersection(inputs)
        if node.op_type in _NOT_CONSTANT or not (
            on_shapes or all(name in constants or name in shape_only for name in inputs)
        ):
            continue
        for name in node.output:
            found = [run[name] for run in runs if name in run]
            if not found:
                continue
            if all(_same(found[0], other) for other in found[1:]):
                constants[name] = found[0]
            else:
                shape_only.add(name)
    return constants, shape_only


def _used(node: Any) -> list[str]:  # noqa: ANN401  # an onnx.NodeProto
    """Return a node's inputs, and what the graphs inside it take from around it."""
    names = list(node.input[:1] if node.op_type == "CastLike" else node.input)  # of the other only the type matters
    for attribute in node.attribute:
        if attribute.HasField("g"):
            graph = attribute.g
            inner = {name for one in graph.node for name in one.output}
            inner |= {one.name for one in (*graph.input, *graph.initializer)}
            names += [name for one in graph.node for name in _used(one) if name not in inner]
            names += [value.name for value in graph.output if value.name not in inner]
    return names


def _same(left: Array, right: Array) -> bool:
    return left.shape == right.shape and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
