"""Real models to TFLite and OpenVINO: difference to the source and the golden files, accuracy, ops, latency.

`python -m tests.benchmarks.bench_models [--limit N] [NAME ...]`: a line a model and target. `to source` is the largest
difference to the source's own outputs over all samples, `to golden` that to the golden file's; both are absolute.
"""

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit._measure import Candidate, Measured, measure
from edgekit_converters import Artifact, ConversionRequest, ConversionResult, convert
from edgekit_converters.errors import ConversionError
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.real_models import DATA, NETS, Golden, Labelled, Net

WANTED = (("tflite", "fp32"), ("openvino", "fp32"))
HEADS = ("target", "to source", "to golden", "largest", "score of", "source", "artifact", "ops", "transposes", "p50 ms")
ROW = "{:12} {:9}" + 3 * " {:>10}" + " {:>14}" + 2 * " {:>9}" + " {:>5} {:>10} {:>9}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one artifact of one model showed; `right` is whether it is as near as the model is allowed."""

    cells: tuple[str, ...]
    right: bool


def lines(net: Net, limit: int | None, work: Path) -> list[Line]:
    """Convert a model, run both artifacts on its golden and its labelled samples, and time them in turns."""
    jobs = JobRunner(log=work / "run.log")
    golden, labelled = net.golden(), net.labelled(limit) if net.labelled else None
    samples = dict(golden.inputs)
    if labelled:
        samples = {name: np.concatenate([one, labelled.inputs[name]]) for name, one in samples.items()}
    request = ConversionRequest(
        model=Path(net.model()),
        wanted=WANTED,
        output=work / "out",
        work=work,
        reference_inputs=samples,
        shapes=net.shapes,
        constants=net.constants,
    )
    result = convert(request, jobs)
    candidates = [Candidate(key=one.format, path=one.path) for one in result.artifacts]
    measured = measure(candidates, jobs, work, inputs=result.reference_inputs)
    failed = [Line(cells=(one.format, f"failed: {one.error}"), right=False) for one in result.failures]
    return [_line(one, measured[one.format], result, golden, labelled, net) for one in result.artifacts] + failed


def _line(  # noqa: PLR0913, PLR0917  # all that is held against each other
    artifact: Artifact,
    got: Measured,
    result: ConversionResult,
    golden: Golden,
    labelled: Labelled | None,
    net: Net,
) -> Line:
    if got.error is not None or got.outputs is None:
        return Line(cells=(artifact.format, f"failed: {got.error}"), right=False)
    names = [one.name for one in result.source.outputs]
    count = len(golden.outputs[0])
    mask = result.reference_inputs[net.mask][..., np.newaxis] if net.mask else np.ones(())
    to_source = [_difference(got.outputs[name], result.reference[name], mask) for name in names]
    first = mask[:count] if net.mask else mask
    to_golden = [
        _difference(got.outputs[name][:count], one, first) for name, one in zip(names, golden.outputs, strict=True)
    ]
    largest = max(float(np.abs(result.reference[name]).max()) for name in names)
    scores = [""] * 3
    if labelled:
        whole = (result.reference[names[0]], got.outputs[names[0]])
        scores = [labelled.metric, *(f"{labelled.score(one[count:]):.4f}" for one in whole)]
    ops, transposes = _ops(artifact.path)
    figures = (f"{max(to_source):.1e}", f"{max(to_golden):.1e}", f"{largest:.3g}")
    cells = (artifact.format, *figures, *scores, str(ops), str(transposes), f"{got.p50_ms:.3f}")
    return Line(cells=cells, right=max(*to_source, *to_golden) <= net.limit * max(1.0, largest))


def _difference(one: Any, other: Any, mask: Any) -> float:
    return float(np.abs((one.reshape(other.shape) - other) * mask).max())


def _ops(path: Path) -> tuple[int, int]:
    counts: Mapping[str, int] = {one["op"].upper(): one["count"] for one in edgekit.inspect(path)["operators"]}
    return sum(counts.values()), counts.get("TRANSPOSE", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which models: {', '.join(NETS)}; default all")
    parser.add_argument("--limit", type=int, help="labelled samples a model at most")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print("skipped: needs the real models and data in ../shared/data")
        return
    os.chdir(Path(__file__).resolve().parents[1] / "converters")  # where the factories are
    print(ROW.format("model", *HEADS), flush=True)
    wrong = []
    for name in asked.names or NETS:
        net = NETS[name]
        missing = [one for one in net.packages if importlib.util.find_spec(one) is None]
        if missing:
            print(f"{name:12} skipped: needs {', '.join(missing)}: make setup-frameworks")
            continue
        with tempfile.TemporaryDirectory(prefix="edgekit-") as work:
            try:
                found = lines(net, asked.limit, Path(work))
            except ConversionError as exc:
                found = [Line(cells=("both", f"failed: {exc}"), right=False)]
        for line in found:
            print(ROW.format(name, *line.cells, *[""] * (len(HEADS) - len(line.cells))).rstrip(), flush=True)
        wrong += [f"{name} {line.cells[0]}" for line in found if not line.right]
    print(f"further off than allowed (as a share of the largest output): {', '.join(wrong) or 'none'}")


if __name__ == "__main__":
    main()
