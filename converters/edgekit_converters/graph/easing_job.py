"""The job of `easing`: both passes, each with its ledger, the first one proved."""

import collections
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit_converters._exchange import read_arrays
from edgekit_converters.calibration import random_calibration
from edgekit_converters.data import bind
from edgekit_converters.errors import CalibrationError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.bias_correction import correct_biases
from edgekit_converters.graph.equalization import Equalized, equalize
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.graph.proof import outputs, prove
from edgekit_converters.grids import grid_of, parse_grid, sharing_of
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

_PROVED_ON = 8  # samples


def run(request: Json) -> Json:
    """Carry out a request of `ease`; see there for the errors."""
    path, work = Path(request["model"]), Path(request["work"])
    model = graph_model.load(path)
    inputs = graph_model.specs(graph_model.inputs_of(model))
    given = read_arrays(request["calibration"]) if request["calibration"] else None
    arrays = None if given is None else bind(given, inputs, "calibration data")
    tried = random_calibration(inputs, 0, _PROVED_ON) if arrays is None else _first(arrays)
    proved = work / "proved.onnx"
    wanted = outputs(model, tried, proved)
    make_plain(model)
    steps, notes = [], []
    if request["equalize"]:
        made = equalize(model, arrays, work)
        steps.append(_equalization(made))
        notes += [f"channels of '{one.name}' are not equalized: {one.why}" for one in made if not one.scaled]
    prove(f"model '{path.name}', equalized", outputs(model, tried, proved), wanted)
    if request["correct"]:
        if arrays is None:
            raise CalibrationError("correcting biases needs calibration data")
        step, left = _correction(model, arrays, request["grid"], work)
        steps.append(step)
        notes += left
    graph_model.save(model, Path(request["output"]))
    return {"steps": steps, "notes": notes}


def _first(arrays: Arrays) -> dict[str, Array]:
    return {name: array[:_PROVED_ON] for name, array in arrays.items()}


def _equalization(made: list[Equalized]) -> Json:
    pairs = [one for one in made if one.partner]
    scaled = [one for one in made if one.scaled]
    why = collections.Counter(one.why for one in made if not one.scaled)
    return {
        "name": "equalize channels",
        "before": {"pairs": len(pairs), "largest_spread": max((one.spread[0] for one in pairs), default=1.0)},
        "after": {
            "scaled": len(scaled),
            "left": len(made) - len(scaled),
            "why_left": why.most_common(1)[0][0] if why else "",
            "largest_spread": max((one.spread[1] for one in pairs), default=1.0),
            "expected_gain_db": max((one.gain_db for one in scaled), default=0.0),
        },
    }


def _correction(model: "ir.Model", arrays: Arrays, grid: str, work: Path) -> tuple[Json, list[str]]:
    asked = parse_grid(grid)
    made, left = correct_biases(model, arrays, grid_of(asked), sharing_of(asked), work)
    worst = max(made, key=lambda one: one.shift, default=None)
    step = {
        "name": f"correct biases for {asked.text} weights",
        "before": {"layers": len(made) + len(left), "largest_shift": worst.shift if worst else 0.0},
        "after": {"corrected": len(made), "largest_shift_in": worst.name if worst else ""},
    }
    return step, [f"the bias of '{name}' is not corrected: {why}" for name, why in left.items()]
