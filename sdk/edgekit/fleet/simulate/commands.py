"""The commands of a simulated device, by the agent's own rules: `status`, `log-tail` and `benchmark`."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgekit.fleet.simulate.memory import MemoryFile
from edgekit_agent.actions import Now
from edgekit_agent.bench import Timing
from edgekit_agent.benchmark import DEFAULT_RUNS, MOST_RUNS, MOST_STREAMS, MOST_THREADS
from edgekit_agent.commands import CommandError, Commands, check_names, whole_number
from edgekit_agent.logtail import DEFAULT, KEPT
from edgekit_agent.protocol import Reason, Result

BENCHMARK_S = 2.0
LINES = 50


@dataclass(slots=True)
class Bench:
    """A benchmark that takes its time and tells its progress."""

    begun_s: float
    result: Callable[[], Mapping[str, object]]
    _told: int = 0

    def poll(self, now: Now) -> list[Result]:
        """Return what there is to tell."""
        share = (now.s - self.begun_s) / BENCHMARK_S
        if share >= 1:
            return [Result(status="done", progress=1.0, result=self.result())]
        if int(share * 2) > self._told:
            self._told = int(share * 2)
            return [Result(status="running", progress=round(share, 2))]
        return []

    def stop(self) -> None:
        """Leave off: nothing runs."""


class Operations:
    """What an operator may ask of one device."""

    def __init__(
        self,
        model: str,
        runtime: str,
        status: Callable[[], Mapping[str, object]],
        measured: Callable[[int], tuple[float, ...]],
    ) -> None:
        """Take the model's name, its runtime, how the device tells its status, and the seconds of so many runs."""
        self._model, self._runtime, self._measured = model, runtime, measured
        self._now = Now(s=0.0, ms=0)
        self.log: deque[str] = deque(maxlen=LINES)
        self.commands = Commands(
            MemoryFile(), {"status": lambda _: status(), "log-tail": self._log}, {"benchmark": self._benchmark}
        )

    def at(self, now: Now) -> Commands:
        """Return the commands, at a moment."""
        self._now = now
        return self.commands

    def _log(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        check_names(arguments, ("lines", "model"))
        return {"log": list(self.log)[-whole_number(arguments, "lines", DEFAULT, KEPT) :], "workers": {}}

    def _benchmark(self, arguments: Mapping[str, object], _end_s: float) -> Bench:
        check_names(arguments, ("model", "runs", "threads", "streams"))
        if arguments.get("model") != self._model:
            name = str(arguments.get("model"))[:64]
            raise CommandError(Reason.COMMAND_INVALID, f"'model' is '{name}', which is not running here")
        runs = whole_number(arguments, "runs", DEFAULT_RUNS, MOST_RUNS)
        threads = whole_number(arguments, "threads", 1, MOST_THREADS)
        streams = whole_number(arguments, "streams", 1, MOST_STREAMS)
        return Bench(self._now.s, lambda: self._told(runs, threads, streams))

    def _told(self, runs: int, threads: int, streams: int) -> Mapping[str, object]:
        runtime, _, version = self._runtime.partition(" ")
        timing = Timing(seconds=self._measured(runs))
        return {
            "schema": 1,
            "model": self._model,
            "runtime": runtime,
            "version": version,
            "executed_on": ["CPU"],
            "threads": threads,
            "streams": streams,
            "timing": timing.to_json(),
        }
