"""`edgekit quickstart`: the whole loop once, on real data, on this machine."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit._convert import convert
from edgekit._events import Event, OnEvent, ignore
from edgekit._options import ConvertOptions
from edgekit._report import ArtifactReport, Report
from edgekit.errors import DeviceError
from edgekit.fleet import Fleet, FleetClient, quantiles_ms
from edgekit.fleet._brokers import running
from edgekit_agent.protocol import ExpHistogram
from edgekit_agent.protocol import Report as DeviceReport
from edgekit_converters.jobs import JobRunner

RATE_HZ = 100.0
WINDOW_S = 1.0
FIRST_REPORT_S = 45.0
STOP_S = 8.0
SITE = "quickstart"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSummary:
    """What one device did, as received over MQTT; accuracies are shares, times milliseconds."""

    device: str
    runtime: str
    size_bytes: int
    float_size_bytes: int
    accuracy_before: float
    accuracy_after: float
    accuracy_on_device: float | None
    inferences: int
    p50_ms: float | None
    p99_ms: float | None

    def to_json(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A running agent process."""

    device: str
    artifact: ArtifactReport
    process: "subprocess.Popen[bytes]"
    log: Path


def quickstart(
    folder: Path,
    *,
    seconds: float = 20.0,
    engine: str = "auto",
    on_event: OnEvent = ignore,
    on_fleet: Callable[[FleetClient], None] = lambda _client: None,
) -> tuple[DeviceSummary, ...]:
    """Train, convert, run on two agents, and collect their latency over MQTT.

    Args:
        folder: where the model, its artifacts and the report are left.
        seconds: how long the agents report.
        engine: the broker engine: `auto`, `mosquitto` or `iotcore`.
        on_event: progress.
        on_fleet: called a few times a second while the agents report.

    Raises:
        DeviceError: if an agent does not report within 45 s, or the broker does not start.
        ConverterMissingError: if an extra is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    on_event(Event(stage="train", detail="a small convolutional net on scikit-learn's digits"))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        JobRunner(log=Path(scratch, "train.log")).run("edgekit._digits", {"folder": str(folder.resolve()), "seed": 0})
    options = ConvertOptions(
        precisions=("fp32", "int8"), calib=str(folder / "calib.npz"), eval=str(folder / "test.npz")
    )
    report = convert(folder / "digits.keras", options, folder, on_event)
    with ExitStack() as stack:
        on_event(Event(stage="broker", detail="starting on 127.0.0.1"))
        broker = stack.enter_context(running(engine=engine))
        client = stack.enter_context(FleetClient(broker.url, SITE, window_s=max(60.0, 2 * seconds)))
        chosen = [one for one in report.artifacts if one.precision == "int8"]
        agents = [stack.enter_context(_agent(folder, one, broker.url)) for one in chosen]
        _wait_for_all(client, agents, on_event)
        on_event(Event(stage="watch", detail=f"{seconds:g} s"))
        _watch(client, agents, seconds, on_fleet)
    return tuple(_summary(agent, report, client.fleet) for agent in agents)


@contextmanager
def _agent(folder: Path, artifact: ArtifactReport, url: str) -> Iterator[Agent]:
    """Run the agent as a device does: in the environment that has only the agent, where there is one."""
    import tomli_w

    device = f"{artifact.format}-device"
    home = folder / "devices" / device
    home.mkdir(parents=True, exist_ok=True)
    model = {
        "name": "digits",
        "version": "1.0.0",
        "path": str((folder / str(artifact.path)).resolve()),
        "rate_hz": RATE_HZ,
        "source": {"kind": "folder", "path": str((folder / "test.npz").resolve())},
    }
    settings = {
        "device": device,
        "site": SITE,
        "state_dir": "state",
        "run_dir": "run",
        "broker": {"url": url},
        "telemetry": {"window_s": WINDOW_S, "heartbeat_s": 2.0},
        "model": [model],
    }
    (home / "agent.toml").write_text(tomli_w.dumps(settings))
    python = os.environ.get("EDGEKIT_DEVICE_PYTHON") or sys.executable
    # by way of `parent`: if we are killed, the agent ends too
    command = [python, "-P", "-m", "edgekit_agent.parent", str(os.getpid())]
    command += [python, "-P", "-m", "edgekit_agent", "run", "--config", str(home / "agent.toml")]
    log = home / "agent.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield Agent(device=device, artifact=artifact, process=process, log=log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_all(client: FleetClient, agents: list[Agent], on_event: OnEvent) -> None:
    on_event(Event(stage="agents", detail=f"{len(agents)} starting"))
    end = time.monotonic() + FIRST_REPORT_S
    waiting = {agent.device for agent in agents}
    while waiting:
        received = client.next_message(0.2)
        if received is not None and isinstance(received.message, DeviceReport):
            waiting.discard(received.device)
        for agent in agents:
            if agent.device in waiting and (agent.process.poll() is not None or time.monotonic() > end):
                how = "ended" if agent.process.poll() is not None else f"did not report within {FIRST_REPORT_S:g} s"
                error = DeviceError(f"agent '{agent.device}' {how}")
                for line in agent.log.read_text(errors="replace").strip().splitlines()[-3:]:
                    error.add_note(line)
                raise error


def _watch(client: FleetClient, agents: list[Agent], seconds: float, on_fleet: Callable[[FleetClient], None]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.next_message(0.1)
        on_fleet(client)
        for agent in agents:
            if agent.process.poll() is not None:
                raise DeviceError(f"agent '{agent.device}' ended with code {agent.process.returncode}")


def _summary(agent: Agent, report: Report, fleet: Fleet) -> DeviceSummary:
    (row,) = (row for row in fleet.rows(time.monotonic()) if row.device == agent.device)
    labelled = correct = inferences = 0
    whole = ExpHistogram()
    for _, one in row.reports:
        inferences += one.inferences
        labelled += _count(one, "labelled")
        correct += _count(one, "correct")
        whole.merge(one.latency.infer)
    quantiles = quantiles_ms(whole)
    accuracy = agent.artifact.accuracy
    assert accuracy is not None  # noqa: S101  # the test digits are labelled
    (whole_size,) = (
        one.size_bytes for one in report.artifacts if (one.format, one.precision) == (agent.artifact.format, "fp32")
    )
    return DeviceSummary(
        device=agent.device,
        runtime=row.latest().runtime,
        size_bytes=agent.artifact.size_bytes or 0,
        float_size_bytes=whole_size or 0,
        accuracy_before=accuracy.source or 0.0,
        accuracy_after=accuracy.artifact,
        accuracy_on_device=correct / labelled if labelled else None,
        inferences=inferences,
        p50_ms=quantiles["p50_ms"],
        p99_ms=quantiles["p99_ms"],
    )


def _count(report: DeviceReport, key: str) -> int:
    value = report.statistics.get(key, 0)
    return value if isinstance(value, int) else 0
