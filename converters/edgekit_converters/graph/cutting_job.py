"""The job of cutting a model into stages: make it plain, cut it, and prove that the stages compute what it does."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit_converters.calibration import random_calibration
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.data import runs
from edgekit_converters.graph import cutting
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import run_session, session
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.graph.proof import prove
from edgekit_converters.jobs import Json
from edgekit_converters.layers import onnx as onnx_layers
from edgekit_converters.model import Array, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

_PROVED_ON = 4  # samples


def run(request: Json) -> Json:
    """Cut `request["model"]` into `request["stages"]` files `request["folder"]/NAME.stageN.onnx`.

    Raises:
        ModelFileError: if the file is damaged.
        UnsupportedError: if it cannot be cut into as many, or the stages compute something else.
    """
    model = graph_model.load(Path(request["model"]))
    make_plain(model)
    infer_shapes(model)
    found = cutting.stages(model, int(request["stages"]), _work(model))
    folder, name = Path(request["folder"]), request["name"]
    described: list[dict[str, Json]] = []
    for at, stage in enumerate(found):
        path = folder / f"{name}.stage{at + 1}.onnx"
        cutting.write(model, stage, path)
        described.append(
            {
                "file": path.name,
                "takes": list(stage.takes),
                "gives": list(stage.gives),
                "work": stage.work,
                "hands_over_bytes": stage.hands_over_bytes if stage is not found[-1] else 0,
            }
        )
    plain = Path(request["work"], f"{name}.plain.onnx")
    graph_model.save(model, plain)
    inputs = graph_model.specs(graph_model.inputs_of(model))
    proved_on = _proved(plain, [folder / one["file"] for one in described], inputs, int(request["seed"]))
    return {
        "stages": described,
        "inputs": [one.name for one in inputs],
        "outputs": [str(one.name) for one in model.graph.outputs],
        "proved_on": proved_on,
    }


def _work(model: "ir.Model") -> list[int]:
    """Return the multiply-accumulates of every node, and one for each value it computes."""
    single = model.clone()
    free = graph_model.inputs_of(single)
    graph_model.freeze(single, {str(one.name): tuple(n or 1 for n in graph_model.dimensions(one)) for one in free}, "")
    infer_shapes(single)
    view = onnx_layers.view(graph_model.lifted(single)[0])
    return [
        (node.macs or 0) + sum((view.values[at].size_bytes or 0) // 4 for at in node.outputs) for node in view.nodes
    ]


def _proved(whole: Path, parts: list[Path], inputs: tuple[TensorSpec, ...], seed: int) -> int:
    """Run the model and its stages on seeded samples; return how many those were."""
    known = session(whole)
    opened = [session(path) for path in parts]
    samples = random_calibration(inputs, seed, _PROVED_ON)
    wanted: list[dict[str, Array]] = []
    got: list[dict[str, Array]] = []
    for batch in runs(samples, inputs):
        names = [one.name for one in known.get_outputs()]
        wanted.append(dict(zip(names, run_session(known, names, batch), strict=True)))
        values = dict(batch)
        for one in opened:
            given = [port.name for port in one.get_outputs()]
            feeds = {port.name: values[port.name] for port in one.get_inputs()}
            values |= dict(zip(given, run_session(one, given, feeds), strict=True))
        got.append({name: values[name] for name in names})
    prove(f"model '{whole.name}' cut into stages", got, wanted)
    return len(wanted)
