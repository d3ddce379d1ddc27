"""What techniques for Transformers do to MiniLM: `python -m tests.benchmarks.bench_compress_transformers`.

Heads, neurons of feed-forward nets and layers are taken out, tokens pooled, attention narrowed: each from the model as
it came. Scored by ONNX Runtime on sentence pairs of STS-B, timed as float TFLite and OpenVINO files in turns in one
run. Writes docs/benchmarks/compress-transformers.md.
"""

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit._measure import Candidate, measure
from edgekit._report import environment
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.errors import ConversionError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import session
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.quantization_cases import CASES
from tests.benchmarks.real_models import DATA
from tests.converters import minilm_net

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "compress-transformers.md"
TARGETS = ("tflite", "openvino")
SHORT, LONG = 48, 512
RUNS, WARMUP = 30, 5
CALIBRATION = 64
TEXTS = 24
"""Long texts, put together from sentences."""

CLS, SEP = 101, 102  # the words a text begins and ends with
INNER = 1536  # neurons of a feed-forward net

Arrays = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Sentences of one length: what is scored on them, and what steps are calibrated on."""

    length: int
    inputs: Arrays
    calibration: Arrays
    score: Callable[[Any, Any], float]
    """Of the embeddings, and of those of the model as it came."""
    steps: Sequence[str]
    says: str


@dataclass(slots=True, kw_only=True)
class State:
    """The model behind a step, or why there is none."""

    step: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    score: float = 0.0
    bytes: dict[str, int] = field(default_factory=dict)
    p50_ms: dict[str, float] = field(default_factory=dict)
    why: str = ""


def short(pairs: int, up: str) -> Setup:
    """Return pairs of sentences, scored by Spearman's correlation of their cosine with people's marks."""
    samples = CASES["minilm"].samples(2 * pairs)
    labels = samples.labels

    def score(found: Any, _: Any) -> float:
        return float(minilm_net.spearman((found[0::2] * found[1::2]).sum(1), labels))

    return Setup(
        length=SHORT,
        inputs=_cut(samples.inputs),
        calibration={name: array[:CALIBRATION] for name, array in _cut(samples.calibration).items()},
        score=score,
        steps=(
            "prune-heads:ratio=0.25",
            "prune-heads:ratio=0.5",
            *(f"prune-channels:ratio={ratio}{refit},{up}" for ratio in (0.25, 0.5) for refit in ("", ",refit=off")),
            "prune-layers:count=1,unit=layer",
            "prune-layers:count=2,unit=layer",
            "pool-tokens:after=4,upsample",
        ),
        says=f"score: Spearman's correlation on {pairs} pairs of STS-B's test set, {SHORT} tokens",
    )


def long() -> Setup:
    """Return texts of many sentences, scored by how near their embeddings stay to those of the model as it came."""
    samples = CASES["minilm"].samples(2000)
    words = [
        row[mask > 0][1:-1]
        for row, mask in zip(samples.inputs["input_ids"], samples.inputs["attention_mask"], strict=True)
    ]
    running, size = np.concatenate(words), LONG - 2
    rows = [np.concatenate([[CLS], running[at * size : (at + 1) * size], [SEP]]) for at in range(TEXTS)]
    ids = np.stack(rows).astype(np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return Setup(
        length=LONG,
        inputs=inputs,
        calibration={name: array[:4] for name, array in inputs.items()},
        score=lambda found, before: float((found * before).sum(1).mean()),
        steps=(
            "attention:size=64",
            "attention:size=64,masked",
            "pool-tokens:after=3,upsample",
        ),
        says=f"score: mean cosine with the embeddings of the model as it came, {TEXTS} texts of {LONG} tokens",
    )


def _cut(arrays: Mapping[str, Any]) -> Arrays:
    return {name: array[:, :SHORT] for name, array in arrays.items()}


def table(setup: Setup, source: Path, folder: Path) -> list[State]:
    """Carry out each step on the model of this length, and judge all of them."""
    folder.mkdir()
    model = graph_model.load(source)
    graph_model.freeze(model, dict.fromkeys(minilm_net.INPUTS, (1, setup.length)), source.name)
    before = folder / "minilm.onnx"
    graph_model.save(model, before)
    states, files = [State(step="as it came")], {0: before}
    for number, step in enumerate(setup.steps, 1):
        work = folder / f"step-{number}"
        work.mkdir()
        begin = time.monotonic()
        try:
            done = compress(
                before, parse_steps([step]), JobRunner(log=folder / "log"), work, calibration=setup.calibration
            )
        except ConversionError as exc:
            states.append(State(step=step, why=str(exc)))
        else:
            states[0].figures = done.stages[0].before
            states.append(State(step=step, figures=done.stages[0].after))
            files[number] = done.path
        print(f"  {step}: {time.monotonic() - begin:.0f} s {states[-1].why}", flush=True)
    original = _embedded(before, setup.inputs)
    for number, path in files.items():
        states[number].score = setup.score(original if number == 0 else _embedded(path, setup.inputs), original)
    _timed(states, files, setup, folder)
    return states


def _embedded(path: Path, inputs: Arrays) -> Any:
    ready = session(path, optimise=True)
    count = len(inputs["input_ids"])
    rows = [ready.run(None, {name: array[at : at + 1] for name, array in inputs.items()})[0] for at in range(count)]
    return minilm_net.embedding(np.concatenate(rows), inputs["attention_mask"])


def _timed(states: Sequence[State], files: Mapping[int, Path], setup: Setup, folder: Path) -> None:
    """Make the float files of all states, and time each target's in turns."""
    made: dict[str, tuple[int, str, Path]] = {}
    for number, path in files.items():
        report = edgekit.convert(path, edgekit.ConvertOptions(to=TARGETS, bench=False), folder / f"made-{number}")
        for one in report.artifacts:
            if one.path is None or one.size_bytes is None:
                states[number].why = str(one.reason)
                continue
            states[number].bytes[one.format] = one.size_bytes
            made[f"{number}-{one.format}"] = (number, one.format, folder / f"made-{number}" / one.path)
    inputs = {name: array[:8] for name, array in setup.inputs.items()}
    for target in TARGETS:
        candidates = [Candidate(key=key, path=path) for key, (_, kind, path) in made.items() if kind == target]
        jobs = JobRunner(log=folder / "log")
        found = [
            measure(candidates, jobs, folder, inputs=inputs, keep_outputs=False, runs=RUNS, warmup=WARMUP)
            for _ in range(2)
        ]
        for each in candidates:
            times = [run[each.key].p50_ms for run in found if run[each.key].error is None]
            states[made[each.key][0]].p50_ms[target] = statistics.median(times) if times else float("nan")


