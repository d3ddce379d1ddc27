"""int8 by EdgeKit, TFLiteConverter, ai-edge-quantizer, NNCF and Olive: writes `docs/benchmarks/quantization.md`.

`python -m tests.benchmarks.bench_quantization [--quick] [--samples N] [--rounds N] [--page FILE] [--keep DIR]
[NAME ...]`. All tools get the same models and calibration samples, and their files the same labelled samples, in one
run. `EDGEKIT_OLIVE_PYTHON` names an interpreter that has Olive.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekit_converters.errors import ConversionError
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from tests.benchmarks import quantization_hard as hard
from tests.benchmarks.lanes import NotHereError
from tests.benchmarks.quantization_cases import CASES, Case, Samples
from tests.benchmarks.quantization_page import Page, Section
from tests.benchmarks.quantization_rows import Entry, Row, Task, judge
from tests.benchmarks.quantization_tools import FACTORIES, OURS, ROOT, Work, edgekit, tools
from tests.benchmarks.real_models import DATA

SAMPLES, ROUNDS = 2000, 3
QUICK_SAMPLES, QUICK_ROUNDS = 100, 1
WEIGHTS = ("int8-weights", "int4-weights", "nf4-weights", "codebook-weights")
PAGE = ROOT / "docs" / "benchmarks" / "quantization.md"


def section(case: Case, limit: int, rounds: int, folder: Path) -> Section:
    """Make a model's files by every tool and judge them.

    Raises:
        NotHereError: the model's own packages are not installed.
        ConversionError: it cannot be read.
    """
    if case.missing:
        raise NotHereError(f"it needs {', '.join(case.missing)}")
    samples = case.samples(limit)
    work = prepared(case, samples, folder)
    entries = [*_floats(work), *_quantized(work)]
    if case.weights_only:
        entries += _weights_only(work)
    task = Task(inputs=samples.inputs, labels=samples.labels, metric=case.metric, scored=case.scored)
    judged = judge(entries, task, rounds, folder)
    metric = case.metric if samples.labels is not None else "agreement"
    return Section(title=case.title, note=samples.note, metric=metric, judged=judged)


def prepared(case: Case, samples: Samples, folder: Path) -> Work:
    """Write the calibration data, and the model's ONNX and float TFLite for tools that take those."""
    calibration = folder / "calibration.npz"
    np.savez(calibration, **samples.calibration)
    model = case.net.model()
    work = Work(
        model=model,
        kind=case.kind,
        folder=folder,
        calibration=calibration,
        shapes=case.net.shapes,
        transformer=case.transformer,
    )
    (folder / "onnx").mkdir()
    asked = LoadRequest(model=Path(model), work=folder / "onnx", shapes=case.net.shapes, through_onnx=True)
    loaded = frontend_for(Path(model)).load(asked, work.jobs)
    floats = edgekit(work, folder / "float", "tflite", "--to", "openvino", "--precision", "fp32")
    models = folder / "float" / "out" / "models"
    assert floats.path.parent == models
    (tflite,) = models.glob("*.tflite")
    return replace(work, onnx=loaded.onnx, tflite=tflite)


def _floats(work: Work) -> list[Entry]:
    assert work.tflite is not None
    openvino = work.tflite.with_suffix(".xml")
    onnx = [Entry(name="float", runtime="onnx", path=work.onnx, is_float=True)] if work.onnx else []
    return [
        Entry(name="float", runtime="tflite", path=work.tflite, is_float=True),
        Entry(name="float", runtime="openvino", path=openvino, is_float=True),
        *onnx,
    ]


