"""What `edgekit check` predicts beside what happens: confusion counts over real, quantized and lowered models.

`python -m tests.benchmarks.bench_check [STEP]`: takes every STEP-th of ONNX's node tests (default 4), and half as many
with quantized activations. Needs an interpreter with tflite-runtime in EDGEKIT_DEVICE_PYTHON and the real models in
../shared/data. "Wrong numbers" are predictions that loading cannot confirm: the model runs, and the prediction says
that its results are off. "Undecided" are models that load and then fail on made-up whole numbers (axes, indices).
"""

import collections
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._check import check
from edgekit._verdict import RuntimeCheck
from edgekit_converters.compat.findings import Status
from edgekit_converters.errors import ConversionError

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
RUNTIMES = ("tflite-runtime==2.14.0", "ai-edge-litert==2.3.0")
STEP = 4
ACTIVATIONS = ("static_wi8_ai8", "static_wi8_ai16")
WEIGHTS = (
    "dynamic_wi8_afp32",
    "dynamic_wi4_afp32",
    "dynamic_wi8b32_afp32",
    "dynamic_wi4b32_afp32",
    "weight_only_wi8_afp32",
    "weight_only_wi4_afp32",
)
FLOATS = (
    "cifar10-resnet/pretrainedResnet.tflite",
    "vww-mobilenet/vww_96_float.tflite",
    "face-rfb/version-RFB-320_without_postprocessing.tflite",
    "kws-dscnn/kws_ref_model_float32.tflite",
)


def main() -> None:
    step = int(sys.argv[1]) if len(sys.argv) > 1 else STEP
    sets: dict[str, Callable[[Path], Iterator[Path]]] = {
        "real": real,
        "quantized": quantized,
        "lowered": lambda folder: lowered(folder, step),
        "integers": lambda folder: integers(folder, 2 * step),
    }
    print(f"{'models':>10} {'runtime':>24} {'runs=ran':>9} {'fails=failed':>13}", end=" ")
    print(f"{'wrong numbers':>14} {'unknown':>8} {'undecided':>10} missed")
    with tempfile.TemporaryDirectory() as name:
        for label, made in sets.items():
            counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
            missed: list[str] = []
            for model in made(Path(name)):
                for one in check(model, RUNTIMES).runtimes:
                    outcome = told(one)
                    counts[one.name][outcome] += 1
                    if outcome in {"missed", "unknown"}:
                        missed.append(f"{model.name} on {one.name}: predicted {one.predicted}, {one.loaded}")
            for runtime, found in counts.items():
                cells = [found[key] for key in ("ran", "failed", "differs", "unknown", "undecided", "missed")]
                print(f"{label:>10} {runtime:>24} {cells[0]:9} {cells[1]:13}", end=" ")
                print(f"{cells[2]:14} {cells[3]:8} {cells[4]:10} {cells[5]}")
            print(*(f"  {line}" for line in missed), sep="\n", flush=True)


def told(one: RuntimeCheck) -> str:
    """Return which cell of the table a check belongs to."""
    ran = one.loaded is Status.RUNS
    if one.loaded is Status.UNKNOWN:
        return "undecided"
    if one.predicted is Status.UNKNOWN:
        return "unknown"
    if one.predicted is Status.DIFFERS:
        return "differs" if ran else "missed"
    if (one.predicted is Status.RUNS) != ran:
        return "missed"
    return "ran" if ran else "failed"


def real(_folder: Path) -> Iterator[Path]:
    """Yield the models of others."""
    yield from sorted(SHARED.glob("*/*.tflite"))
    yield from sorted((ROOT / "tests" / "data" / "models").glob("*.tflite"))


def quantized(folder: Path) -> Iterator[Path]:
    """Yield real float models with their weights quantized in every way ai-edge-quantizer has."""
    for name in FLOATS:
        for how in WEIGHTS:
            yield from _quantized(SHARED / name, how, folder)


def integers(folder: Path, step: int) -> Iterator[Path]:
    """Yield the lowered node tests with 8 and 16 bit activations."""
    for model in lowered(folder, step):
        for how in ACTIVATIONS:
            yield from _quantized(model, how, folder)


def _quantized(model: Path, how: str, folder: Path) -> Iterator[Path]:
    from ai_edge_quantizer import quantizer, recipe

    made = folder / f"{model.stem}-{how}.tflite"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the quantizer prints
            tool = quantizer.Quantizer(str(model), getattr(recipe, how)())
            found = tool.calibrate(_samples(model)) if tool.need_calibration else None
            made.write_bytes(tool.quantize(found).quantized_model)
    except Exception as exc:  # noqa: BLE001  # what it cannot quantize is not the question here
        print(f"left out {made.name}: {str(exc).splitlines()[:1]}", file=sys.stderr)
        return
    yield made


def _samples(model: Path) -> dict[str, list[dict[str, Any]]]:
    """Return random samples as the quantizer's calibration takes them."""
    from ai_edge_litert.interpreter import Interpreter

    rng = np.random.default_rng(0)
    ((key, _),) = Interpreter(str(model)).get_signature_list().items()
    details = Interpreter(str(model)).get_signature_runner(key).get_input_details()
    return {
        key: [{name: rng.random(one["shape"]).astype(one["dtype"]) for name, one in details.items()} for _ in range(2)]
    }


def lowered(folder: Path, step: int) -> Iterator[Path]:
    """Yield ONNX's node tests as EdgeKit lowers them."""
    import onnx_ir as ir

    from edgekit_converters.graph.model import inputs_of
    from edgekit_converters.lowering import node_tests
    from edgekit_converters.lowering.pipeline import to_tflite

    cases = [case for case in node_tests.load_cases().values() if node_tests.in_scope(case)]
    for case in cases[::step]:
        model = ir.serde.deserialize_model(case.model)
        names = [value.name or "" for value in inputs_of(model)]
        given = zip(names, case.data_sets[0][0], strict=False)
        feeds = {name: np.asarray(array) for name, array in given if array is not None}
        try:
            data = to_tflite(model, case.name, [[feeds]]).data
        except ConversionError:
            continue
        made = folder / f"{case.name}.tflite"
        made.write_bytes(data)
        yield made


if __name__ == "__main__":
    main()
