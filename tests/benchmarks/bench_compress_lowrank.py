"""What low-rank factors do to real models: writes `docs/benchmarks/compress-lowrank.md`.

`python -m tests.benchmarks.bench_compress_lowrank [--samples N] [--page FILE] [NAME ...]`. Each row is a run of its
own, whose model as it came is timed in turns with the factorized one: ratios are of one run.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit._report import CompressionStep, environment
from tests.benchmarks.quantization_cases import CALIBRATION, CASES
from tests.benchmarks.real_models import DATA, NETS
from tests.converters import minilm_net
from tests.converters.real_data import sound_windows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "compress-lowrank.md"
TARGETS = ("tflite", "openvino")
WAYS: Mapping[str, str] = {"plain SVD": ",plain", "data-aware": "", "data-aware, fitted anew": ",refit"}
HERE = "tests.benchmarks.bench_compress_lowrank"
FFN = 1536
"""The width between the two layers of MiniLM's feed-forward nets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A model with its data: arrays by name, labels among those it is scored on."""

    title: str
    model: Path
    note: str
    metric: str
    calibration: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    goals: Sequence[str]
    layers: Sequence[str] = ()
    """Those that are factorized; all without any."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def sound_score(outputs: Mapping[str, Any], windows: Any) -> Any:
    """Return what the anomaly detector's score is the mean of: the mean squared error of every window."""
    return np.mean((next(iter(outputs.values())) - windows) ** 2, axis=-1)


def pair_score(outputs: Mapping[str, Any], labels: Mapping[str, Any]) -> float:
    """Return the rank correlation of what people say and of the cosine of sentences 2i and 2i + 1."""
    vectors = minilm_net.embedding(next(iter(outputs.values())), labels["mask"])
    return minilm_net.spearman(np.sum(vectors[::2] * vectors[1::2], axis=1), labels["y"][::2])


def _ad(_: int, __: Path) -> Bench:
    windows = sound_windows(DATA)
    half = len(windows) // 2
    return Bench(
        title="Anomaly detector (dense autoencoder, Keras)",
        model=Path(NETS["ad"].model()),
        note="one sound is all there is: calibrated on its first half, scored on the other",
        metric=f"{HERE}:sound_score",
        calibration={"x": windows[:half]},
        evaluation={"x": windows[half:], "y": windows[half:]},
        goals=("parameters=0.5", "parameters=0.35"),
    )


def _minilm(limit: int, folder: Path) -> Bench:
    import onnx

    case = CASES["minilm"]
    samples = case.samples(limit)
    assert samples.labels is not None
    labels = {"y": np.repeat(samples.labels, 2), "mask": samples.inputs["attention_mask"]}
    minilm_net.export("dynamo", str(folder / "minilm.onnx"))
    graph = onnx.load(folder / "minilm.onnx").graph
    wide = {one.name for one in graph.initializer if len(one.dims) > 1 and FFN in one.dims}
    return Bench(
        title="MiniLM (its feed-forward layers, PyTorch)",
        model=folder / "minilm.onnx",
        note=samples.note,
        metric=f"{HERE}:pair_score",
        calibration=samples.calibration,
        evaluation={**samples.inputs, **labels},
        goals=("ratio=0.5",),
        layers=[one.name for one in graph.node if one.op_type in {"MatMul", "Gemm"} and wide & set(one.input)],
        shapes=case.net.shapes,
    )


def _kws(limit: int, _: Path) -> Bench:
    case = CASES["kws"]
    samples = case.samples(limit)
    return Bench(
        title="KWS (DS-CNN, SavedModel)",
        model=Path(case.net.model()),
        note=samples.note,
        metric=case.metric,
        calibration=samples.calibration,
        evaluation={**samples.inputs, "y": samples.labels},
        goals=("energy=0.98",),
    )


BENCHES: Mapping[str, Callable[[int, Path], Bench]] = {"ad": _ad, "kws": _kws, "minilm": _minilm}


def _section(bench: Bench, folder: Path) -> Iterator[str]:
    np.savez(folder / "calibration.npz", **bench.calibration)
    np.savez(folder / "evaluation.npz", **bench.evaluation)
    options = edgekit.ConvertOptions(
        to=TARGETS,
        calib=str(folder / "calibration.npz"),
        eval=str(folder / "evaluation.npz"),
        metric=bench.metric,
        shapes=bench.shapes,
    )
    count = len(next(iter(bench.evaluation.values())))
    yield f"## {bench.title}\n\n{count:,} samples; {bench.note}.\n"
    heads = ["asked", "how", "parameters", "MACs", "score", "changed by"]
    heads += [f"{one} {what}" for what in ("bytes", "p50") for one in TARGETS]
    yield f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
    for goal in bench.goals:
        for number, (name, more) in enumerate(WAYS.items()):
            step = f"factorize:{goal}{more}{''.join(f',layers={one}' for one in bench.layers)}"
            report = edgekit.compress(bench.model, (step,), folder / f"{goal}-{number}", options)
            row = f"| {' | '.join(_row(f'`{goal}`', name, report.compression[0]))} |"
            print(row, flush=True)
            yield row


def _row(goal: str, way: str, step: CompressionStep) -> list[str]:
    before, after = step.before, step.after
    assert before.accuracy is not None
    assert after.accuracy is not None
    change = after.accuracy.artifact / before.accuracy.artifact - 1
    return [
        goal,
        way,
        f"{before.parameters:,} -> {after.parameters:,} ({before.parameters / after.parameters:.2f}x fewer)",
        f"{before.macs:,} -> {after.macs:,} ({before.macs / after.macs:.2f}x fewer)",
        f"{before.accuracy.artifact:.4f} -> {after.accuracy.artifact:.4f}",
        f"{change:+.2%}",
        *(f"{before.bytes[one]:,} -> {after.bytes[one]:,}" for one in TARGETS),
        *(f"{after.p50_ms[one]:.3f} ms ({before.p50_ms[one] / after.p50_ms[one]:.2f}x)" for one in TARGETS),
    ]


def _page(parts: Sequence[str], command: str, seconds: float) -> str:
    known = environment()
    packages: Any = known["packages"]
    head = (
        "# Low-rank factors on real models\n\n"
        f"Written by `{command}` on {datetime.now(UTC):%Y-%m-%d} ({seconds / 60:.0f} minutes) on {known['cpu']}, "
        f"{known['cores']} cores; {', '.join(f'{name} {version}' for name, version in packages.items())}.\n\n"
        "Float models, no gradients, at most "
        f"{CALIBRATION} samples to calibrate on. Times are medians on one thread, in brackets how many times faster "
        "than the model as it came in the same run.\n"
    )
    return "\n".join([head, *parts]) + "\n"


def main() -> None:
    """Run the models named, or all, and write the page as it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help="models; all by default")
    parser.add_argument("--samples", type=int, default=1000, help="samples to score on at most")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    if not DATA.is_dir():
        print("skipped: needs the real models and data in ../shared/data")
        return
    begin, parts = time.monotonic(), list[str]()
    command = f"python -m tests.benchmarks.bench_compress_lowrank --samples {given.samples}"
    for name in given.names or BENCHES:
        print(f"{name} ({time.monotonic() - begin:.0f} s)", flush=True)
        with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
            for part in _section(BENCHES[name](given.samples, Path(folder)), Path(folder)):
                parts.append(part)
                given.page.write_text(_page(parts, command, time.monotonic() - begin))
        parts.append("")
    print(f"wrote {given.page} after {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
