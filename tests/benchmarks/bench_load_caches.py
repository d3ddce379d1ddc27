"""Print what it is worth to keep compiled models on the disk: OpenVINO's cache and XNNPACK's packed weights.

`python -m tests.benchmarks.bench_load_caches [ROUNDS]`. Every load is a process of its own, the ways in turns; medians
of the milliseconds to load and to the first answer, of an inference at p50 on one thread, and of the process's PSS.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MODELS = (
    DATA / "imagenet250" / "mobilenet_v2_1.0_224_quant.tflite",
    DATA / "vww-mobilenet" / "vww_96_float.tflite",
    DATA / "kws-dscnn" / "kws_ref_model.tflite",
)
WAYS = {
    "ai-edge-litert": ("ai-edge-litert", {}, False),
    "ai-edge-litert, weight_cache without its file": ("ai-edge-litert", {"weight_cache": True}, False),
    "ai-edge-litert, weight_cache": ("ai-edge-litert", {"weight_cache": True}, True),
    "openvino without its cache": ("openvino", {}, False),
    "openvino": ("openvino", {}, True),
}
ROUNDS = 5

CHILD = textwrap.dedent(
    """
    import json, re, sys, time
    from pathlib import Path
    from edgekit_agent import feeds, runtimes
    from edgekit_agent.runtimes.base import LoadOptions
    name, properties, cache, model, small = json.loads(sys.argv[1])
    runtime = runtimes.get(name)
    runtime.load(Path(small)).close()  # the library is imported
    begun = time.perf_counter()
    options = LoadOptions(properties=properties, cache=None if cache is None else Path(cache))
    session = runtime.load(Path(model), options)
    loaded = time.perf_counter()
    (arrays,) = feeds.synthetic(session.inputs, 0, 1)
    session.invoke(arrays)
    first = time.perf_counter()
    taken = []
    for _ in range(100):
        start = time.perf_counter()
        session.invoke(arrays)
        taken.append(time.perf_counter() - start)
    pss = int(re.findall(r"^Pss:\\s+(\\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)[0])
    print(json.dumps([1e3 * (loaded - begun), 1e3 * (first - begun), 1e3 * sorted(taken)[50], pss / 1024]))
    """
)


def once(way: str, model: Path, folder: Path) -> list[float]:
    """Load a model one way in a process of its own."""
    runtime, properties, cached = WAYS[way]
    small = ROOT / "tests" / "data" / "models" / "dense.tflite"
    request = [runtime, properties, str(folder / way) if cached else None, str(model), str(small)]
    command = [sys.executable, "-c", CHILD, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print("| model | way | load ms | to the first answer ms | p50 ms | PSS MiB |\n|---|---|---|---|---|---|")
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            for way in WAYS:  # the first load fills the cache
                once(way, model, Path(folder))
            found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way in WAYS:
                    found[way].append(once(way, model, Path(folder)))
        for way in WAYS:
            load, first, p50, pss = (statistics.median(column) for column in zip(*found[way], strict=True))
            print(f"| {model.stem} | {way} | {load:.1f} | {first:.1f} | {p50:.3f} | {pss:.1f} |")


if __name__ == "__main__":
    main()
