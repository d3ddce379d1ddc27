"""Run a model on samples and look at values inside it, batch after batch, so that memory stays that of a batch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.data import runs
from edgekit_converters.errors import CalibrationError, DeadlineError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import run_session, session
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

_BATCH = 8  # of models whose batch is free


def observe(
    model: "ir.Model", names: Sequence[str], arrays: Arrays, file: Path, batch: int = _BATCH
) -> Iterator[dict[str, Array]]:
    """Yield the values of those names on every batch of the samples.

    Args:
        model: the canonical graph; it is not changed.
        names: values of its main graph.
        arrays: samples as `data.bind` gives them.
        file: where the model with these outputs is written: a scratch file.
        batch: how many samples a run takes where the model leaves it free.

    Raises:
        CalibrationError: if the model stops on the samples.
        ModelFileError: if ONNX Runtime does not take the model.
    """
    from onnx_ir.passes import common

    if not names:
        return
    inputs = graph_model.specs(graph_model.inputs_of(model))
    opened = model.clone()
    made = {value.name: value for node in opened.graph for value in node.outputs}
    made |= {value.name: value for value in opened.graph.inputs}
    opened.graph.outputs.clear()
    opened.graph.outputs.extend(made[name] for name in names)
    common.RemoveUnusedNodesPass()(opened)  # what is not looked at is not run
    graph_model.save(opened, file)
    ready = session(file)
    for feed in runs(arrays, inputs, batch):
        yield values_of(ready, names, feed)


def values_of(ready: Any, names: Sequence[str], feed: Arrays) -> dict[str, Array]:  # noqa: ANN401  # an InferenceSession
    """Return the outputs of those names of one run on calibration data.

    Raises:
        CalibrationError: if the model stops on it.
        DeadlineError: if the run does not end.
    """
    try:
        found = run_session(ready, names, feed)
    except DeadlineError:
        raise
    except Exception as exc:  # its exceptions have no common base
        raise CalibrationError(f"calibration data: ONNX Runtime stops on it: {first_line(exc)}") from exc
    return {name: np.asarray(one) for name, one in zip(names, found, strict=True)}
