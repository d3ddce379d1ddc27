"""Models cut into stages that run in processes of their own (`edgekit cut`), used like any other model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit_agent import __version__, pipeline_file
from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes.base import CPU, PLAIN, Array, Availability, LoadOptions, TensorSpec, named_feeds

if TYPE_CHECKING:
    from edgekit_agent.chain import Chain


class PipelineRuntime:
    """Runs `.pipeline` files, each stage with the runtime that its own file needs."""

    name = "pipeline"
    formats: tuple[str, ...] = ("pipeline",)

    def available(self) -> Availability:
        """It is always there; the stages' runtimes may not be."""
        return Availability(ok=True, version=__version__)

    def load(self, model: Path, options: LoadOptions = PLAIN) -> "PipelineSession":
        """Start the stages, with `options.threads` each.

        Raises:
            ModelError: if a file is missing or broken, or a device is given: every stage has its own.
            RuntimeMissingError: if a stage's runtime is not there.
        """
        return self.load_pool(model, 1, options)[0]

    def load_pool(self, model: Path, count: int, options: LoadOptions = PLAIN) -> "list[PipelineSession]":
        """Start the stages once, for as many sessions: so many inferences are on their way at a time."""
        from edgekit_agent.chain import Chain

        if options.device != CPU:
            raise ModelError(f"each stage of a pipeline has its own device, and '{options.device}' was asked for")
        options.only(self.name)
        pipeline = pipeline_file.read(model)
        chain = _Shared(Chain(pipeline, threads=options.threads, batch=options.batch), count)
        return [PipelineSession(pipeline, chain) for _ in range(count)]


class _Shared:
    """A chain that ends with the last of the sessions on it."""

    def __init__(self, chain: "Chain", users: int) -> None:
        self.chain, self._users = chain, users

    def leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self.chain.close()


class PipelineSession:
    """An inference at a time through all stages; other sessions' may be in other stages meanwhile."""

    def __init__(self, pipeline: pipeline_file.Pipeline, shared: _Shared) -> None:
        """Take running stages."""
        self._shared: _Shared | None = shared
        ready = shared.chain.ready
        taken = {one["name"]: _spec(one) for stage in reversed(ready) for one in stage["inputs"]}
        given = {one["name"]: _spec(one) for stage in ready for one in stage["outputs"]}
        self.runtime = f"{PipelineRuntime.name} {__version__}"
        self.executed_on: tuple[str, ...] = tuple(dict.fromkeys(one for stage in ready for one in stage["executed_on"]))
        self.operators: Mapping[str, int] = {}
        self.inputs = tuple(replace(taken.get(one.name, one), name=one.name) for one in pipeline.inputs)
        known = {one.name: one for one in self.inputs} | given
        self.outputs = tuple(known[name] for name in pipeline.outputs)

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; see `Session.invoke`."""
        if self._shared is None:
            raise ModelError("the pipeline is closed")
        feeds = named_feeds(arrays, self.inputs)
        made = self._shared.chain.submit(feeds).result()
        return [made[spec.name] for spec in self.outputs]

    def close(self) -> None:
        """End the stages, with the last session on them."""
        if self._shared is not None:
            self._shared.leave()
        self._shared = None


def _spec(one: dict[str, Any]) -> TensorSpec:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in one.items()}
    return TensorSpec(**values)