def _quantized(work: Work) -> list[Entry]:
    found = []
    for number, tool in enumerate(tools(work)):
        folder = work.folder / f"tool-{number}"
        folder.mkdir()
        try:
            made = tool.make(work, folder)
            one = Entry(name=tool.name, runtime=tool.runtime, path=made.path, seconds=made.seconds)
        except NotHereError as exc:
            one = Entry(name=tool.name, runtime=tool.runtime, failed=str(exc))
        said = one.failed or f"{one.seconds:.1f} s"
        print(f"  {tool.runtime:9} {tool.name:28} {said}", flush=True)
        found.append(one)
    return found


def _weights_only(work: Work) -> list[Entry]:
    """Make the precisions that store only weights in few bits, in one run: their seconds are not compared."""
    folder = work.folder / "weights"
    asked = [part for one in WEIGHTS for part in ("--precision", one)]
    made = edgekit(work, folder, "openvino", *asked, "--calib", str(work.calibration))
    print(f"  openvino  {OURS} {', '.join(WEIGHTS)}: {made.seconds:.1f} s together", flush=True)
    return [
        Entry(name=f"{OURS} {one['precision']}", runtime="openvino", path=folder / "out" / one["path"])
        for one in made.answer["artifacts"]
    ]


def _print(rows: Sequence[Row]) -> None:
    for row in rows:
        print(f"    {row.entry.runtime:9} {row.entry.name:40} {_shown(row)}", flush=True)


def _shown(row: Row) -> str:
    score = f"{row.accuracy.artifact:.4f}" if row.accuracy else "-"
    return (
        row.failed
        or f"{score}  {row.snr_db:5.1f} dB  {row.weights_bytes:>10,}  {row.p50_ms:8.3f} ms  {row.p50_ratio:5.2f}x"
    )


def run(names: Sequence[str], samples: int, rounds: int, top: Path) -> Iterator[Page]:
    """Judge the models named, and those made hard on purpose; yield the page as far as it is after each."""
    begin = time.monotonic()
    sections: list[Section] = []
    skipped: list[str] = []
    made_hard: list[hard.HardSection] = []
    for name in names:
        used = sum(os.times()[:4])  # of this process and of all it started
        print(f"{name} ({time.monotonic() - begin:.0f} s, {used:.0f} s of processors)", flush=True)
        folder = top / name
        folder.mkdir(parents=True)
        try:
            if name in hard.HARD:
                made_hard.append(hard.judged(name, samples, rounds, folder))
                _print(made_hard[-1].seen.rows)
            else:
                sections.append(section(CASES[name], samples, rounds, folder))
                _print(sections[-1].judged.rows)
        except (ConversionError, NotHereError) as exc:
            skipped.append(f"{name}: {exc}")
            print(f"  left out: {exc}", flush=True)
        yield Page(
            sections=tuple(sections),
            hard=tuple(made_hard),
            skipped=tuple(skipped),
            command=shlex.join(["python", "-m", "tests.benchmarks.bench_quantization", *sys.argv[1:]]),
            seconds=time.monotonic() - begin,
            rounds=rounds,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    known = [*CASES, *hard.HARD]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which models: {', '.join(known)}; default all")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="labelled samples a model at most")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of timing")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SAMPLES} samples, {QUICK_ROUNDS} round")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page is written")
    parser.add_argument("--keep", type=Path, help="a new folder for all the files made; else they are thrown away")
    asked = parser.parse_args()
    unknown = [one for one in asked.names if one not in known]
    if unknown:
        parser.error(f"there is no model '{unknown[0]}'; there are: {', '.join(known)}")
    if not DATA.is_dir():
        print("skipped: needs the real models and data in ../shared/data")
        return
    sys.path.insert(0, str(FACTORIES))
    samples, rounds = (QUICK_SAMPLES, QUICK_ROUNDS) if asked.quick else (asked.samples, asked.rounds)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        asked.page.parent.mkdir(parents=True, exist_ok=True)
        for page in run(asked.names or known, samples, rounds, asked.keep or Path(scratch)):
            asked.page.write_text(page.to_text(), encoding="utf-8")
    print(f"wrote {asked.page}")


if __name__ == "__main__":
    main()
