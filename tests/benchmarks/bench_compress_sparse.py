"""Zeros and shared weights on real models: `python -m tests.benchmarks.bench_compress_sparse [NAMES...]`.

What single zeros, N of M and shared values do to accuracy; what the files then take at rest and packed, beside gzip and
xz; and whether anything is faster. All in one run, all files of a runtime timed in turns. Writes
docs/benchmarks/compress-sparse.md.
"""

import argparse
import gzip
import lzma
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._report import environment
from edgekit_agent.packing import pack
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.conversion import ConversionRequest, convert
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.quantization_cases import CASES, Case, Samples
from tests.benchmarks.quantization_rows import Entry, Judged, Task, judge

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "compress-sparse.md"
FLOAT = "float"
P, S = "prune-weights", "share-weights"
ALL = (
    *(f"{P}:{how}sparsity={share}" for share in (0.5, 0.7, 0.8)
      for how in ("", "refit,", "scope=global,", "by=obs,", "by=obs,scope=global,")),
    f"{P}:pattern=2:4", f"{P}:pattern=2:4,refit", f"{P}:pattern=2:4,by=obs", f"{P}:pattern=1x4,by=obs",
    f"{S}:clusters=16", f"{S}:clusters=16,weighted", f"{S}:clusters=16,per=channel", f"{S}:clusters=64",
    "snap:grid=log,bits=4", "snap:grid=power-of-two,bits=6", "snap:grid=nf4",
)  # fmt: skip
FEW = (f"{P}:sparsity=0.5", f"{P}:by=obs,scope=global,sparsity=0.5", f"{P}:pattern=2:4", f"{P}:pattern=2:4,by=obs",
       f"{S}:clusters=16", f"{S}:clusters=16,weighted")  # fmt: skip
TRANSFORMER = (f"{P}:sparsity=0.5", f"{P}:pattern=2:4", f"{P}:pattern=2:4,by=obs", f"{S}:clusters=16")
STORED: Mapping[str, tuple[str, ...]] = {
    "resnet8": (f"{P}:by=obs,scope=global,sparsity=0.7", f"{P}:pattern=2:4,by=obs", f"{S}:clusters=16,weighted"),
    "kws": (f"{P}:by=obs,scope=global,sparsity=0.7", f"{S}:clusters=16,weighted"),
    "lite0": (f"{P}:by=obs,scope=global,sparsity=0.5", f"{S}:clusters=16,weighted"),
    "minilm": (f"{P}:pattern=2:4,by=obs", f"{S}:clusters=16"),
}
"""The steps whose files are stored and timed."""
STEPS: Mapping[str, tuple[str, ...]] = {"resnet8": ALL, "kws": ALL, "lite0": FEW, "minilm": TRANSFORMER}
FORMS = (("tflite", "fp32"), ("tflite", "fp32:sparse"), ("openvino", "fp16"), ("openvino", "fp16:codebook"))
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file of a state: what it is, its bytes, and those of it packed in several ways."""

    state: str
    form: str
    at_rest: int
    packed: int
    gzip: int
    xz: int


def main() -> None:
    """Run the models named, or all, and write the page as it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *STEPS], help="models; all by default")
    parser.add_argument("--samples", type=int, default=1000, help="samples to score on at most")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    begin, sections = time.monotonic(), []
    for name in given.names or STEPS:
        print(f"{name} ({time.monotonic() - begin:.0f} s)", flush=True)
        with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
            sections.append(section(name, given.samples, Path(folder)))
        given.page.write_text(_page(sections, given.samples, time.monotonic() - begin))
    print(f"wrote {given.page} after {time.monotonic() - begin:.0f} s")


def section(name: str, limit: int, folder: Path) -> str:
    """Take a model through its steps and return what became of it as Markdown."""
    case = CASES[name]
    samples, jobs = case.samples(limit), JobRunner(log=folder / "log")
    states, seconds = _states(case, STEPS[name], samples, jobs, folder)
    scored = _judged(case, samples, [(one, "onnx", path) for one, path in states.items()], 0, folder)
    files = _files(case, {one: states[one] for one in (FLOAT, *STORED[name])}, jobs, folder)
    timed = _judged(case, samples, [(f"{one}, {form}", form.split()[0], path) for (one, form), path in files.items()],
                    ROUNDS, folder)  # fmt: skip
    sizes = [_stored(state, form, path) for (state, form), path in files.items()]
    lines = [f"## {case.title}", "", f"{samples.note}.", "", *_accuracy(scored, seconds), "", *_sizes(sizes, timed), ""]
    return "\n".join(lines)


