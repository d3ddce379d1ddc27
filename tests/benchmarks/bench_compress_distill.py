"""Fine-tuning after pruning, and students with and without a teacher, on the graph itself.

`python -m tests.benchmarks.bench_compress_distill [--only pruned|students] [--epochs N] [--page FILE]` writes
`docs/benchmarks/compress-distill.md`.
"""

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._report import environment
from edgekit_converters.compress.engine import Compressed, compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.graph.oracle import session
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.quantization_page import _table
from tests.benchmarks.quantization_tools import ROOT, _environment
from tests.benchmarks.real_models import DATA
from tests.converters.compress.learning_nets import model, saved
from tests.converters.real_data import cifar10, cifar10_normalized
from tests.converters.real_torch_nets import resnet20

PAGE = ROOT / "docs" / "benchmarks" / "compress-distill.md"
SHOWN = 500
"""Images that pruning is calibrated on, without labels."""
SEEDS = (0, 1, 2)
LABELLED = 300
"""Digits that students see; their teacher saw 10,000."""
Rows = list[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Samples to train on and to judge by, with their classes."""

    train: Any
    classes: Any
    test: Any
    wanted: Any

    def score(self, file: Path) -> float:
        """Return the share of right classes, in percent."""
        ready = session(file, optimise=True)
        (one,) = ready.get_inputs()
        size = one.shape[0] if isinstance(one.shape[0], int) else 500
        parts = [ready.run(None, {one.name: self.test[at : at + size]})[0] for at in range(0, len(self.test), size)]
        return 100 * float((np.concatenate(parts).argmax(1) == self.wanted).mean())


def pruned(folder: Path, epochs: int) -> str:
    """Return the section on ResNet20 at half its multiplications."""
    import torch

    pixels, classes = cifar10(DATA / "cifar10-resnet" / "cifar10_jpeg_train5k.zip")
    shown, wanted = cifar10(DATA / "cifar10-resnet" / "cifar10_jpeg_test.zip")
    data = Data(train=cifar10_normalized(pixels), classes=classes, test=cifar10_normalized(shown), wanted=wanted)
    net, sample = resnet20()
    source = folder / "resnet20.onnx"
    torch.onnx.export(net, (sample,), str(source), input_names=["x"], external_data=False, verbose=False)
    begin = time.monotonic()
    some = {"x": data.train[:: len(data.train) // SHOWN]}
    half = _compressed(source, "prune-channels:macs=0.5", folder / "half", some, None)
    seconds = time.monotonic() - begin
    plain, first, last = half.before, half.stages[0].before, half.stages[0].after
    rows: Rows = [_row("as it came", plain, first, data, 0.0), _row("pruned", half.path, last, data, seconds)]
    print(rows, flush=True)
    common = f"epochs={epochs},rate=0.0005,batch=64,augment=mirrored"
    for at, (step, labels) in enumerate(
        {
            f"finetune:{common}": data.classes,
            f"distill:teacher={plain},{common}": data.classes,
            f"distill:teacher={plain},alpha=1,{common}": None,
        }.items()
    ):
        begin = time.monotonic()
        made = _compressed(half.path, step, folder / f"trained-{at}", {"x": data.train}, labels)
        shown_as = step.replace(f"teacher={plain},", "") + ("" if labels is not None else " (no labels)")
        rows.append(_row(f"pruned, `{shown_as}`", made.path, last, data, time.monotonic() - begin))
        print(rows[-1], flush=True)
    return "\n".join(
        [
            "## ResNet20 at half its multiplications",
            "",
            (
                f"`prune-channels:macs=0.5` on {SHOWN:,} unlabelled CIFAR-10 training JPEGs, then trained on all"
                " 5,000 with their labels; top-1 on the 10,000 test JPEGs. The teacher is the model before pruning."
            ),
            "",
            _table(("model", "parameters", "MACs", "top-1", "seconds"), rows),
            "",
        ]
    )


def students(folder: Path) -> str:
    """Return the section on a student with and without a teacher."""
    stored = np.load(DATA / "mnist" / "mnist.npz", allow_pickle=False)
    images = {name: (stored[name][:, None] / 255).astype(np.float32) for name in ("x_train", "x_test")}
    whole = Data(
        train=images["x_train"],
        classes=stored["y_train"].astype(np.int64),
        test=images["x_test"],
        wanted=stored["y_test"],
    )
    spread = slice(None, None, len(whole.train) // LABELLED)  # they are stored class by class
    few = Data(train=whole.train[spread], classes=whole.classes[spread], test=whole.test, wanted=whole.wanted)
    teacher = _compressed(
        saved(_net(16, 32, 0), folder / "teacher.onnx"), "finetune:epochs=5,rate=0.005,augment=moved",
        folder / "teacher", {"x": whole.train}, whole.classes,
    )  # fmt: skip
    known = whole.score(teacher.path)
    print(f"teacher {known:.2f}", flush=True)
    rows: Rows = []
    gains = []
    for seed in SEEDS:
        student = saved(_net(8, 16, seed), folder / f"student-{seed}.onnx")
        how = "epochs=40,rate=0.005,augment=moved"
        found = [
            few.score(
                _compressed(student, step, folder / f"{step[:4]}-{seed}", {"x": few.train}, few.classes, seed).path
            )
            for step in (f"finetune:{how}", f"distill:teacher={teacher.path},{how}")
        ]
        gains.append(found[1] - found[0])
        rows.append((str(seed), f"{found[0]:.2f}", f"{found[1]:.2f}", f"{gains[-1]:+.2f}"))
        print(rows[-1], flush=True)
    rows.append(("mean", "", "", f"{np.mean(gains):+.2f}"))
    return "\n".join(
        [
            "## A student with and without a teacher",
            "",
            (
                f"MNIST: {LABELLED:,} labelled digits to train on, 10,000 to judge by. The student (8 and 16 channels)"
                f" begins from the same weights and goes through the same `{how}`, by labels"
                f" alone (`finetune`) and with a teacher (`distill`) of 16 and 32 channels that gets {known:.2f} %."
            ),
            "",
            _table(("seed", "labels alone", "with the teacher", "gain in points"), rows),
            "",
        ]
    )


def _net(first: int, second: int, seed: int) -> Any:
    """Return an untrained net for 28x28 digits."""
    return model(
        """a = Conv<pads=[1,1,1,1],strides=[2,2]>(x, w0, b0) c = Relu(a)
           d = Conv<pads=[1,1,1,1],strides=[2,2]>(c, w1, b1) e = Relu(d)
           p = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(e) f = Flatten(p)
           l = Gemm(f, w2, b2) y = Softmax(l)""",
        "float[N,1,28,28] x",
        "float[N,10] y",
        {"w0": (first, 1, 3, 3), "b0": (first,), "w1": (second, first, 3, 3), "b1": (second,),
         "w2": (16 * second, 10), "b2": (10,)},
        seed,
    )  # fmt: skip


def _compressed(  # noqa: PLR0913, PLR0917  # a step and what it works with
    file: Path, step: str, folder: Path, samples: Mapping[str, Any], labels: Any, seed: int = 0
) -> Compressed:
    folder.mkdir()
    jobs = JobRunner(log=folder / "run.log", environment=_environment())
    given = None if labels is None else {"y": labels}
    return compress(file, parse_steps([step]), jobs, folder, calibration=dict(samples), labels=given, seed=seed)


def _row(name: str, file: Path, figures: Mapping[str, Any], data: Data, seconds: float) -> tuple[str, ...]:
    sizes = f"{figures['parameters']:,}", f"{figures['macs'] / 1e6:.1f} M"
    return name, *sizes, f"{data.score(file):.2f}", f"{seconds:.0f}"


def _page(sections: Sequence[str], seconds: float) -> str:
    known = environment()
    packages: Any = known["packages"]
    made = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    head = [
        "# Fine-tuning and distillation on the graph",
        "",
        (
            f"Written by `python -m tests.benchmarks.bench_compress_distill` on {dt.datetime.now(dt.UTC):%Y-%m-%d}"
            f" ({seconds / 60:.0f} minutes) on {known['cpu']}, {known['cores']} cores; {made}."
        ),
        "",
    ]
    return "\n".join([*head, *sections])


def main() -> None:
    """Run what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["pruned", "students"])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    begin, sections = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        if given.only != "students":
            sections.append(pruned(Path(folder), given.epochs))
        if given.only != "pruned":
            sections.append(students(Path(folder)))
    given.page.write_text(_page(sections, time.monotonic() - begin))
    print(f"wrote {given.page}")


if __name__ == "__main__":
    main()
