"""Models timed on the formats of their targets while a budget of time is sought."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.conversion import ConversionRequest, ConversionResult, convert
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays
from edgekit_converters.timing import SAMPLES
from tests.converters import onnx_text

NET = """(float[1,4,6,6] x) => (float[1,5,6,6] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w, b)  r = Relu(a)  y = Conv<pads = [1, 1, 1, 1]>(r, v, c)
}"""
SHAPES = {"w": (32, 4, 3, 3), "b": (32,), "v": (5, 32, 3, 3), "c": (5,)}


class BySize:
    """A stopwatch by which an artifact takes as long as it is large, and OpenVINO a half more whatever it is."""

    def __init__(self) -> None:
        """Begin with nothing timed."""
        self.shares: list[dict[str, float]] = []
        self.inputs: Arrays = {}

    def __call__(self, files: Mapping[str, Path], inputs: Arrays) -> dict[str, float]:
        self.inputs = inputs
        sizes = {name: float(path.with_suffix(".bin").stat().st_size) for name, path in files.items() if "vino" in name}
        times = {name: size + sizes["before-openvino"] / 2 for name, size in sizes.items()}
        times |= {name: float(path.stat().st_size) for name, path in files.items() if "onnx" in name}
        targets = {name.rpartition("-")[2] for name in files}
        self.shares.append({one: times[f"candidate-{one}"] / times[f"before-{one}"] for one in targets})
        return times


def converted(tmp_path: Path, stopwatch: BySize, *targets: str) -> ConversionResult:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    work = tmp_path / "work"
    work.mkdir()
    request = ConversionRequest(
        model=onnx_text.write(tmp_path / "net.onnx", NET, weights),
        wanted=tuple((target, "fp32") for target in targets),
        output=tmp_path / "out",
        work=work,
        reference_inputs={"x": rng.normal(size=(40, 4, 6, 6)).astype(np.float32)},
        compress=parse_steps(["prune-channels:latency=0.8,by=l2,refit=off"]),
        stopwatch=stopwatch,
    )
    return convert(request, JobRunner(log=tmp_path / "log"))


@pytest.mark.slow
def test_of_several_targets_the_one_that_gains_least_counts(tmp_path: Path) -> None:
    stopwatch = BySize()
    made = converted(tmp_path, stopwatch, "onnx", "openvino").compressed
    assert made is not None
    last = stopwatch.shares[-1]
    assert last["onnx"] < last["openvino"]
    assert made.stages[0].effect.figures["latency_share"] == pytest.approx(last["openvino"], abs=0.001)
    assert last["openvino"] <= 0.8
    assert {name: array.shape for name, array in stopwatch.inputs.items()} == {"x": (SAMPLES, 4, 6, 6)}
