"""What a per-layer comparison costs: `edgekit compare --layers` and ai-edge-quantizer's validate, side by side.

Run as `bench_compare.py FLOAT.tflite QUANTIZED.tflite DATA`, DATA as `edgekit compare` takes it, such as
`images[0:64]`; without arguments it converts ResNet8 of ../shared/data and takes 64 of its images. Both do the same
samples, in turns, in processes of their own; start-up (imports) is timed apart.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from edgekit import _data
from edgekit._convert import convert
from edgekit._options import ConvertOptions
from edgekit_converters.layers import compare_job

_ROUNDS = 3

_OURS = """
import json, sys, time
start = time.perf_counter()
import ai_edge_litert.interpreter
from edgekit_converters.layers import compare_job
begin = time.perf_counter()
compare_job.run(json.load(open(sys.argv[1])))
print(json.dumps([begin - start, time.perf_counter() - begin]))
"""

# As a user calls it, with the two metrics that come nearest to ours: on XNNPACK, its default, and on the kernels
# without it, which is what its figures were made on before XNNPACK kept inner values.
_THEIRS = """
import json, sys, time
start = time.perf_counter()
import numpy as np
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.utils import tfl_interpreter_utils, validation_utils
begin = time.perf_counter()
asked = json.load(open(sys.argv[1]))
with np.load(asked["samples"]) as stored:
    samples = stored["x"].astype(np.float32)
runner = tfl_interpreter_utils.create_tfl_interpreter(asked["source"]).get_signature_runner()
name = next(iter(runner.get_input_details()))
tool = quantizer.Quantizer(asked["source"], previous_quantized_model=asked["artifact"])
metrics = [validation_utils.ValidationErrorMetric.MSE, validation_utils.ValidationErrorMetric.SNR]
data = {"serving_default": [{name: one[np.newaxis]} for one in samples]}
tool.validate(data, metrics, use_xnnpack=sys.argv[2] == "xnnpack")
print(json.dumps([begin - start, time.perf_counter() - begin]))
"""


def main() -> None:
    """Print start and work of both, the median of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("source", "artifact", "data"):
        parser.add_argument(name, nargs="?")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.data is None:
            given.source, given.artifact, given.data = _resnet8(Path(folder))
        samples = next(iter(_data.load(given.data).arrays.values()))
        np.savez(Path(folder, "x.npz"), x=samples)
        np.savez(Path(folder, "ours.npz"), samples)
        request = {
            "source": str(Path(given.source).resolve()),
            "artifact": str(Path(given.artifact).resolve()),
            "data": {"path": str(Path(folder, "ours.npz")), "names": ["x"]},
            "layers": True,
            "work": folder,
            "samples": str(Path(folder, "x.npz")),
        }
        asked = Path(folder, "request.json")
        asked.write_text(json.dumps(request))
        tools = {"edgekit": _OURS, "validate, xnnpack": _THEIRS, "validate, plain": _THEIRS}
        times: dict[str, list[list[float]]] = {name: [] for name in tools}
        for _ in range(_ROUNDS):
            for name, code in tools.items():
                times[name].append(_timed(code, asked, name.rpartition(" ")[2]))
    print(f"{len(samples)} samples, median of {_ROUNDS} rounds in turns")
    for name, found in times.items():
        start, work, whole = np.median([[*one] for one in found], axis=0)
        print(f"{name:18} start {start:6.2f} s   work {work:6.2f} s   whole process {whole:6.2f} s")
    print("edgekit: own and inherited errors apart, and the damage at the outputs; validate: whole errors")


def _resnet8(folder: Path) -> tuple[str, str, str]:
    """Convert the real ResNet8; return its float and its int8 file, and 64 images."""
    shared = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-resnet"
    if not shared.exists():
        sys.exit(f"there is no {shared}: name FLOAT.tflite, QUANTIZED.tflite and DATA")
    images = folder / "images"
    with zipfile.ZipFile(shared / "cifar10_jpeg_test.zip") as archive:
        archive.extractall(images)
    options = ConvertOptions(to=("tflite",), precisions=("fp32", "int8"), calib=f"{images}[0:200]", bench=False)
    report = convert(shared / "pretrainedResnet.h5", options, folder / "out")
    first, second = (str(folder / "out" / str(one.path)) for one in report.artifacts)
    return first, second, f"{images}[0:64]"


def _timed(code: str, asked: Path, how: str) -> list[float]:
    begin = time.perf_counter()
    command = [sys.executable, "-c", code, str(asked), how]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **compare_job.SINGLE})
    if run.returncode:
        sys.exit(run.stderr[-2000:])
    return [*json.loads(run.stdout.strip().splitlines()[-1]), time.perf_counter() - begin]


if __name__ == "__main__":
    main()
