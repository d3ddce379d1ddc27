"""Print what the agent costs beside a bare runtime loop, and the idle supervisor's memory.

`python -m tests.benchmarks.bench_agent_overhead [ROUNDS]`. Bare loop and the worker's own `Loop` run in turns in
one process, on the same model and inputs, so that a noisy machine disturbs both alike. Ratios are medians over
the rounds:

- infer: the loop's inference stage over the bare set_tensor, invoke, get_tensor, both at p50;
- period: the loop's whole time per inference (source, clocks, post-processing, reporting) over the bare loop's.
"""

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgekit_agent import feeds, runtimes
from edgekit_agent.config import SourceConfig
from edgekit_agent.loop import Loop
from edgekit_agent.runtimes.base import Array, Session
from edgekit_agent.sources import open_source

ROOT = Path(__file__).resolve().parents[2]
KWS = ROOT.parent / "shared" / "data" / "kws-dscnn" / "kws_ref_model.tflite"
SMALL = ROOT / "tests" / "data" / "models" / "conv_int8.tflite"
ROUNDS = 15
ROUND_S = 0.7
IDLE_S = 5.0


def bare(model: Path, arrays: list[list[Array]], count: int) -> tuple[float, float]:
    """Return p50 of one inference and the time per inference, in seconds, of a loop without the agent."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]
    clock = time.perf_counter_ns
    taken: list[int] = []
    for number in range(20 + count):
        if number == 20:  # warm by now
            taken, begin = [], clock()
        start = clock()
        for index, array in zip(inputs, arrays[number % len(arrays)], strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        _ = [interpreter.get_tensor(index) for index in outputs]
        taken.append(clock() - start)
    return statistics.median(taken) / 1e9, (clock() - begin) / 1e9 / count


class Counted(Loop):
    """The worker's loop, its readings kept."""

    def _flush(self) -> None:
        self.kept = [*getattr(self, "kept", []), *self._readings]
        super()._flush()


def agent(session: Session, count: int) -> tuple[float, float]:
    """Return the same of the worker's loop; its messages go through a real socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        source = open_source(SourceConfig(limit=20 + count), session.inputs, {})
        loop = Counted(theirs, session, source, 0)
        ours.send(b"\0")  # what ends its wait at the end of the data
        loop.run()
    readings = loop.kept[20:]
    infer = statistics.median(inferred - ready for _, ready, inferred, _ in readings)
    return infer / 1e9, (readings[-1][3] - readings[0][0]) / 1e9 / len(readings)


def idle_pss_kib() -> int:
    """Return the proportional memory of a supervisor whose model waits and whose broker is away."""
    with tempfile.TemporaryDirectory() as folder:
        script = {"inputs": [{"name": "x", "shape": [1, 1], "dtype": "float32"}], "outputs": []}
        Path(folder, "m.null").write_text(json.dumps(script))
        config = Path(folder, "agent.toml")
        config.write_text(
            f'device = "bench"\nstate_dir = "{folder}/state"\n'
            '[broker]\nurl = "mqtt://127.0.0.1:9"\n[[model]]\nname = "m"\npath = "m.null"\nrate_hz = 1\n'
        )
        python = os.environ.get("EDGEKIT_DEVICE_PYTHON", sys.executable)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "agent")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        # bytecode as an installer leaves it: compiling at the start costs the process 6 MiB
        imports = "import edgekit_agent.__main__, edgekit_agent.service, edgekit_agent.transport.mqtt"
        subprocess.run([python, "-P", "-c", imports], check=True, env=environment)
        process = subprocess.Popen(
            [python, "-P", "-m", "edgekit_agent", "run", "--config", str(config)],
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        try:
            time.sleep(IDLE_S)
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        finally:
            process.terminate()
            process.wait()
    return int(re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[0])


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    model = KWS if KWS.is_file() else SMALL
    session = runtimes.get("ai-edge-litert").load(model)
    arrays = feeds.synthetic(session.inputs, seed=0)
    once = bare(model, arrays, 50)[1]
    count = max(50, int(ROUND_S / once))
    infer, period, bare_us = [], [], []
    for number in range(rounds):
        # who begins changes, so that a drift of the machine's speed favours nobody
        if number % 2:
            bare_infer, bare_period = bare(model, arrays, count)
            agent_infer, agent_period = agent(session, count)
        else:
            agent_infer, agent_period = agent(session, count)
            bare_infer, bare_period = bare(model, arrays, count)
        infer.append(agent_infer / bare_infer)
        period.append(agent_period / bare_period)
        bare_us.append(1e6 * bare_infer)
    middle = statistics.median
    print(f"model {model.name}, {session.runtime}, {rounds} rounds of {count} inferences")
    print(f"bare loop p50 {middle(bare_us):.1f} us")
    print(f"infer stage / bare loop at p50: {middle(infer):.3f} (rounds {min(infer):.3f} to {max(infer):.3f})")
    print(f"whole period / bare loop: {middle(period):.3f} (rounds {min(period):.3f} to {max(period):.3f})")
    print(f"idle supervisor: {idle_pss_kib() / 1024:.1f} MiB PSS")


if __name__ == "__main__":
    main()
