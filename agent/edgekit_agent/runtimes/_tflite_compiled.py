"""LiteRT's `CompiledModel`, for what its `Interpreter` does not offer: XNNPACK's packed weights kept in a file."""

import contextlib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit_agent import compiled_cache
from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes.base import CPU, Array, LoadOptions, TensorSpec, named_feeds

_MODULE = "ai_edge_litert"


def compiled(content: bytes, options: LoadOptions) -> Any:  # noqa: ANN401  # the library has no types
    """Return a model compiled for the CPU, with its weights from the cache where that is whole.

    Raises:
        RuntimeError: if the library cannot.
    """
    if options.cache is not None:
        with contextlib.suppress(RuntimeError, OSError), compiled_cache.used(options.cache) as folder:
            return _compiled(content, options.threads, folder / "weights")
    return _compiled(content, options.threads, None)


def _compiled(content: bytes, threads: int, weights: Path | None) -> Any:  # noqa: ANN401
    model = importlib.import_module(f"{_MODULE}.compiled_model").CompiledModel
    library = importlib.import_module(f"{_MODULE}.options")
    cpu = library.CpuOptions(num_threads=threads, xnnpack_weight_cache_path="" if weights is None else str(weights))
    return model.from_buffer(content, options=library.Options(cpu_options=cpu))


class CompiledSession:
    """A compiled model; its inputs and outputs have no free dimension."""

    def __init__(
        self,
        ready: Any,  # noqa: ANN401  # the library has no types
        runtime: str,
        content: bytes,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        """Take a compiled model and what its file tells of it; `content` must outlive it.

        Raises:
            ModelError: if an input or output has a free dimension.
        """
        for spec in (*inputs, *outputs):
            if -1 in spec.shape:
                raise ModelError(f"weight_cache goes with fixed shapes, and '{spec.name}' is {list(spec.shape)}")
        self.runtime, self.inputs, self.outputs = runtime, inputs, outputs
        self.executed_on: tuple[str, ...] = (CPU,)
        self.operators: Mapping[str, int] = {}
        self._ready, self._content = ready, content
        (names,) = ready.get_signature_list().values()
        self._ins = dict(zip(names["inputs"], ready.create_input_buffers(0), strict=True))
        self._outs = dict(zip(names["outputs"], ready.create_output_buffers(0), strict=True))

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; see `Session.invoke`."""
        try:
            for name, array in named_feeds(arrays, self.inputs).items():
                self._ins[name].write(array)
            self._ready.run_by_index(0, list(self._ins.values()), list(self._outs.values()))
            return [self._output(spec) for spec in self.outputs]
        except (RuntimeError, ValueError) as exc:
            raise ModelError(f"{self.runtime} failed: {str(exc).strip()[:200]}") from exc

    def _output(self, spec: TensorSpec) -> Array:
        import numpy as np

        values: Array = self._outs[spec.name].read(int(np.prod(spec.shape)), np.dtype(spec.dtype))
        return values.reshape(spec.shape)

    def close(self) -> None:
        """Free the model."""
        self._ins, self._outs, self._ready = {}, {}, None
