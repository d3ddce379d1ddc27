"""ONNX artifacts of labelled models: accuracy, size and p50 of each form against float, on ONNX Runtime in one run.

`python -m tests.benchmarks.bench_onnx [SAMPLES]`; the models are those of ../shared/data.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._convert import convert
from edgekit._options import ConvertOptions
from tests.converters.real_data import cifar10, cifar10_normalized, keyword_features

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CIFAR = SHARED / "cifar10-resnet"
CALIBRATION, SAMPLES = 200, 2000
PRECISIONS = (
    "fp32", "fp16", "int8", "int8:ranges=mse", "int8:for=tensorrt", "int8:for=qnn", "int8:for=qnn,activations=16",
    "int8-dynamic", "int8-weights", "int4-weights",
)  # fmt: skip


def data(name: str, samples: int) -> tuple[Any, Any, Any]:
    """Return calibration samples, evaluation samples and their labels."""
    if name == "kws":
        x, y = keyword_features(SHARED)
        return x[:CALIBRATION], x[CALIBRATION:], y[CALIBRATION:]
    seen, _ = cifar10(CIFAR / "cifar10_jpeg_train5k.zip", CALIBRATION)
    x, y = cifar10(CIFAR / "cifar10_jpeg_test.zip", samples)
    return (seen, x, y) if name == "resnet8" else (cifar10_normalized(seen), cifar10_normalized(x), y)


MODELS = {
    "kws": SHARED / "kws-dscnn" / "saved_model",
    "resnet8": CIFAR / "pretrainedResnet.h5",
    "resnet20": Path("tests.converters.real_torch_nets:resnet20"),
}


def main() -> None:
    """Print a table."""
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    print(f"{'model':10s} {'precision':28s} {'top-1 %':>8s} {'drop':>6s} {'weights':>8s} {'file':>6s} {'p50':>6s}")
    for name, model in MODELS.items():
        with tempfile.TemporaryDirectory() as scratch:
            seen, x, y = data(name, samples)
            np.savez(Path(scratch, "seen.npz"), x=seen)
            np.savez(Path(scratch, "test.npz"), x=x, y=y)
            options = ConvertOptions(
                to=("onnx",), precisions=PRECISIONS, calib=f"{scratch}/seen.npz", eval=f"{scratch}/test.npz"
            )
            report = convert(model, options, Path(scratch, "out"))
        first = report.artifacts[0]
        for one in report.artifacts:
            if one.accuracy is None or one.latency is None:
                print(f"{name:10s} {one.precision:28s} {one.status}: {one.reason}")
                continue
            weights, size = (
                f"{(before or 0) / (now or 1):.2f}x"
                for before, now in ((first.weights_bytes, one.weights_bytes), (first.size_bytes, one.size_bytes))
            )
            score, drop, speed = one.accuracy.artifact * 100, (one.accuracy.drop or 0) * 100, one.latency.speedup or 0
            print(f"{name:10s} {one.precision:28s} {score:8.2f} {drop:6.2f} {weights:>8s} {size:>6s} {speed:5.2f}x")


if __name__ == "__main__":
    main()
