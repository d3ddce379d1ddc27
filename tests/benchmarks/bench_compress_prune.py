"""Channel pruning, by EdgeKit's criteria with and without re-fit and by Torch-Pruning: accuracy, size and speed.

`python -m tests.benchmarks.bench_compress_prune [--samples N] [--calibration N] [--rounds N] [--page FILE] [NAME ...]`
writes `docs/benchmarks/compress-prune.md`. Torch-Pruning runs where `EDGEKIT_TORCH_PRUNING_PYTHON` names an
interpreter that has it and PyTorch (`pip install torch torch-pruning onnx`), or this one has.
"""

import argparse
import datetime as dt
import importlib.util
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._report import environment
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.figures import static_figures
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.errors import ConversionError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.bench_quantization import prepared
from tests.benchmarks.lanes import NotHereError
from tests.benchmarks.quantization_cases import CASES, Samples
from tests.benchmarks.quantization_page import _table
from tests.benchmarks.quantization_rows import Entry, Row, Task, judge
from tests.benchmarks.quantization_tools import FACTORIES, ROOT, Work, _environment, edgekit
from tests.benchmarks.real_models import DATA
from tests.converters.real_data import cifar10, cifar10_normalized

PAGE = ROOT / "docs" / "benchmarks" / "compress-prune.md"
RULES = """
No gradients and no training: EdgeKit re-fits in closed form on unlabelled samples. Torch-Pruning 1.6.1 gets the same
network and budget and, for `taylor`, the samples with their labels; *norms estimated anew* is a forward pass over
them. `macs` is the share that may be left. Speeds are p50 of one sample on one thread, float against float on the
same runtime, timed in turns.
"""
RUNTIMES = ("tflite", "openvino")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to prune; `make` leaves an ONNX file and returns it."""

    name: str
    make: Callable[["Bench"], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A model with its data, and a folder of one way's own."""

    name: str
    work: Work
    samples: Samples
    labels: Any
    folder: Path


def ours(step: str) -> Way:
    def make(bench: Bench) -> Path:
        assert bench.work.onnx is not None
        given = {key: array.astype(np.float32) for key, array in bench.samples.calibration.items()}
        names = [str(one.name) for one in graph_model.inputs_of(graph_model.load(bench.work.onnx))]
        jobs = JobRunner(log=bench.folder / "run.log")
        calibration = dict(zip(names, given.values(), strict=True))
        return compress(bench.work.onnx, parse_steps([step]), jobs, bench.folder, calibration=calibration).path

    return Way(name=f"EdgeKit `{step.partition(':')[2]}`", make=make)


def theirs(importance: str, *, everywhere: bool, norms: bool) -> Way:
    def make(bench: Bench) -> Path:
        python = os.environ.get("EDGEKIT_TORCH_PRUNING_PYTHON") or sys.executable
        if python == sys.executable and importlib.util.find_spec("torch_pruning") is None:
            raise NotHereError("EDGEKIT_TORCH_PRUNING_PYTHON names no interpreter that has it")
        if bench.work.kind != "torch":
            raise NotHereError("Torch-Pruning takes PyTorch's networks")
        np.save(bench.folder / "labels.npy", bench.labels)
        asked = {
            "model": bench.work.model,
            "output": str(bench.folder / "pruned.onnx"),
            "macs": 0.5,
            "importance": importance,
            "global": everywhere,
            "calibration": str(bench.work.calibration),
            "labels": str(bench.folder / "labels.npy"),
            "norms": norms,
        }
        jobs = JobRunner(log=bench.folder / "run.log", python=python, environment=_environment())
        try:
            return Path(jobs.run("tests.benchmarks.plain_torch_pruning", asked)["path"])
        except (ConversionError, RuntimeError) as exc:
            raise NotHereError((str(exc).strip().splitlines() or [type(exc).__name__])[0]) from exc

    said = f"Torch-Pruning {importance}, {'global' if everywhere else 'same share'}"
    return Way(name=said + (", norms estimated anew" if norms else ""), make=make)


WAYS: Mapping[str, tuple[Way, ...]] = {
    "resnet20": (
        ours("prune-channels:macs=0.5"),
        ours("prune-channels:macs=0.5,refit=layers"),
        ours("prune-channels:macs=0.5,refit=off"),
        ours("prune-channels:macs=0.5,refit=layers,scope=layer"),
        ours("prune-channels:macs=0.5,refit=layers,by=l2"),
        ours("prune-channels:macs=0.48,round=4"),
        theirs("l2", everywhere=True, norms=False),
        *(theirs(one, everywhere=every, norms=True) for one in ("l2", "taylor") for every in (False, True)),
    ),
    "resnet8": (
        ours("prune-channels:macs=0.5"),
        ours("prune-channels:macs=0.5,refit=off"),
        ours("prune-channels:macs=0.7"),
    ),
    "kws": (
        ours("prune-channels:macs=0.5"),
        ours("prune-channels:macs=0.5,refit=off"),
        ours("prune-channels:macs=0.7"),
    ),
    "lite0": (ours("prune-channels:macs=0.8"), ours("prune-channels:macs=0.8,refit=off")),
}


def data_of(name: str, limit: int, calibration: int) -> tuple[Samples, Any]:
    """Return what a model is judged on and calibrated on, and the calibration samples' labels where there are any."""
    samples = CASES[name].samples(limit)
    if name not in {"resnet8", "resnet20"}:
        return samples, np.zeros(0, np.int64)
    pixels, labels = cifar10(DATA / "cifar10-resnet" / "cifar10_jpeg_train5k.zip", calibration)
    given = cifar10_normalized(pixels) if name == "resnet20" else pixels
    note = f"calibrated on {len(given):,} images of CIFAR-10's training set, judged on its test set, both as JPEG"
    return replace(samples, calibration={"x": given}, note=note), labels


