"""What fusion is worth in time: `python -m tests.benchmarks.bench_compress_fuse [NAMES...]`.

Every state of a model is made in float for TFLite, OpenVINO and ONNX Runtime, and all of them are timed in turns in one
run. Writes docs/benchmarks/compress-fuse.md.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit._report import environment
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.quantization_tools import FACTORIES
from tests.benchmarks.real_models import NETS
from tests.converters.compress.rewritten import net

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "compress-fuse.md"
TARGETS = {"tflite": ".tflite", "openvino": ".xml", "onnx": ".onnx"}
_IMAGE = (3, 32, 32)


@dataclass(frozen=True, slots=True)
class State:
    """A model at a point of its way: files that run one after the other."""

    name: str
    models: tuple[Path, ...]


def main() -> None:
    """Time the cases named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *CASES], help="cases; all by default")
    parser.add_argument("--runs", type=int, default=200, help="inferences a file")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    page = given.page.resolve()
    os.chdir(FACTORIES)  # where the functions are that make the PyTorch nets
    sections = []
    for name in given.names or CASES:
        with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
            title, states = CASES[name]
            sections.append(_section(title, states(Path(folder)), Path(folder), given.runs))
            print(sections[-1], flush=True)
    page.write_text("\n".join([_head(given.runs), *sections]))


def _minilm(folder: Path) -> list[State]:
    """Queries, keys and values of six layers."""
    model = _onnx(Path(NETS["minilm-1x48"].model()), folder, NETS["minilm-1x48"].shapes)
    return _behind(model, folder, ("fuse",), ("fuse", "fuse-siblings"))


def _chained(folder: Path) -> list[State]:
    """Pixels made what a net was trained on, by a net of its own before it."""
    import onnx

    resnet = _onnx(Path(NETS["resnet20"].model()), folder, {})
    (takes,) = onnx.load(str(resnet)).graph.input
    weights = {
        "all": np.float32(255),
        "mean": np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1),
        "deviation": np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1),
    }
    sizes = ",".join(map(str, (1, *_IMAGE)))
    before = folder / "normalise.onnx"
    text = f"pixels[{sizes}] -> image: a=Div(pixels,all) b=Sub(a,mean) image=Div(b,deviation)"
    onnx.save(net(text, weights, 17), str(before))
    whole = edgekit.join(before, resnet, folder / "whole.onnx", chain={"image": takes.name})
    return [
        State("two models", (before, resnet)),
        State("`join`", (whole.path,)),
        *_behind(whole.path, folder, ("replace:rules=div-to-mul", "fuse"))[1:],
    ]


def _repvgg(folder: Path) -> list[State]:
    """Blocks of 3x3, 1x1 and skip, each with its norm: RepVGG as it is trained."""
    import torch

    torch.manual_seed(0)
    program = torch.export.export(_blocks().eval(), (torch.zeros(1, *_IMAGE),))
    path = folder / "repvgg.onnx"
    torch.onnx.export(program, (), str(path), dynamo=True, external_data=False)
    return _behind(path, folder, ("fuse-branches",))


def _blocks() -> Any:
    import torch

    class Block(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.wide = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.point = torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.norms = torch.nn.ModuleList([torch.nn.BatchNorm2d(outputs) for _ in range(3)])
            self.skips = inputs == outputs and stride == 1

        def forward(self, x: Any) -> Any:
            total = self.norms[0](self.wide(x)) + self.norms[1](self.point(x))
            return torch.relu(total + self.norms[2](x) if self.skips else total)

    sizes = [(3, 32, 1), *[(32, 32, 1)] * 4, (32, 64, 2), *[(64, 64, 1)] * 4, (64, 128, 2), *[(128, 128, 1)] * 2]
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, 10)]
    return torch.nn.Sequential(*(Block(*one) for one in sizes), *head)


CASES: Mapping[str, tuple[str, Callable[[Path], list[State]]]] = {
    "minilm": ("MiniLM, 48 tokens: queries, keys and values as one layer", _minilm),
    "chained": ("A normalisation and ResNet20 as one model", _chained),
    "repvgg": ("A RepVGG-style net: 3x3, 1x1 and skip as one kernel", _repvgg),
}


def _onnx(model: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """Return a model of any format as ONNX."""
    work = folder / "source"
    work.mkdir()
    asked = LoadRequest(model=model, work=work, shapes=shapes, through_onnx=True)
    loaded = frontend_for(model).load(asked, JobRunner(log=folder / "load.log"))
    assert loaded.onnx is not None
    return loaded.onnx


def _behind(model: Path, folder: Path, *recipes: tuple[str, ...]) -> list[State]:
    """Return a model as it came, and behind each of the recipes."""
    states = [State("as it came", (model,))]
    for number, recipe in enumerate(recipes):
        work = folder / f"recipe-{number}"
        work.mkdir()
        made = compress(model, parse_steps(recipe), JobRunner(log=work / "run.log"), work)
        states.append(State(" + ".join(f"`{one}`" for one in recipe), (made.path,)))
    return states


def _section(title: str, states: Sequence[State], folder: Path, runs: int) -> str:
    made = {
        path: _converted(path, folder / f"made-{number}")
        for number, path in enumerate(dict.fromkeys(path for one in states for path in one.models))
    }
    files = [file for of_one in made.values() for file in of_one.values()]
    rows = edgekit.bench(files, runs=runs).rows
    for row in rows:
        if row.measured.error is not None:
            raise row.measured.failure()
    times = {row.model: row.measured.p50_ms for row in rows}
    lines = [
        f"## {title}",
        "",
        f"| state | nodes | {' | '.join(f'{one} p50' for one in TARGETS)} |",
        "|---|---|---|---|---|",
    ]
    first: dict[str, float] = {}
    for state in states:
        cells = []
        for target in TARGETS:
            spent = sum(times[str(made[path][target])] for path in state.models)
            first.setdefault(target, spent)
            cells.append(f"{spent:.3f} ms ({first[target] / spent:.2f}x)")
        nodes = sum(_nodes(path) for path in state.models)
        lines.append(f"| {state.name} | {nodes} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _converted(model: Path, folder: Path) -> dict[str, Path]:
    options = edgekit.ConvertOptions(to=tuple(TARGETS), precisions=("fp32",), bench=False)
    report = edgekit.convert(model, options, folder)
    return {one.format: folder / str(one.path) for one in report.artifacts}


def _nodes(model: Path) -> int:
    import onnx

    return len(onnx.load(str(model), load_external_data=False).graph.node)


def _head(runs: int) -> str:
    known = environment()
    packages: Any = known["packages"]
    made = ", ".join(f"{name} {version}" for name, version in packages.items())
    return (
        "# What fusion is worth in time\n\n"
        f"Written by `python -m tests.benchmarks.bench_compress_fuse --runs {runs}` on {datetime.now(UTC):%Y-%m-%d} on"
        f" {known['cpu']}, {known['cores']} cores; {made}.\n\n"
        "Every state is the model in float, one thread; all of a table are timed in turns in one run, and in brackets\n"
        "is how many times faster than the first row it is. Runtimes fuse a good part by themselves when they load a\n"
        "model.\n"
    )


if __name__ == "__main__":
    main()
