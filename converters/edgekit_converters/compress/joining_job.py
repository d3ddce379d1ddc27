"""The job of `edgekit.join`: read two models, join them, prove that they compute what they did, write the file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit_converters._exchange import specs_to_json
from edgekit_converters.calibration import random_calibration
from edgekit_converters.compress.figures import infer_shapes, static_figures
from edgekit_converters.compress.joining import Names, align, join_graphs, wires_by_default
from edgekit_converters.data import runs
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import run_session, session
from edgekit_converters.graph.proof import prove
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

_PROVED_ON = 2  # samples


def run(request: Json) -> Json:
    """Join `first` and `second` and write `output`; see `edgekit.join` for the errors."""
    output, work = Path(request["output"]), Path(request["work"])
    first, second = align(*(_read(Path(request[side])) for side in ("first", "second")))
    chain, share = request["chain"], request["share"]
    if not chain and not share:
        chain = wires_by_default(first, second)
    sides = (work / "first.onnx", work / "second.onnx")
    for model, path in zip((first, second), sides, strict=True):
        graph_model.save(model, path)
    names = join_graphs(first, second, chain, share, request["prefix"])
    infer_shapes(first)
    _write(first, output)
    inputs, outputs = (graph_model.specs(one) for one in (graph_model.inputs_of(first), list(first.graph.outputs)))
    prove("the joined model", _one_by_one(sides, names, inputs, outputs), _run(output, inputs, outputs))
    return {
        "chain": dict(chain),
        "share": dict(share),
        "inputs": specs_to_json(inputs),
        "outputs": specs_to_json(outputs),
        **static_figures(first, output),
    }


def _read(path: Path) -> "ir.Model":
    from onnx_ir.passes import common

    model = graph_model.load(path)
    common.InlinePass()(model)
    common.RemoveInitializersFromInputsPass()(model)
    infer_shapes(model)
    return model


def _write(model: "ir.Model", output: Path) -> None:
    import onnx

    graph_model.save(model, output)
    try:
        onnx.checker.check_model(str(output), full_check=True)
        graph_model.load(output)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ModelFileError) as exc:
        raise UnsupportedError(f"the two models make no valid one: {first_line(exc)[:300]}") from exc


def _feeds(inputs: Sequence[TensorSpec]) -> Iterator[dict[str, Array]]:
    return runs(random_calibration(inputs, 0, _PROVED_ON), inputs, _PROVED_ON)


def _run(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> list[dict[str, Array]]:
    """Return what the joined model makes of random samples."""
    ready, names = session(path), [one.name for one in outputs]
    return [dict(zip(names, run_session(ready, names, feed), strict=True)) for feed in _feeds(inputs)]


def _one_by_one(
    sides: tuple[Path, Path], names: Names, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> list[dict[str, Array]]:
    """Return what the two models make of the same samples, one after the other."""
    found, wanted = [], {one.name for one in outputs}
    first, second = (session(path) for path in sides)
    takes = [one.name for one in first.get_inputs()]
    gives = [one.name for one in first.get_outputs()]
    for feed in _feeds(inputs):
        known = {
            **feed,
            **dict(zip(gives, run_session(first, gives, {name: feed[name] for name in takes}), strict=True)),
        }
        given = {name: known[now] for name, now in names.inputs.items()}
        made = run_session(second, list(names.outputs), given)
        known |= dict(zip(names.outputs.values(), made, strict=True))
        found.append({name: known[name] for name in wanted})
    return found
