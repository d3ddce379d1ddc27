"""Float TFLite files of one network by several tools: p50 in turns in one process on one runtime, and their op lists.

`python -m tests.benchmarks.bench_float_speed [ROUNDS]`. MobileNetV2 from PyTorch goes through EdgeKit, litert-torch and
onnx2tf; Keras models (MobileNetV2 and those in ../shared/data) through EdgeKit (`--lane onnx`) and TensorFlow's
converter. A ratio is EdgeKit's p50 over the fastest other's: the median over the rounds.
"""

import collections
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from edgekit._measure import Candidate, measure
from edgekit_converters import tflite_file
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.lanes import LANES, Lane, NotHereError, edgekit, run

ROUNDS, RUNS = 9, 60
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = (
    "kws-dscnn/saved_model",
    "cifar10-resnet/pretrainedResnet.h5",
    "vww-mobilenet/vww_96.h5",
    "wakeword-1d/str_ww_ref_model.h5",
    "ad-autoencoder/ad01.h5",
)
OURS = "edgekit"


def nets(folder: Path) -> dict[str, tuple[tuple[Lane, Path], ...]]:
    """Return each network's lanes with their sources, EdgeKit first."""
    for kind in ("torch", "keras"):
        command = [sys.executable, str(Path(__file__).with_name("mobilenet.py")), kind, str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    by_name = {lane.name: lane for lane in LANES}
    both = (Lane(OURS, "", partial(_by, "onnx")), Lane("tensorflow", "", partial(_by, "tensorflow")))
    found = {
        "MobileNetV2 (PyTorch)": tuple(
            (by_name[name], folder / f"net{by_name[name].suffix}") for name in (OURS, "litert-torch", "onnx2tf")
        ),
        "MobileNetV2 (Keras)": tuple((lane, folder / "net.keras") for lane in both),
    }
    real = [SHARED / one for one in REAL if (SHARED / one).exists()]
    return found | {one.parent.name: tuple((lane, one) for lane in both) for one in real}


def _by(lane: str, source: Path, work: Path) -> list[str]:
    return [*edgekit(source, work), "--lane", lane]


def made(lanes: tuple[tuple[Lane, Path], ...], folder: Path) -> dict[str, Path]:
    """Return the files of all lanes that are here."""
    files = {}
    for lane, source in lanes:
        try:
            files[lane.name] = run(lane, source, folder / lane.name).tflite
        except NotHereError as error:
            print(f"  {lane.name}: left out, {error}", flush=True)
    return files


def compared(files: dict[str, Path], rounds: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Return each file's median p50 in milliseconds, and the median over the rounds of EdgeKit's ratio to it."""
    jobs, times = JobRunner(log=folder / "log"), collections.defaultdict[str, list[float]](list)
    for number in range(rounds):
        # the first in a process has the memory nobody else touched: each takes its turn to be it
        order = list(files)[number % len(files) :] + list(files)[: number % len(files)]
        candidates = [Candidate(key=name, path=files[name], runtime="ai-edge-litert") for name in order]
        for name, one in measure(candidates, jobs, folder, runs=RUNS).items():
            if one.error:
                raise one.failure()
            times[name].append(one.p50_ms)
    ours = times[OURS]
    return {
        name: (statistics.median(ones), statistics.median(a / b for a, b in zip(ours, ones, strict=True)))
        for name, ones in times.items()
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        for number, (title, lanes) in enumerate(nets(Path(name)).items()):
            print(title, flush=True)
            folder = Path(name, str(number))
            files = made(lanes, folder)
            for lane, (p50, ratio) in compared(files, rounds, folder).items():
                ops = collections.Counter(op.name for op in tflite_file.parse(files[lane].read_bytes(), lane).ops)
                listed = " ".join(f"{op} {count}" for op, count in sorted(ops.items()))
                print(f"  {lane:>12} {p50:9.4f} ms  edgekit/this {ratio:6.3f}  {listed}", flush=True)


if __name__ == "__main__":
    main()
