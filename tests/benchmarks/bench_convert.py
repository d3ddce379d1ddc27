"""MobileNetV2 to float TFLite: wall clock with the start of the process, and peak memory, of every tool in turns.

`python -m tests.benchmarks.bench_convert [ROUNDS]`. Each tool gets the source it takes best: EdgeKit and onnx2tf the
ONNX, litert-torch the exported program, TensorFlow the Keras model. Times are medians over the rounds; a ratio is the
tool's over EdgeKit's. EdgeKit's time holds its proof beside ONNX Runtime and the report; the others prove nothing.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.lanes import LANES, NotHereError, Run, run

ROUNDS = 3


def sources(folder: Path) -> None:
    """Write the network as `net.onnx`, `net.pt2` and `net.keras`."""
    for kind in ("torch", "keras"):
        command = [sys.executable, str(Path(__file__).with_name("mobilenet.py")), kind, str(folder)]
        subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    runs: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources(folder)
        absent: set[str] = set()
        for number in range(rounds):
            for lane in LANES:
                if lane.name in absent:
                    continue
                try:
                    one = run(lane, folder / f"net{lane.suffix}", folder / f"{lane.name}-{number}")
                except NotHereError as error:
                    print(f"{lane.name}: left out, {error}", flush=True)
                    absent.add(lane.name)
                    continue
                runs.setdefault(lane.name, []).append(one)
                print(f"round {number + 1} {lane.name}: {one.seconds:.1f} s, {one.peak_bytes / 1e6:.0f} MB", flush=True)
        _table(runs)


def _table(runs: dict[str, list[Run]]) -> None:
    print(f"\n{'tool':>14} {'seconds':>9} {'ratio':>7} {'peak MB':>9} {'ratio':>7}")
    ours = (0.0, 0.0)
    for name, ones in runs.items():
        seconds = statistics.median(one.seconds for one in ones)
        peak = statistics.median(one.peak_bytes for one in ones) / 1e6
        ours = (seconds, peak) if name == "edgekit" else ours
        print(f"{name:>14} {seconds:9.2f} {seconds / ours[0]:7.1f} {peak:9.0f} {peak / ours[1]:7.1f}")


if __name__ == "__main__":
    main()