def section(name: str, limit: int, calibration: int, rounds: int, folder: Path) -> str:
    """Prune a model in every way, convert, run and time what came of it; return its part of the page."""
    case = CASES[name]
    samples, labels = data_of(name, limit, calibration)
    (folder / "whole").mkdir(parents=True)
    work = prepared(case, samples, folder / "whole")
    assert work.tflite is not None
    assert work.onnx is not None
    whole = {"tflite": work.tflite, "openvino": work.tflite.with_suffix(".xml")}
    entries = [Entry(name="as it was", runtime=to, path=path, is_float=True) for to, path in whole.items()]
    sizes = {"as it was": _figures(work.onnx)}
    for at, way in enumerate(WAYS[name]):
        place = folder / f"way-{at}"
        place.mkdir()
        try:
            path = way.make(Bench(name=name, work=work, samples=samples, labels=labels, folder=place))
            sizes[way.name] = _figures(path)
            made = _converted(work, path, place)
            entries += [Entry(name=way.name, runtime=to, path=one) for to, one in made.items()]
        except (ConversionError, NotHereError) as exc:
            entries += [Entry(name=way.name, runtime=to, failed=str(exc)) for to in RUNTIMES]
        print(f"  {way.name}", flush=True)
    task = Task(inputs=samples.inputs, labels=samples.labels, metric=case.metric, scored=case.scored)
    judged = judge(entries, task, rounds, folder)
    return _written(case.title, samples.note, judged.rows, sizes)


def _figures(path: Path) -> dict[str, int]:
    return static_figures(graph_model.load(path), path)


def _converted(work: Work, path: Path, folder: Path) -> dict[str, Path]:
    """Return the float TFLite and OpenVINO files of an ONNX file."""
    asked = replace(work, model=str(path), kind="onnx")
    made = edgekit(asked, folder / "float", "tflite", "--to", "openvino", "--precision", "fp32")
    (tflite,) = made.path.parent.glob("*.tflite")
    return {"tflite": tflite, "openvino": tflite.with_suffix(".xml")}


def _written(title: str, note: str, rows: Sequence[Row], sizes: Mapping[str, Mapping[str, int]]) -> str:
    by_name: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_name.setdefault(row.entry.name, {})[row.entry.runtime] = row
    whole = sizes["as it was"]
    lines = []
    for name, found in by_name.items():
        tflite, openvino = (found[to] for to in RUNTIMES)
        if name not in sizes or tflite.accuracy is None or openvino.accuracy is None:
            lines.append((name, tflite.failed or openvino.failed, *[""] * 7))
            continue
        own = sizes[name]
        drop = tflite.accuracy.drop or 0.0
        lines.append(
            (
                name,
                f"{100 * tflite.accuracy.artifact:.2f} %",
                f"{100 * drop:.2f}",
                f"{own['macs'] / whole['macs']:.2f}",
                f"{own['parameters']:,}",
                f"{tflite.file_bytes:,}",
                *(text for row in (tflite, openvino) for text in (f"{row.p50_ms:.3f} ms", f"{row.p50_ratio:.2f}x")),
            )
        )
    heads = ("way", "top-1", "lost", "MACs", "parameters", "TFLite bytes", "TFLite p50", "", "OpenVINO p50", "")
    lines = [(*line, *[""] * (len(heads) - len(line))) for line in lines]
    judged = next(row.accuracy.samples for row in rows if row.accuracy)
    return f"## {title}\n\n{note[0].upper()}{note[1:]}; {judged:,} samples.\n\n{_table(heads, lines)}\n"


def page(sections: Sequence[str], skipped: Sequence[str]) -> str:
    """Return the whole page."""
    here = environment()
    packages = here["packages"]
    assert isinstance(packages, dict)
    versions = ", ".join(f"{name} {one}" for name, one in packages.items())
    command = shlex.join(["python", "-m", "tests.benchmarks.bench_compress_prune", *sys.argv[1:]])
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    origin = f"Written by `tests/benchmarks/bench_compress_prune.py` on {today}: `{command}`.\n"
    machine = f"{here['cpu']}, {here['cores']} cores; {versions}."
    left_out = [f"Left out: {one}." for one in skipped]
    return "\n\n".join(["# Channels pruned", origin + machine, RULES.strip(), *sections, *left_out])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which models: {', '.join(WAYS)}; default all")
    parser.add_argument("--samples", type=int, default=10_000, help="labelled samples a model at most")
    parser.add_argument("--calibration", type=int, default=5000, help="training images of CIFAR-10 to calibrate on")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of timing")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page is written")
    asked = parser.parse_args()
    unknown = [one for one in asked.names if one not in WAYS]
    if unknown:
        parser.error(f"there is no model '{unknown[0]}'; there are: {', '.join(WAYS)}")
    if not DATA.is_dir():
        print("skipped: needs the real models and data in ../shared/data")
        return
    sys.path.insert(0, str(FACTORIES))
    sections, skipped = list[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        for name in asked.names or WAYS:
            print(name, flush=True)
            try:
                sections.append(section(name, asked.samples, asked.calibration, asked.rounds, Path(scratch, name)))
                print(sections[-1], flush=True)
            except (ConversionError, NotHereError) as exc:
                skipped.append(f"{name}: {exc}")
            asked.page.parent.mkdir(parents=True, exist_ok=True)
            asked.page.write_text(page(sections, skipped), encoding="utf-8")
    print(f"wrote {asked.page}")


if __name__ == "__main__":
    main()
