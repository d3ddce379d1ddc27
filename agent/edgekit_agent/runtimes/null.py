"""A runtime without a library: scripted outputs, latencies and faults, for trying things out and for tests.

Its model is a small JSON file with the suffix `.null`:
`{"inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float32"}],
"outputs": [{"name": "y", "shape": [-1, 2], "dtype": "float32"}],
"latency_ms": [1.0, 2.0], "faults": {"3": "raise", "10": "segfault", "20": "hang"}, "executed_on": ["CPU"]}`. Every
output is filled with the mean of the first input, and its free dimensions are that input's at their place, or 1;
latencies are taken in turns; a fault strikes at that inference, counted from 0, or while the model is loaded
(`"load"`): `raise`, `segfault`, `hang` (asleep), `spin` (a busy loop that hears no signal), `exit`, `memory` (takes all
there is) or `flood` (stderr without end). It says that it runs on the devices named, whatever was asked for.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.errors import InputDataError, ModelError
from edgekit_agent.runtimes.base import CPU, PLAIN, Array, Availability, LoadOptions, TensorSpec

_MAX_BYTES = 1 << 20


class NullRuntime:
    """Runs `.null` files."""

    name = "null"
    formats: tuple[str, ...] = ("null",)

    def available(self) -> Availability:
        """It is always there."""
        return Availability(ok=True, version=__version__)

    def load(self, model: Path, options: LoadOptions = PLAIN) -> "NullSession":
        """Load a `.null` file.

        Raises:
            ModelError: if it is missing or not of the form above.
        """
        options.only(self.name)
        try:
            if model.stat().st_size > _MAX_BYTES:
                raise ModelError(f"model '{model}' is larger than {_MAX_BYTES} bytes")
            script = json.loads(model.read_text())
            return NullSession(script, options.batch)
        except OSError as exc:
            raise ModelError(f"model '{model}' cannot be read: {exc.strerror}") from exc
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ModelError(f"model '{model}' is not a script for the null runtime") from exc


class NullSession:
    """A loaded script."""

    def __init__(self, script: dict[str, Any], batch: int) -> None:
        """Read the script."""
        self.runtime = f"null {__version__}"
        self.executed_on: tuple[str, ...] = tuple(str(one) for one in script.get("executed_on", [CPU]))
        self.operators: Mapping[str, int] = {}
        self.inputs = tuple(_spec(one, batch) for one in script["inputs"])
        self.outputs = tuple(_spec(one, batch) for one in script["outputs"])
        self._latencies_s = [float(value) / 1000 for value in script.get("latency_ms", [0.0])]
        faults = {str(when): str(what) for when, what in script.get("faults", {}).items()}
        at_load = faults.pop("load", None)
        self._faults = {int(number): what for number, what in faults.items()}
        if not self.inputs or not self._latencies_s or not {*self._faults.values(), at_load} <= {*_FAULTS, None}:
            raise ValueError
        _strike(at_load)
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
        _strike(self._faults.get(number))
        time.sleep(self._latencies_s[number % len(self._latencies_s)])
        value = float(np.mean(arrays[0]))  # type: ignore[arg-type]  # inputs are numbers
        sizes = dict(enumerate(arrays[0].shape))
        shapes = [[sizes.get(at, 1) if n == -1 else n for at, n in enumerate(spec.shape)] for spec in self.outputs]
        return [np.full(shape, value, spec.dtype) for shape, spec in zip(shapes, self.outputs, strict=True)]

    def close(self) -> None:
        """Nothing to free."""


def _strike(fault: str | None) -> None:
    if fault is not None:
        _FAULTS[fault]()


def _raise() -> None:
    raise ModelError("the script raises here")


def _spin() -> None:
    """Work without end in native code, where Python's signal handlers do not get their turn."""
    pow(3, 10 ** (10**6))  # years


def _fill_memory() -> None:
    held = []
    while True:
        held.append(bytearray(b"x") * (1 << 24))


def _flood() -> None:
    line = 1000 * b"flood " + b"\n"
    while True:
        os.write(2, line)


_FAULTS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        "raise": _raise,
        "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "hang": lambda: time.sleep(10**6),
        "spin": _spin,
        "exit": lambda: os._exit(7),
        "memory": _fill_memory,
        "flood": _flood,
    }
)


def _spec(one: dict[str, Any], batch: int) -> TensorSpec:
    shape = tuple(batch if place == 0 and size == -1 else int(size) for place, size in enumerate(one["shape"]))
    return TensorSpec(name=str(one["name"]), shape=shape, dtype=str(one["dtype"]))
