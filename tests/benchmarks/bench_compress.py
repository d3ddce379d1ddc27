"""What recipes of several techniques do to real models: `python -m tests.benchmarks.bench_compress [NAMES...]`.

Every state of a model is made in float for TFLite and OpenVINO, scored on the same samples and timed in turns with all
others in one run. Writes docs/benchmarks/compress.md; with names, puts their sections into the page that is there.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit._report import CompressionStep, StepFigures, environment
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.quantization_cases import CASES
from tests.benchmarks.quantization_tools import FACTORIES
from tests.benchmarks.real_models import DATA
from tests.converters import minilm_net
from tests.converters.compress.learning_nets import model, saved
from tests.converters.real_data import cifar10, cifar10_normalized

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "compress.md"
TARGETS = ("tflite", "openvino")
TRAINING = 5000
"""Labelled images of CIFAR-10's training set that steps are calibrated on, and train on where they train."""
DIGITS = 2000
"""Of MNIST, to calibrate on; the net was trained on 10,000."""

Recipes = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The recipes a model goes through; `int8` ends them in quantization."""

    recipes: Recipes
    int8: tuple[str, ...] = ()
    given: Callable[[int, Path], "Given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A model, the arrays that steps are given and those it is judged by, with labels `y` where there are any."""

    title: str
    model: Path
    calibration: Mapping[str, Any]
    judged: Mapping[str, Any]
    note: str
    metric: str = "top1"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def real(name: str) -> Callable[[int, Path], Given]:
    """Return what gives a model of `quantization_cases`."""

    def given(limit: int, _: Path) -> Given:
        case = CASES[name]
        samples = case.samples(limit)
        calibration, note = dict(samples.calibration), samples.note
        if name in {"resnet8", "resnet20"}:
            pixels, labels = cifar10(DATA / "cifar10-resnet" / "cifar10_jpeg_train5k.zip", TRAINING)
            calibration = {"x": cifar10_normalized(pixels) if name == "resnet20" else pixels, "y": labels}
            note = (
                f"given {TRAINING:,} labelled images of CIFAR-10's training set, judged on its test set, both as JPEG"
            )
        labels = {} if samples.labels is None else {"y": samples.labels}
        return Given(
            title=case.title,
            model=Path(case.net.model()),
            calibration=calibration,
            judged={**samples.inputs, **labels},
            note=note,
            metric=case.metric if labels else "cosine",
            shapes=case.net.shapes,
        )

    return given


def minilm(limit: int, folder: Path) -> Given:
    """Return MiniLM with pairs of sentences: it is scored by how alike their embeddings are."""
    given = real("minilm")(limit, folder)
    labels = minilm_net.pair_labels(given.judged["attention_mask"], given.judged["y"])
    return replace(given, judged={**given.judged, "y": labels}, metric="minilm_net:pairs_spearman")


def resnet20_free(limit: int, folder: Path) -> Given:
    """Return ResNet20 with a free batch: steps that go over samples take several at once."""
    return replace(real("resnet20")(limit, folder), model=Path("real_torch_nets:resnet20_free"))