def _states(
    case: Case, steps: Sequence[str], samples: Samples, jobs: JobRunner, folder: Path
) -> tuple[dict[str, Path], dict[str, float]]:
    """Return the model's ONNX file as it is and behind every step, and what each step took."""
    model = Path(case.net.model())
    (folder / "onnx").mkdir()
    asked = LoadRequest(model=model, work=folder / "onnx", shapes=case.net.shapes, through_onnx=True)
    loaded = frontend_for(model).load(asked, jobs)
    assert loaded.onnx is not None
    states, seconds = {FLOAT: loaded.onnx}, {}
    for place, step in enumerate(steps):
        work = folder / f"step{place}"
        work.mkdir()
        done = compress(loaded.onnx, parse_steps([step]), jobs, work, calibration=samples.calibration)
        states[step], seconds[step] = done.path, done.stages[0].seconds
        print(f"  {step}: {seconds[step]:.1f} s", flush=True)
    return states, seconds


def _files(case: Case, states: Mapping[str, Path], jobs: JobRunner, folder: Path) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    for place, (state, path) in enumerate(states.items()):
        work = folder / f"files{place}"
        (work / "work").mkdir(parents=True)
        request = ConversionRequest(
            model=path, wanted=FORMS, output=work / "out", work=work / "work", shapes=case.net.shapes
        )
        made = convert(request, jobs)
        assert made.failures == (), made.failures
        found |= {(state, f"{one.format} {one.precision}"): one.path for one in made.artifacts}
    return found


def _judged(case: Case, samples: Samples, files: Sequence[tuple[str, str, Path]], rounds: int, folder: Path) -> Judged:
    """Judge files by name and runtime; the first one of a runtime is what its others are held against."""
    first = {runtime: name for name, runtime, _ in reversed(files)}
    entries = [Entry(name=one, runtime=kind, path=path, is_float=first[kind] == one) for one, kind, path in files]
    task = Task(inputs=samples.inputs, labels=samples.labels, metric=case.metric, scored=case.scored)
    return judge(entries, task, rounds, folder)


def _stored(state: str, form: str, path: Path) -> Stored:
    paths = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    files = {one.name: one.read_bytes() for one in paths}
    whole = b"".join(files.values())
    return Stored(
        state=state,
        form=form,
        at_rest=len(whole),
        packed=len(pack(files)),
        gzip=len(gzip.compress(whole, 9)),
        xz=len(lzma.compress(whole, preset=9)),
    )


def _accuracy(judged: Judged, seconds: Mapping[str, float]) -> list[str]:
    lines = [f"| step | {judged.metric} | lost | SNR of the outputs, dB | seconds |", "|---|---|---|---|---|"]
    base = judged.rows[0].accuracy
    assert base is not None
    for row in judged.rows:
        name = row.entry.name
        if row.accuracy is None:
            lines.append(f"| `{name}` | failed: {row.failed} | | | |")
            continue
        took = f"{seconds[name]:.1f}" if name in seconds else ""
        value, lost = row.accuracy.artifact, base.artifact - row.accuracy.artifact
        snr = f"{row.snr_db:.1f}" if np.isfinite(row.snr_db) else ""
        lines.append(f"| `{name}` | {_share(value)} | {_share(lost) if took else ''} | {snr} | {took} |")
    return lines


def _sizes(sizes: Sequence[Stored], judged: Judged) -> list[str]:
    lines = [
        "| step | file | bytes | packed | gzip -9 | xz -9 | p50, ms | times as fast as float |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one, row in zip(sizes, judged.rows, strict=True):
        speed = f"{row.p50_ms:.3f} | {row.p50_ratio:.2f}" if not row.failed else f"{row.failed} | "
        lines.append(
            f"| `{one.state}` | {one.form} | {one.at_rest:,} | {one.packed:,} | {one.gzip:,} | {one.xz:,} | {speed} |"
        )
    return lines


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _page(sections: Sequence[str], samples: int, seconds: float) -> str:
    here: Any = environment()
    made = f"Written by `tests/benchmarks/bench_compress_sparse.py` on {datetime.now(UTC):%Y-%m-%d} in {seconds:.0f} s"
    where = f"{here['cpu']}, {here['cores']} cores, Python {here['python']}; at most {samples} samples."
    how = (
        "Accuracies are of ONNX Runtime on the float graph, in percent."
        f" Times are medians of {ROUNDS} rounds in turns, one thread; 0.95 to 1.05 times as fast is no"
        " difference on this machine."
    )
    return "\n".join(["# Zeros and shared weights on real models", "", f"{made}: {where}", how, "", *sections])


if __name__ == "__main__":
    main()
