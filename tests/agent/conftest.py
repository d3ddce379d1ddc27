"""Messages of a worker, configurations and reports for the tests of the agent's parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent.actions import Now
from edgekit_agent.bench import Stages
from edgekit_agent.config import AgentConfig, LimitsConfig, ModelConfig, TelemetryConfig
from edgekit_agent.protocol import MEMORY_SCALE, ExpHistogram, Latency, Report


@pytest.fixture
def models(repository: Path) -> Path:
    """The small TFLite models kept with the tests."""
    return repository / "tests" / "data" / "models"


@pytest.fixture
def agent_config() -> AgentConfig:
    """One model, windows of 10 s, a worker may be silent for 30 s."""
    return AgentConfig(
        device="edge-1",
        telemetry=TelemetryConfig(window_s=10, heartbeat_s=10),
        model=(ModelConfig(name="kws", path="kws.tflite", version="1.2.0", limits=LimitsConfig(hang_s=30)),),
    )


@pytest.fixture
def at() -> Callable[[float], Now]:
    """A moment, in seconds on the steady clock."""
    return lambda seconds: Now(s=seconds, ms=1_700_000_000_000 + int(1000 * seconds))


@pytest.fixture
def ready() -> dict[str, Any]:
    """A worker's message that its model is loaded."""
    return {
        "type": "ready",
        "runtime": "ai-edge-litert 2.3.0",
        "executed_on": ["CPU"],
        "asked": {"device": "CPU", "delegate": None},
        "artifact": f"sha256:{64 * '0'}",
        "load_ms": 12.5,
    }


@pytest.fixture
def measured() -> Callable[..., dict[str, Any]]:
    """Makes a worker's message of what it has measured in a second."""

    def make(n: int = 10, *, span_s: float = 1.0, infer_ms: int = 2, **more: Any) -> dict[str, Any]:
        stages = Stages()
        step = 1_000_000 * infer_ms
        stages.extend([(0, 1000, 1000 + step, 2000 + step)] * n)
        gauges = {"rss_bytes": 40_000_000, "cpu_percent": 12.0}
        message = {"type": "measured", "span_s": span_s, "n": n, "err": {}, "failures": [], "drop": 0, "stat": {}}
        message["executed_on"] = ["CPU"]
        return {**message, "lat": stages.latency(MEMORY_SCALE).to_json(), "gauges": gauges, **more}

    return make


@pytest.fixture
def report() -> Callable[[int], Report]:
    """Makes a report by its sequence number."""
    empty = Latency(pre=ExpHistogram(), infer=ExpHistogram(), post=ExpHistogram(), e2e=ExpHistogram())

    def make(seq: int) -> Report:
        return Report(
            ts_ms=1_700_000_000_000 + 1000 * seq,
            boot="b",
            seq=seq,
            model="kws",
            version="1",
            artifact="sha256:0",
            runtime="null 0",
            executed_on=("CPU",),
            window_s=10.0,
            inferences=1,
            latency=empty,
        )

    return make
