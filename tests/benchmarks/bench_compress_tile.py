"""What tiles do to memory and time, and several inferences at a time to throughput: `... [NAMES...] [--micro PYTHON]`.

Each model is converted with and without tiles, as float and as int8 that takes and gives int8, in one run; arenas are
those of the files: of EdgeKit's planner and, where an interpreter with `tflite-micro` is named, of that library, which
then also runs them. Writes docs/benchmarks/compress-tile.md.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit._measure import Candidate, measure
from edgekit._report import environment
from edgekit_converters import tflite_file
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layers import memory, tflite
from tests.benchmarks.quantization_cases import CASES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "compress-tile.md"
SAMPLES = 100
STREAMS = 2
STEPS: Mapping[str, tuple[str, ...]] = {
    "vww": ("tile", "tile:budget=44000", "tile:rows=4,columns=1"),
    "resnet8": ("tile", "tile:budget=32000"),
    "lite0": ("tile", "tile:budget=800000"),
}
# Runs in an interpreter that has tflite-micro: allocations, told on stderr by C++, and outputs of seeded inputs.
_MICRO = """
import hashlib, json, os, re, sys, tempfile
import numpy as np
from tflite_micro import runtime
file, runs = sys.argv[1], int(sys.argv[2])
interpreter = runtime.Interpreter.from_file(file, arena_size=1 << 26)
with tempfile.TemporaryFile() as kept:
    before = os.dup(2)
    os.dup2(kept.fileno(), 2)
    interpreter.print_allocations()
    os.dup2(before, 2)
    kept.seek(0)
    said = kept.read().decode()
found = {name: int(re.search(rf"allocation {name} (\\d+) bytes", said)[1]) for name in ("total", "head", "tail")}
told, rng, digest = interpreter.get_input_details(0), np.random.default_rng(0), hashlib.sha256()
for _ in range(runs):
    shape = [int(size) for size in told["shape"]]
    if told["dtype"] == np.int8:
        given = rng.integers(-128, 128, shape, np.int8)
    else:
        given = rng.random(shape, np.float32)
    interpreter.set_input(given, 0)
    interpreter.invoke()
    digest.update(interpreter.get_output(0).tobytes())
print(json.dumps({**found, "outputs": digest.hexdigest()}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A converted file and what is known of it."""

    step: str
    precision: str
    path: Path
    arena: int
    arena_litert: int
    operators: int
    micro: Mapping[str, Any]
    outputs: Any
    scale: float
    """Of the first output; 0 for floats."""


def main() -> None:
    """Convert, measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *STEPS], help="models; all by default")
    parser.add_argument("--micro", help="an interpreter that has tflite-micro", default=os.environ.get("EDGEKIT_MICRO"))
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    begin, sections = time.monotonic(), []
    for name in given.names or STEPS:
        print(f"{name} ({time.monotonic() - begin:.0f} s)", flush=True)
        with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
            lines = [f"## {CASES[name].title}", "", *_tiles(name, given.micro, Path(folder)), ""]
            lines += [*_parallel(name, Path(folder)), ""]
        print("\n".join(lines), flush=True)
        sections.append("\n".join(lines))
        given.page.write_text(_page(sections, time.monotonic() - begin))


def _tiles(name: str, micro: str | None, folder: Path) -> Iterable[str]:
    case = CASES[name]
    samples = case.samples(SAMPLES)
    np.savez(folder / "calibration.npz", **dict(samples.calibration))
    made: list[Made] = []
    for step in ("", *STEPS[name]):
        made += _converted(name, step, samples.inputs, micro, folder)
    timed = edgekit.bench([one.path for one in made], ("ai-edge-litert",), runs=200)
    rows = []
    for one, row in zip(made, timed.rows, strict=True):
        first = next(other for other in made if other.precision == one.precision)
        rows.append(
            [
                f"`{one.step}`" if one.step else "as it came",
                one.precision,
                f"{one.operators}",
                _against(one.arena, first.arena),
                _against(one.arena_litert, first.arena_litert),
                _against(one.micro.get("head"), first.micro.get("head")),
                _against(one.micro.get("total"), first.micro.get("total")),
                _equal(one, first),
                "-" if not one.micro else "yes" if one.micro["outputs"] == first.micro["outputs"] else "no",
                f"{row.measured.p50_ms:.3f}",
            ]
        )
    heads = ["step", "precision", "operators", "activations, planned", "with the input kept (LiteRT)"]
    heads += ["tflite-micro head", "tflite-micro total", "outputs", "bit for bit in tflite-micro", "p50 ms (LiteRT)"]
    return _markdown(heads, rows)


