"""Print what the agent costs beside a bare runtime loop.

`python -m tests.benchmarks.bench_agent_overhead [ROUNDS]`. Bare loop and the worker's own `Loop` run in turns in
one process, on the same model and inputs, so that a noisy machine disturbs both alike. Ratios are medians over
the rounds:

- infer: the loop's inference stage over the bare set_tensor, invoke, get_tensor, both at p50;
- period: the loop's whole time per inference (source, clocks, post-processing, reporting) over the bare loop's.
"""

import socket
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent import feeds, runtimes
from edgekit_agent.answering import Answering
from edgekit_agent.loop import Loop
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import Array, Session
from edgekit_agent.sources import open_source
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted

ROOT = Path(__file__).resolve().parents[2]
KWS = ROOT.parent / "shared" / "data" / "kws-dscnn" / "kws_ref_model.tflite"
SMALL = ROOT / "tests" / "data" / "models" / "conv_int8.tflite"
ROUNDS = 15
ROUND_S = 0.7


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
        self.kept = [*getattr(self, "kept", []), *self.meter.readings]
        super()._flush()


def agent(session: Session, count: int) -> tuple[float, float]:
    """Return the same of the worker's loop; its messages go through a real socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        wanted = Wanted(inputs=session.inputs, preprocess=Preprocess())
        source = open_source(SourceConfig(limit=20 + count), wanted)
        loop = Counted(theirs, session, source, Answering(Postprocess(), session.outputs))
        ours.send(b"\0")  # what ends its wait at the end of the data
        loop.run()
    readings = loop.kept[20:]
    infer = statistics.median(inferred - ready for _, ready, inferred, _ in readings)
    return infer / 1e9, (readings[-1][3] - readings[0][0]) / 1e9 / len(readings)


@dataclass(frozen=True)
class Costs:
    """Ratios of every round, and the bare loop's p50 in microseconds."""

    model: str
    runtime: str
    count: int
    infers: list[float]
    periods: list[float]
    bares_us: list[float]

    @property
    def infer(self) -> float:
        """The loop's inference stage over the bare inference, both at p50: the median of the rounds."""
        return statistics.median(self.infers)

    @property
    def period(self) -> float:
        """The loop's whole time per inference over the bare loop's: the median of the rounds."""
        return statistics.median(self.periods)


def measure(rounds: int) -> Costs:
    """Run both loops in turns."""
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
    return Costs(model.name, session.runtime, count, infer, period, bare_us)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    found = measure(rounds)
    print(f"model {found.model}, {found.runtime}, {rounds} rounds of {found.count} inferences")
    print(f"bare loop p50 {statistics.median(found.bares_us):.1f} us")
    for name, ratio, each in (
        ("infer stage / bare loop at p50", found.infer, found.infers),
        ("whole period / bare loop", found.period, found.periods),
    ):
        print(f"{name}: {ratio:.3f} (rounds {min(each):.3f} to {max(each):.3f})")


if __name__ == "__main__":
    main()
