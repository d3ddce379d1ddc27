"""What recipes of several techniques do to real models: `python -m tests.benchmarks.bench_compress [NAMES...]`.

Every state of a model is made in float for TFLite and OpenVINO, scored on the same samples and timed in turns with all
others in one run. Writes docs/benchmarks/compress.md.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit._report import CompressionStep, StepFigures, environment
from tests.benchmarks.quantization_cases import CASES
from tests.benchmarks.quantization_tools import FACTORIES
from tests.benchmarks.real_models import DATA
from tests.converters.real_data import cifar10, cifar10_normalized

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "compress.md"
TARGETS = ("tflite", "openvino")
TRAINING = 2000
"""Labelled images of CIFAR-10's training set that steps are calibrated on, and train on where they train."""

Recipes = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A model of `quantization_cases` and the recipes it goes through; `int8` ends them in quantization."""

    recipes: Recipes
    int8: tuple[str, ...] = ()
    labelled: bool = False
    """Whether it is calibrated on labelled images of CIFAR-10's training set."""


HALF = "prune-channels:macs=0.5"
BENCHES: Mapping[str, Bench] = {
    "resnet8": Bench(recipes=((HALF, "factorize:energy=0.98", "fuse"),), int8=(HALF, "fuse"), labelled=True),
    "resnet20": Bench(
        recipes=((f"{HALF},refit=off",), (HALF, "fuse"), (HALF, "finetune")), int8=(HALF, "fuse"), labelled=True
    ),
    "kws": Bench(recipes=((HALF, "fuse"),)),
    "lite0": Bench(recipes=(("fuse", "replace"), ("prune-channels:macs=0.8",))),
    "vww": Bench(recipes=(("tile",),)),
    "minilm": Bench(recipes=(("fuse-siblings",), ("prune-heads:ratio=0.25", "factorize:parameters=0.7"))),
}


def main() -> None:
    """Run the recipes of the models named, or of all, and write the page as it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help="models; all by default")
    parser.add_argument("--samples", type=int, default=1000, help="samples to score on at most")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    page = given.page.resolve()
    os.chdir(FACTORIES)  # where the functions are that make the PyTorch nets
    begin, sections = time.monotonic(), []
    for name in given.names or BENCHES:
        print(f"{name} ({time.monotonic() - begin:.0f} s)", flush=True)
        with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
            sections.append(_section(name, BENCHES[name], given.samples, Path(folder)))
        page.write_text(_page(sections, given.samples, time.monotonic() - begin))
    print(f"wrote {page} after {time.monotonic() - begin:.0f} s")


def _section(name: str, bench: Bench, limit: int, folder: Path) -> str:
    case = CASES[name]
    samples = case.samples(limit)
    calibration: dict[str, Any] = dict(samples.calibration)
    if bench.labelled:
        pixels, labels = cifar10(DATA / "cifar10-resnet" / "cifar10_jpeg_train5k.zip", TRAINING)
        calibration = {"x": cifar10_normalized(pixels) if name == "resnet20" else pixels, "y": labels}
    labels = {} if samples.labels is None else {"y": samples.labels}
    np.savez(folder / "calibration.npz", **calibration)
    np.savez(folder / "evaluation.npz", **dict(samples.inputs), **labels)
    options = edgekit.ConvertOptions(
        to=TARGETS,
        calib=str(folder / "calibration.npz"),
        eval=str(folder / "evaluation.npz"),
        metric=case.metric if samples.labels is not None else "cosine",
        shapes=case.net.shapes,
    )
    lines = [f"## {case.title}", "", f"{len(next(iter(samples.inputs.values()))):,} samples; {samples.note}.", ""]
    for number, recipe in enumerate(bench.recipes):
        model = Path(case.net.model())
        try:
            report = edgekit.compress(model, recipe, folder / f"out-{number}", options)
        except Exception as exc:  # noqa: BLE001  # one recipe that fails is a line of the page
            lines += [f"`{'`, `'.join(recipe)}`: {exc}", ""]
            continue
        lines += [*_table(report.compression), ""]
        print("\n".join(_table(report.compression)), flush=True)
    if bench.int8:
        lines += [*_quantized(Path(case.net.model()), bench.int8, options, folder), ""]
    return "\n".join(lines)


def _table(steps: Sequence[CompressionStep]) -> list[str]:
    first = steps[0].before
    heads = ["step", "parameters", "MACs", "score"]
    heads += [f"{one} {what}" for what in ("bytes", "p50") for one in TARGETS]
    rows = [_row("as it came", first, first), *(_row(f"`{one.text}`", one.after, first) for one in steps)]
    return _markdown(heads, rows)


def _row(name: str, state: StepFigures, first: StepFigures) -> list[str]:
    score = f"{state.accuracy.artifact:.4f}" if state.accuracy else "-"
    return [
        name,
        _ratio(state.parameters, first.parameters),
        _ratio(state.macs, first.macs),
        score,
        *(_ratio(state.bytes[one], first.bytes[one]) if one in state.bytes else "-" for one in TARGETS),
        *(
            f"{state.p50_ms[one]:.3f} ms ({first.p50_ms[one] / state.p50_ms[one]:.2f}x)" if one in state.p50_ms else "-"
            for one in TARGETS
        ),
    ]


def _ratio(value: int, first: int) -> str:
    return f"{value:,} ({value / first:.2f})"


def _quantized(model: Path, steps: tuple[str, ...], options: Any, folder: Path) -> Iterable[str]:
    """Return the same recipe ended in int8: prune, fuse and quantize in one go."""
    asked = replace(options, compress=steps, precisions=("fp32", "int8"))
    report = edgekit.convert(model, asked, folder / "int8")
    rows = [
        [
            f"{one.format} {one.precision}",
            f"{one.accuracy.artifact:.4f}" if one.accuracy else "-",
            f"{one.size_bytes:,}" if one.size_bytes else "-",
            f"{one.latency.p50_ms:.3f} ms" if one.latency else "-",
        ]
        for one in report.artifacts
    ]
    table = _markdown(["artifact", "score", "bytes", "p50"], rows)
    return [f"Then quantized, in one recipe: `{'`, `'.join(steps)}`.", "", *table]


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _page(sections: Sequence[str], samples: int, seconds: float) -> str:
    known = environment()
    packages: Any = known["packages"]
    made = ", ".join(f"{name} {version}" for name, version in packages.items())
    head = [
        "# Recipes of compression on real models",
        "",
        (
            f"Written by `python -m tests.benchmarks.bench_compress --samples {samples}` on "
            f"{datetime.now(UTC):%Y-%m-%d} ({seconds / 60:.0f} minutes) on {known['cpu']}, "
            f"{known['cores']} cores; {made}."
        ),
        "",
        "Every row is the model in float behind a step, scored on the same samples, timed in turns with the others",
        "of its table in one run on a thread; in brackets the share of what it was, or how many times faster it is.",
        "",
    ]
    return "\n".join([*head, *sections])


if __name__ == "__main__":
    main()
