"""Run a model with every value as an output: what shapes and values it really has.

ONNX Runtime answers; where it does not know an op or an opset yet, ONNX's own reference evaluator does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.deadline import in_time
from edgekit_converters.errors import DeadlineError, ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.model import Array


class Oracle:
    """A flattened model, ready to be run."""

    def __init__(self, proto: Any) -> None:  # noqa: ANN401  # an onnx.ModelProto
        """Prepare the model; nothing of it is changed.

        Raises:
            ModelFileError: if neither ONNX Runtime nor the reference evaluator takes it.
            UnsupportedError: if it has an op of a domain of its own.
        """
        import onnx

        whole = onnx.ModelProto()
        whole.CopyFrom(proto)
        already = {value.name for value in whole.graph.output}
        every = dict.fromkeys(name for node in proto.graph.node for name in node.output if name)
        whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in every if name not in already)
        self._names = [value.name for value in whole.graph.output]
        self._session: Any = None
        try:
            self._session = session(whole)
        except ModelFileError as exc:
            self._reference = _reference(whole, exc)

    def values(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every value of one run by name, the feeds too.

        Raises:
            UnsupportedError: if the run stops.
            DeadlineError: if it does not end.
        """
        try:
            if self._session:
                outputs = run_session(self._session, None, feeds)
            else:
                outputs = in_time(lambda: self._reference.run(self._names, dict(feeds)))
        except DeadlineError:
            raise
        except Exception as exc:  # its exceptions have no common base
            raise UnsupportedError(f"the model stops when it is run: {first_line(exc)[:300]}") from exc
        known = {name: _array(one) for name, one in zip(self._names, outputs, strict=True) if one is not None}
        return {name: one for name, one in known.items() if one is not None} | dict(feeds)


def _array(value: Any) -> Array | None:  # noqa: ANN401  # what a run gives
    """Return tensors; sequences and maps are no values of a graph that is lowered."""
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic | int | float | bool) else None


def _reference(whole: Any, why: ModelFileError) -> Any:  # noqa: ANN401  # an onnx.ModelProto -> ReferenceEvaluator
    from onnx.reference import ReferenceEvaluator

    try:
        return ReferenceEvaluator(whole)
    except Exception as exc:  # its exceptions have no common base; ONNX Runtime's reason is the better one
        raise why from exc


def session(model: Any, *, optimise: bool = False) -> Any:  # noqa: ANN401  # onnx.ModelProto or path -> InferenceSession
    """Return an ONNX Runtime session on one CPU thread.

    Raises:
        ModelFileError: if ONNX Runtime does not take the model.
        UnsupportedError: if it does not have an op of a domain of its own.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its exceptions have no common base
        nodes = [] if isinstance(model, Path) else enumerate(model.graph.node)
        for index, node in nodes:
            if node.domain not in {"", "ai.onnx"} and f" {node.domain}:{node.op_type}(" in str(exc):
                raise UnsupportedError(
                    f"op '{node.op_type}' (node '{node.name or node.output[0]}' #{index}) of '{node.domain}' is nothing"
                    " ONNX Runtime has"
                ) from exc
        raise ModelFileError(f"ONNX Runtime does not take the model: {first_line(exc)[:300]}") from exc


def run_session(
    ready: Any,  # noqa: ANN401  # an InferenceSession
    names: Sequence[str] | None,
    feeds: Mapping[str, Array],
) -> list[Any]:
    """Return the outputs of one run of an ONNX Runtime session: those named, or all.

    Raises:
        DeadlineError: if it does not end.
        Exception: as ONNX Runtime raises it.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()

    def stop() -> None:
        options.terminate = True

    outputs: list[Any] = in_time(lambda: ready.run(names, dict(feeds), options), stop)
    return outputs
