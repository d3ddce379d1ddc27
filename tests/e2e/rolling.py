"""Real agents that take releases from a signed repository: what tests of rollouts and their soak have in common."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.conftest import PATIENCE_S, AgentProcess
from tests.e2e.updating import Publisher, script

LATENCY_MS = 10.0
GATES: Mapping[str, Any] = {
    # devices share one machine that does other things too: what is looked for is many times slower
    "latency": [{"quantile": 0.5, "limit": 5.0, "tolerated": 1.0}],
    "least_inferences": 30,
    "silent": None,
    "crashes": None,
}
CONFIG = """
device = "{name}"
state_dir = "{folder}"
run_dir = "{folder}/run"
[broker]
url = "mqtt://127.0.0.1:{port}"
[telemetry]
window_s = 1
heartbeat_s = 2
[[model]]
name = "kws"
version = "1.2.0"
path = "{model}"
rate_hz = 40
[update]
repository = "{repository}"
trial_inferences = 5
reserve_mb = 0
{update}
"""
UPDATE: Mapping[str, float] = {"trial_s": 1, "trial_limit_s": 120}


def good(latency_ms: float = LATENCY_MS) -> str:
    """Return a model that takes so long for an inference."""
    return script(latency_ms=[latency_ms])


@dataclass
class Agents:
    """Real agents with version 1.2.0 of a model, and the publisher they trust."""

    folder: Path
    port: int
    python: tuple[str, dict[str, str]]
    running: dict[str, AgentProcess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the repository and the model they have at first."""
        self.publisher = Publisher(self.folder / "publisher")
        self.folder.mkdir(exist_ok=True)
        self._model = self.folder / "model.null"
        self._model.write_text(good())

    def start(self, *names: str, **update: float) -> None:
        """Start agents by name, with settings of `[update]`."""
        python, extra = self.python
        for name in names:
            folder = self.folder / name
            self.publisher.trusted_by(folder)
            text = CONFIG.format(
                name=name,
                folder=folder,
                port=self.port,
                model=self._model,
                repository=self.publisher.repository.as_uri(),
                update="\n".join(f"{key} = {value}" for key, value in {**UPDATE, **update}.items()),
            )
            config = self.folder / f"{name}.toml"
            config.write_text(text)
            command = [python, "-P", "-m", "edgekit_agent", "run", "--config", str(config)]
            self.running[name] = AgentProcess(command, {**os.environ, **extra}, self.folder / f"{name}.log")

    @property
    def logs(self) -> str:
        return "\n".join(agent.log[-1500:] for agent in self.running.values())

    def stop(self) -> None:
        for agent in self.running.values():
            if agent.process.poll() is None:
                agent.process.send_signal(signal.SIGTERM)
        for agent in self.running.values():
            agent.process.wait(PATIENCE_S)


@contextmanager
def agents(folder: Path, port: int, python: tuple[str, dict[str, str]]) -> Iterator[Agents]:
    """Give agents that are stopped in the end."""
    made = Agents(folder, port, python)
    try:
        yield made
    finally:
        made.stop()
