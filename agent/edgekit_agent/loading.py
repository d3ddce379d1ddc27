"""From a model's configuration to a loaded model: the runtime, its options, the threads, the cache."""

import hashlib
import json
import platform
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit_agent import compiled_cache, runtimes, tuning
from edgekit_agent.config import AUTO_THREADS, ModelConfig
from edgekit_agent.runtimes.base import LoadOptions, Runtime, Session
from edgekit_agent.tuning import Tuned


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is loaded here; `tuned` where the number of threads was left to be measured."""

    model: Path
    runtime: Runtime
    options: LoadOptions
    artifact: str
    """The digest of the model's files."""
    compiled: Path | None = None
    tuned: Tuned | None = None

    def load(self, batch: int = 1) -> Session:
        """Load the model; errors are those of `Runtime.load`."""
        options = replace(self.options, batch=batch)
        return self.runtime.load(self.model, replace(options, cache=self._cache(options)))

    def told(self, session: Session) -> dict[str, object]:
        """Return what a worker says of it when it is ready."""
        found: dict[str, object] = {
            "runtime": session.runtime,
            "executed_on": session.executed_on,
            "operators": dict(session.operators),
            "artifact": self.artifact,
            "threads": self.options.threads,
            "asked": {"device": self.options.device, "delegate": self.options.delegate and str(self.options.delegate)},
        }
        return found if self.tuned is None else {**found, "tuned": self.tuned.to_json()}

    def _cache(self, options: LoadOptions) -> Path | None:
        if self.compiled is None:
            return None
        settings = json.dumps([options.threads, options.batch, dict(options.properties)], sort_keys=True)
        version = f"{self.runtime.name} {self.runtime.available().version}"
        return compiled_cache.folder_for(
            self.compiled / self.runtime.name, self.artifact, version, options.device, settings
        )


def plan(config: ModelConfig) -> Plan:
    """Choose the runtime and the number of threads for a model.

    Raises:
        AgentError: if no runtime is here that runs it, a file is missing, or it fails while its threads are tuned.
    """
    model = Path(config.path)
    options = LoadOptions(
        threads=config.threads if isinstance(config.threads, int) else 1,
        device=config.device,
        delegate=None if config.delegate is None else Path(config.delegate),
        delegate_options=config.delegate_options,
        properties=config.properties,
    )
    cache = None if config.cache_dir is None else Path(config.cache_dir)
    chosen = Plan(
        model=model,
        runtime=runtimes.choose(model, config.runtime),
        options=options,
        artifact=digest(model),
        compiled=cache,
    )
    if config.threads != AUTO_THREADS:
        return chosen
    tuned = _tuned(chosen, config.tune_s, cache)
    return replace(chosen, tuned=tuned, options=replace(options, threads=tuned.threads))


def _tuned(chosen: Plan, limit_s: float, cache: Path | None) -> Tuned:
    def load(threads: int) -> Session:
        # without the cache: what the other numbers leave there is never used again
        return chosen.runtime.load(chosen.model, replace(chosen.options, threads=threads))

    def measure() -> Tuned:
        return tuning.tune(load, tuning.cores(), limit_s)

    if cache is None:
        return measure()
    version = f"{chosen.runtime.name} {chosen.runtime.available().version}"
    others = json.dumps([str(chosen.options.delegate), dict(chosen.options.properties)], sort_keys=True)
    key = (chosen.artifact, version, chosen.options.device, _cpu(), str(tuning.cores()), others)
    return tuning.remembered(cache / "threads", key, measure)


def _cpu() -> str:
    """Return what tells one kind of processor from another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = ("model name", "CPU part", "Model")
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), platform.machine())


def digest(model: Path) -> str:
    """Return the artifact's digest; an IR's covers the `.xml` and then the `.bin`.

    A file that is missing has none: the runtime says what is wrong.
    """
    found = hashlib.sha256()
    try:
        for path in (model, model.with_suffix(".bin")) if model.suffix == ".xml" else (model,):
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    found.update(chunk)
    except OSError:
        return ""
    return f"sha256:{found.hexdigest()}"