def _rows(states: Sequence[State]) -> list[str]:
    first = states[0]
    heads = [
        "step",
        "score",
        "parameters",
        "MACs",
        *(f"{one} bytes" for one in TARGETS),
        *(f"{one} p50" for one in TARGETS),
    ]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for one in states:
        if not one.figures:
            lines.append(f"| `{one.step}` | {one.why} |{' |' * (len(heads) - 2)}")
            continue
        cells = [f"`{one.step}`" if one is not first else one.step, f"{one.score:.4f}"]
        cells += [
            f"{one.figures[name]:,} ({one.figures[name] / first.figures[name]:.2f})" for name in ("parameters", "macs")
        ]
        cells += [f"{one.bytes[name]:,}" if name in one.bytes else "-" for name in TARGETS]
        cells += [
            f"{one.p50_ms[name]:.1f} ms ({first.p50_ms[name] / one.p50_ms[name]:.2f}x)" if name in one.p50_ms else "-"
            for name in TARGETS
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _up_layers(source: Path) -> str:
    """Return the option that names the layers of feed-forward nets: those with more columns than rows."""
    names = [
        f"layers={node.name}"
        for node in graph_model.load(source).graph
        if node.op_type == "MatMul" and node.outputs[0].shape is not None and node.outputs[0].shape[-1] == INNER
    ]
    return ",".join(names)


def main() -> None:
    """Judge all steps, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=300, help="pairs of sentences to score on")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    if not DATA.is_dir() or CASES["minilm"].missing:
        print("skipped: needs ../shared/data and the packages of MiniLM")
        return
    begin, lines = time.monotonic(), list[str]()
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as scratch:
        folder = Path(scratch)
        source = folder / "source.onnx"
        minilm_net.export("dynamo", str(source))
        for setup in (short(given.pairs, _up_layers(source)), long()):
            print(f"{setup.says} ({time.monotonic() - begin:.0f} s)", flush=True)
            states = table(setup, source, folder / str(setup.length))
            lines += [f"## {setup.length} tokens", "", f"{setup.says}.", "", *_rows(states), ""]
            print("\n".join(_rows(states)), flush=True)
            given.page.write_text("\n".join([*_head(begin), *lines]))
    print(f"wrote {given.page}")


def _head(begin: float) -> list[str]:
    known = environment()
    packages: Any = known["packages"]
    made = ", ".join(f"{name} {version}" for name, version in packages.items())
    command = shlex.join(["python", "-m", "tests.benchmarks.bench_compress_transformers", *sys.argv[1:]])
    return [
        "# Techniques for Transformers on MiniLM",
        "",
        (
            f"Written by `{command}` on {datetime.now(UTC):%Y-%m-%d} ({(time.monotonic() - begin) / 60:.0f} minutes) "
            f"on {known['cpu']}, {known['cores']} cores; {made}."
        ),
        "",
        "Each row is all-MiniLM-L6-v2 in float behind one step; p50 of one sentence on one thread, in turns with the",
        "other rows in one run; in brackets the share of what it was, or how many times faster it is.",
        "",
    ]


if __name__ == "__main__":
    main()
