"""A runtime without a library: scripted outputs, latencies and faults, for trying things out and for tests.

Its model is a small JSON file with the suffix `.null`:
`{"inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float32"}],
"outputs": [{"name": "y", "shape": [-1, 2], "dtype": "float32"}],
"latency_ms": [1.0, 2.0], "faults": {"3": "raise", "10": "segfault", "20": "hang"}}`. Every output is filled with the
mean of the first input, and its free dimensions are that input's at their place, or 1; latencies are taken in turns;
a fault strikes at that inference, counted from 0.
"""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.errors import InputDataError, ModelError
from edgekit_agent.runtimes.base import Array, Availability, TensorSpec

_MAX_BYTES = 1 << 20
_FAULTS = ("raise", "segfault", "hang")


class NullRuntime:
    """Runs `.null` files."""

    name = "null"
    formats: tuple[str, ...] = ("null",)

    def available(self) -> Availability:
        """It is always there."""
        return Availability(ok=True, version=__version__)

    def load(self, model: Path, *, threads: int = 1, device: str = "CPU", batch: int = 1) -> "NullSession":  # noqa: ARG002  # the port's arguments
        """Load a `.null` file.

        Raises:
            ModelError: if it is missing or not of the form above.
        """
        try:
            if model.stat().st_size > _MAX_BYTES:
                raise ModelError(f"model '{model}' is larger than {_MAX_BYTES} bytes")
            script = json.loads(model.read_text())
            return NullSession(script, batch)
        except OSError as exc:
            raise ModelError(f"model '{model}' cannot be read: {exc.strerror}") from exc
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ModelError(f"model '{model}' is not a script for the null runtime") from exc


class NullSession:
    """A loaded script."""

    def __init__(self, script: dict[str, Any], batch: int) -> None:
        """Read the script."""
        self.runtime = f"null {__version__}"
        self.executed_on: tuple[str, ...] = ("CPU",)
        self.inputs = tuple(_spec(one, batch) for one in script["inputs"])
        self.outputs = tuple(_spec(one, batch) for one in script["outputs"])
        self._latencies_s = [float(value) / 1000 for value in script.get("latency_ms", [0.0])]
        self._faults = {int(number): str(what) for number, what in script.get("faults", {}).items()}
        if not self.inputs or not self._latencies_s or not set(self._faults.values()) <= set(_FAULTS):
            raise ValueError
        self._count = 0

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; see `Session.invoke`."""
        import numpy as np

        number, self._count = self._count, self._count + 1
        if len(arrays) != len(self.inputs):
            raise InputDataError(f"{len(arrays)} arrays were given and the model has {len(self.inputs)} inputs")
        for spec, array in zip(self.inputs, arrays, strict=True):
            if not spec.takes(array.shape) or array.dtype.name != spec.dtype:
                raise InputDataError(f"input '{spec.name}' is {array.dtype}{array.shape}, not {spec.dtype}{spec.shape}")
        self._strike(self._faults.get(number))
        time.sleep(self._latencies_s[number % len(self._latencies_s)])
        value = float(np.mean(arrays[0]))  # type: ignore[arg-type]  # inputs are numbers
        sizes = dict(enumerate(arrays[0].shape))
        shapes = [[sizes.get(at, 1) if n == -1 else n for at, n in enumerate(spec.shape)] for spec in self.outputs]
        return [np.full(shape, value, spec.dtype) for shape, spec in zip(shapes, self.outputs, strict=True)]

    def _strike(self, fault: str | None) -> None:
        if fault == "raise":
            raise ModelError("the script raises here")
        if fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "hang":
            time.sleep(10**6)

    def close(self) -> None:
        """Nothing to free."""


def _spec(one: dict[str, Any], batch: int) -> TensorSpec:
    shape = tuple(batch if place == 0 and size == -1 else int(size) for place, size in enumerate(one["shape"]))
    return TensorSpec(name=str(one["name"]), shape=shape, dtype=str(one["dtype"]))