def _converted(name: str, step: str, inputs: Any, micro: str | None, folder: Path) -> list[Made]:
    case = CASES[name]
    output = folder / f"out-{len(list(folder.iterdir()))}"
    options = edgekit.ConvertOptions(
        to=("tflite",),
        precisions=("fp32", "int8"),
        calib=str(folder / "calibration.npz"),
        shapes=case.net.shapes,
        compress=(step,) if step else (),
        io_dtype="quantized",
        lane="onnx",
        bench=False,
    )
    edgekit.convert(Path(case.net.model()), options, output)
    jobs, made = JobRunner(log=folder / "log"), []
    for path in sorted((output / "models").glob("*.tflite")):
        file = tflite_file.read(path)
        view = tflite.view(file)
        answer = measure([Candidate(key="m", path=path)], jobs, folder, inputs=inputs, runs=0)["m"]
        assert answer.outputs is not None, answer.error
        made.append(
            Made(
                step=step,
                precision=path.name.split(".")[-2],
                path=path,
                arena=memory.plan(view, keeps_inputs=False).arena_bytes,
                arena_litert=memory.plan(view).arena_bytes,
                operators=len(file.ops),
                micro=_in_micro(micro, path),
                outputs=next(iter(answer.outputs.values())),
                scale=answer.gives[0].scale[0] if answer.gives[0].scale else 0.0,
            )
        )
    return made


def _in_micro(python: str | None, path: Path) -> Mapping[str, Any]:
    if python is None:
        return {}
    answer = subprocess.run([python, "-c", _MICRO, str(path), "5"], capture_output=True, text=True, check=False)
    if answer.returncode:
        print(f"tflite-micro cannot run {path.name}: {(answer.stderr.strip().splitlines() or ['?'])[-1]}")
        return {}
    found: Mapping[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _equal(one: Made, first: Made) -> str:
    """Return how far outputs on the samples are from those without tiles: of floats, or in the grid's steps."""
    if one is first:
        return ""
    apart = np.abs(np.asarray(one.outputs, np.float64) - np.asarray(first.outputs, np.float64))
    if not one.scale:
        return f"max {apart.max():.1e}"
    steps = np.rint(apart / one.scale)
    return f"{np.mean(steps == 0):.1%} equal, max {steps.max():.0f} steps"


def _parallel(name: str, folder: Path) -> Iterable[str]:
    """Return throughput of one and of several at a time, of whole models and of a pipeline."""
    case = CASES[name]
    options = edgekit.ConvertOptions(
        to=("tflite", "openvino", "onnx"), precisions=("fp32",), shapes=case.net.shapes, lane="onnx", bench=False
    )
    edgekit.convert(Path(case.net.model()), options, folder / "float")
    files = {path.suffix: path for path in (folder / "float" / "models").iterdir()}
    pipeline = edgekit.cut(files[".onnx"], STREAMS, folder / "cut").path
    models = [files[".tflite"], files[".xml"], files[".onnx"], pipeline]
    rows = []
    for row in edgekit.bench(models, runs=50, streams=STREAMS).rows:
        kind = "pipeline of 2 stages" if row.model.endswith(".pipeline") else Path(row.model).suffix
        rows += [[kind, *cells[1:]] for cells in row.stream_cells()]
    heads = ["model", "runtime", "at a time", "inferences/s", "p50 ms", "p90 ms", "p99 ms", "against one"]
    return _markdown(heads, rows)


def _against(value: int | None, first: int | None) -> str:
    if value is None or first is None:
        return "-"
    return f"{value:,}" if value == first else f"{value:,} ({value / first - 1:+.1%})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]


def _page(sections: Sequence[str], seconds: float) -> str:
    where = environment()
    head = [
        "# Tiles, streams and pipelines",
        "",
        "Written by `python -m tests.benchmarks.bench_compress_tile`. Arenas in bytes, against the model as it came.",
        "tflite-micro's `head` are activations, `total` has what it keeps of operators too, on a 64-bit machine.",
        f"Outputs are compared on {SAMPLES} samples. Int8 takes and gives int8.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {where['cpu']}, {where['cores']} cores, {seconds:.0f} s.",
        "",
    ]
    return "\n".join([*head, *sections])


if __name__ == "__main__":
    main()
