"""A job: lower models with free dimensions and run them with sizes that no trial run had."""

import importlib
from typing import Any

from edgekit_converters.errors import ConversionError
from edgekit_converters.graph.model import inputs_of, specs
from edgekit_converters.graph.oracle import Oracle
from edgekit_converters.graph.trial import feeds, runs_of, symbols_of
from edgekit_converters.lowering.pipeline import to_tflite
from edgekit_converters.lowering.proof import difference, run_tflite

model_of = importlib.import_module("lower_cases").model_of  # it lies beside this file, which is no package
OTHER_SIZES = ({"N": 1, "L": 1, "H": 17, "W": 9}, {"N": 5, "L": 13, "H": 40, "W": 31})


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Return for each case `error`, or `max_abs` over all sizes, the outputs' `shapes` in the file, and `ops`."""
    return {name: _lowered(name, case) for name, case in request["cases"].items()}


def _lowered(name: str, case: dict[str, Any]) -> dict[str, Any]:
    import onnx_ir as ir

    proto = model_of(case)
    model = ir.serde.deserialize_model(proto)
    values = inputs_of(model)
    free = [
        symbols_of(spec, [None if isinstance(size, int) else size.value for size in value.shape or ()])
        for spec, value in zip(specs(values), values, strict=True)
    ]
    try:
        made = to_tflite(model, name, list(runs_of(free)))
    except ConversionError as exc:
        return {"error": f"{exc} {getattr(exc, '__notes__', [])}"}
    oracle, worst = Oracle(proto), 0.0
    for sizes in OTHER_SIZES:
        given = feeds(free, sizes, 3)
        wanted = oracle.values(given)
        for output, got in run_tflite(made.data, made.described, given).items():
            same = got.shape == wanted[output].shape
            worst = max(worst, difference(got, wanted[output]) if same else float("inf"))
    return {
        "max_abs": worst,
        "shapes": {name: list(one.shape) for name, one in made.described.public_outputs},
        "ops": [op.name for op in made.described.ops],
    }