def digits(limit: int, folder: Path) -> Given:
    """Train a small net on MNIST."""
    stored = np.load(DATA / "mnist" / "mnist.npz", allow_pickle=False)
    train, test = ((stored[name][:, None] / 255).astype(np.float32) for name in ("x_train", "x_test"))
    labels = stored["y_train"].astype(np.int64)
    jobs = JobRunner(log=folder / "training.log")
    steps = parse_steps(["finetune:epochs=5,rate=0.003,batch=64,augment=moved"])
    net = saved(_mnist_net(), folder / "mnist.onnx")
    trained = compress(net, steps, jobs, folder, calibration={"x": train}, labels={"y": labels})
    some = slice(None, None, len(train) // DIGITS)  # they are stored class by class
    chosen = np.linspace(0, len(test) - 1, min(limit, len(test))).astype(int)
    return Given(
        title="An MNIST CNN trained here",
        model=trained.path,
        calibration={"x": train[some], "y": labels[some]},
        judged={"x": test[chosen], "y": stored["y_test"][chosen].astype(np.int64)},
        note=f"trained on {len(train):,} digits for five epochs, given {len(train[some]):,} of them, judged on others",
    )


def _mnist_net() -> Any:
    return model(
        """a = Conv<pads=[1,1,1,1]>(x, w0, b0) c = Relu(a) m = MaxPool<kernel_shape=[2,2],strides=[2,2]>(c)
           d = Conv<pads=[1,1,1,1]>(m, w1, b1) e = Relu(d) p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(e)
           f = Flatten(p) g = Gemm(f, w2, b2) h = Relu(g) l = Gemm(h, w3, b3) y = Softmax(l)""",
        "float[N,1,28,28] x",
        "float[N,10] y",
        {"w0": (32, 1, 3, 3), "b0": (32,), "w1": (64, 32, 3, 3), "b1": (64,), "w2": (3136, 128), "b2": (128,),
         "w3": (128, 10), "b3": (10,)},
    )  # fmt: skip


HALF = "prune-channels:macs=0.5"
LAYERS = f"{HALF},refit=layers"
TUNED = "finetune:epochs=8,rate=0.0005,batch=64,augment=mirrored"
LONGER = TUNED.replace("epochs=8", "epochs=16")
BENCHES: Mapping[str, Bench] = {
    "mnist": Bench(
        given=digits,
        recipes=((HALF, "factorize:energy=0.98", "fuse:optional"),),
        int8=(LAYERS, "factorize:energy=0.98", "fuse:optional"),
    ),
    "resnet8": Bench(
        given=real("resnet8"), recipes=((f"{HALF},refit=off",), (HALF, TUNED)), int8=(LAYERS, "fuse:optional")
    ),
    "resnet20": Bench(
        given=resnet20_free,
        recipes=(
            (f"{HALF},refit=off",),
            ("prune-channels:macs=0.48,round=4", TUNED),
            ("prune-channels:macs=0.43,round=8,refit=layers", TUNED),
            ("prune-channels:latency=0.66", LONGER),
        ),
        int8=(LAYERS, "fuse:optional"),
    ),
    "kws": Bench(given=real("kws"), recipes=((HALF, "fuse:optional"),)),
    "lite0": Bench(
        given=real("lite0"), recipes=(("fuse:optional", "replace:optional"), ("prune-channels:macs=0.8,refit=layers",))
    ),
    "vww": Bench(given=real("vww"), recipes=(("tile:budget=44000",),)),
    "minilm": Bench(
        given=minilm, recipes=(("fuse-siblings",), ("prune-heads:ratio=0.25", "factorize:parameters=0.83"))
    ),
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
    begin = time.monotonic()
    sections = _sections(page) if given.names and page.exists() else {}
    for name in given.names or BENCHES:
        print(f"{name} ({time.monotonic() - begin:.0f} s)", flush=True)
        with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
            made = _section(name, given.samples, Path(folder))
        sections[made.splitlines()[0]] = made
        page.write_text(_page(sections.values()))
    print(f"wrote {page} after {time.monotonic() - begin:.0f} s")


def _section(name: str, limit: int, folder: Path) -> str:
    bench = BENCHES[name]
    given = bench.given(limit, folder)
    np.savez(folder / "calibration.npz", **dict(given.calibration))
    np.savez(folder / "evaluation.npz", **dict(given.judged))
    options = edgekit.ConvertOptions(
        to=TARGETS,
        calib=str(folder / "calibration.npz"),
        eval=str(folder / "evaluation.npz"),
        metric=given.metric,
        shapes=given.shapes,
    )
    count = len(next(iter(given.judged.values())))
    when = f"{datetime.now(UTC):%Y-%m-%d} by `python -m tests.benchmarks.bench_compress {name} --samples {limit}`"
    lines = [f"## {given.title}", "", f"{count:,} samples; {given.note}. Run on {when}.", ""]
    for number, recipe in enumerate(bench.recipes):
        try:
            report = edgekit.compress(given.model, recipe, folder / f"out-{number}", options)
        except Exception as exc:  # noqa: BLE001  # one recipe that fails is a line of the page
            lines += [f"`{'`, `'.join(recipe)}`: {exc}", ""]
            continue
        lines += [*_table(report.compression), ""]
        print("\n".join(_table(report.compression)), flush=True)
    if bench.int8:
        lines += [*_quantized(given.model, bench.int8, options, folder), ""]
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


def _sections(page: Path) -> dict[str, str]:
    """Return what a page holds behind its head, by headings."""
    parts = [f"## {one}" for one in page.read_text().split("\n## ")[1:]]
    return {one.splitlines()[0]: one for one in parts}


def _page(sections: Iterable[str]) -> str:
    known = environment()
    packages: Any = known["packages"]
    made = ", ".join(f"{name} {version}" for name, version in packages.items())
    head = [
        "# Recipes of compression on real models",
        "",
        f"Written by `python -m tests.benchmarks.bench_compress` on {known['cpu']}, {known['cores']} cores; {made}.",
        "",
        "Every row is the model in float behind a step, scored on the same samples, timed in turns with the others",
        "of its table in one run on a thread; in brackets the share of what it was, or how many times faster it is.",
        "",
    ]
    return "\n".join([*head, *(f"{one.rstrip()}\n" for one in sections)])


if __name__ == "__main__":
    main()
