"""What a SavedModel says of itself, and a run of its own function (inside a job: TensorFlow is loaded)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.frontends.files import SAVED_MODEL
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.model import Array, Arrays, TensorSpec
from edgekit_converters.tflite_file import SIGNATURE

Graph = Any  # protobufs and graphs of TensorFlow, which has no types

_TAG = "serve"
# Operators that reach outside the model: into Python, files, or libraries.
_OUTSIDE = frozenset(
    {
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "PrintV2",
        "Print",
        "DebugIdentityV2",
    }
)


@dataclass(frozen=True, slots=True)
class Described:
    """Inputs and outputs in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def describe(folder: Path) -> Described:
    """Read the signature `serving_default`.

    A signature is a set, so its names are put in their natural order (`output_2` before `output_10`).

    Raises:
        ModelFileError: if the folder is damaged or has no such signature.
        UnsupportedError: if an operator reaches outside the model, or a rank is not known.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    parsed = saved_model_pb2.SavedModel()
    try:
        parsed.ParseFromString((folder / SAVED_MODEL).read_bytes())
    except DecodeError as exc:
        raise ModelFileError(f"the SavedModel '{folder}' is truncated or damaged") from exc
    graphs = [one for one in parsed.meta_graphs if _TAG in one.meta_info_def.tags]
    if not graphs:
        raise ModelFileError(f"the SavedModel '{folder}' has no graph tagged '{_TAG}'")
    signatures = graphs[0].signature_def
    if SIGNATURE not in signatures:
        error = ModelFileError(f"the SavedModel '{folder}' has no signature '{SIGNATURE}'")
        error.add_note(f"it has: {', '.join(sorted(signatures)) or 'none'}")
        raise error
    for node in _nodes(graphs[0].graph_def):
        if node.op in _OUTSIDE:
            raise UnsupportedError(f"op '{node.op}' (node '{node.name}') reaches outside the model and is not run")
    signature = signatures[SIGNATURE]
    return Described(_specs(signature.inputs), _specs(signature.outputs))


def run(folder: Path, described: Described, arrays: Arrays | None) -> tuple[list[Array], int]:
    """Load the SavedModel's own function and run the samples through it.

    A version 1 session reads models that `tf.saved_model.load` does not (old optimizer slots).

    Returns:
        The outputs [N, ...] in order (none without samples), and the number of values in the variables
        that the outputs depend on.

    Raises:
        ModelFileError: if the variables are missing or damaged.
    """
    import tensorflow as tf

    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        try:
            signature = tf.compat.v1.saved_model.load(session, [_TAG], str(folder)).signature_def[SIGNATURE]
        except (tf.errors.OpError, OSError, ValueError, RuntimeError) as exc:
            raise ModelFileError(f"the SavedModel '{folder}' cannot be loaded: {first_line(exc)}") from exc
        feeds = {name: info.name for name, info in signature.inputs.items()}
        fetches = [signature.outputs[spec.name].name for spec in described.outputs]

        def call(batch: dict[str, Array]) -> Sequence[Array]:
            made: list[Array] = session.run(fetches, {feeds[name]: array for name, array in batch.items()})
            return made

        outputs = run_samples(call, arrays, described.inputs) if arrays is not None else []
        return outputs, _parameters([graph.get_tensor_by_name(name).op for name in fetches])


def _parameters(waiting: list[Graph]) -> int:
    seen, total = set(waiting), 0
    while waiting:
        op = waiting.pop()
        if op.type == "VarHandleOp":
            total += prod(dim.size for dim in op.get_attr("shape").dim)
        fresh = {one.op for one in op.inputs} - seen
        seen |= fresh
        waiting += fresh
    return total


def _nodes(graph: Graph) -> Iterator[Graph]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _specs(infos: Graph) -> tuple[TensorSpec, ...]:
    return tuple(_spec(name, infos[name]) for name in sorted(infos, key=_natural))


def _spec(name: str, info: Graph) -> TensorSpec:
    import tensorflow as tf

    if info.tensor_shape.unknown_rank:
        raise UnsupportedError(f"'{name}' has no known number of dimensions")
    shape = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return TensorSpec(name=name, shape=shape, dtype=tf.dtypes.as_dtype(info.dtype).name)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
