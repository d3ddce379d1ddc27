"""ONNX Runtime: ONNX files, float and quantized ones (QuantizeLinear and DequantizeLinear nodes), by its providers."""

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit_agent.errors import ModelError, RuntimeMissingError
from edgekit_agent.runtimes import _onnx_file
from edgekit_agent.runtimes.base import CPU, PLAIN, Array, Availability, LoadOptions, Property, TensorSpec, named_feeds

_PROVIDER = "ExecutionProvider"
"""What the name of a provider ends in; before stands the device."""
_SESSION = "session."
"""What the names of the session's own properties begin with; others are the provider's."""
_FATAL = 4  # of its log levels: what goes wrong is raised, and need not stand on stderr too
# "tensor(T)" -> NumPy's name
_DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip


def library() -> Any:  # noqa: ANN401  # ONNX Runtime has no types
    """Import ONNX Runtime with its usage statistics off (only its Windows builds have any)."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


class ONNXRuntime:
    """ONNX Runtime with the execution providers of the build that is installed."""

    name = "onnxruntime"
    formats: tuple[str, ...] = ("onnx",)

    def available(self) -> Availability:
        """Say whether ONNX Runtime is installed."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Availability(ok=False, reason="onnxruntime is not installed", hint="pip install onnxruntime")
        return Availability(ok=True, version=metadata.version("onnxruntime"))

    def load(self, model: Path, options: LoadOptions = PLAIN) -> "ONNXSession":
        """Load an `.onnx` file, with its external data where it has any.

        The device is a provider's name without its ending (`CUDA`, `QNN`); the CPU takes what the provider does not.

        Raises:
            ModelError: if the file is missing, broken, or holds an op this version does not have, or if there is no
                provider for the device.
            RuntimeMissingError: if ONNX Runtime is not installed.
        """
        here = self.available()
        if not here.ok:
            error = RuntimeMissingError(here.reason)
            error.add_note(here.hint)
            raise error
        options.only(self.name, "properties")
        told = _onnx_file.read(model)
        onnxruntime = library()
        providers = _providers(onnxruntime.get_available_providers(), options)
        try:
            ready = onnxruntime.InferenceSession(
                str(model), _options(onnxruntime, options, told.batches), providers=providers
            )
        except Exception as exc:  # its exceptions have no common base
            reason = _reason(exc)
            raise ModelError(f"model '{model}' cannot be run by {self.name} {here.version}: {reason}") from exc
        return ONNXSession(ready, f"{self.name} {here.version}", told, options.batch)


def _providers(available: Sequence[str], options: LoadOptions) -> list[tuple[str, dict[str, str]]]:
    devices = {name.removesuffix(_PROVIDER): name for name in available}
    found = next((name for device, name in devices.items() if device.lower() == options.device.lower()), None)
    if found is None:
        raise ModelError(f"onnxruntime has no provider for '{options.device}' here; it has: {', '.join(devices)}")
    own = {key: _text(value) for key, value in options.properties.items() if not key.startswith(_SESSION)}
    last = f"{CPU}{_PROVIDER}"
    return [(found, own)] if found == last else [(found, own), (last, {})]


def _text(value: Property) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _options(onnxruntime: Any, asked: LoadOptions, batches: frozenset[str]) -> Any:  # noqa: ANN401  # no types
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = asked.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL
    # Waiting threads would spin: on a device with few cores they take them from whatever else runs there.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for key, value in asked.properties.items():
        if key.startswith(_SESSION):
            options.add_session_config_entry(key, _text(value))
    for name in batches:
        options.add_free_dimension_override_by_name(name, asked.batch)
    return options


def _reason(exc: Exception) -> str:
    """Return the first line of an error without the library's own prefix."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__).removeprefix("[ONNXRuntimeError] : ")[:200]


def _assigned(ready: Any) -> Mapping[str, int]:  # noqa: ANN401  # no types
    """Return how many operators each provider has; empty where the library is too old to tell."""
    found: Counter[str] = Counter()
    if hasattr(ready, "get_provider_graph_assignment_info"):
        for part in ready.get_provider_graph_assignment_info():
            found[part.ep_name.removesuffix(_PROVIDER)] += len(part.get_nodes())
    return dict(found)


class ONNXSession:
    """A loaded ONNX model."""

    def __init__(self, ready: Any, runtime: str, told: _onnx_file.OnnxFile, batch: int) -> None:  # noqa: ANN401  # no types
        """Take a session and what its file tells of inputs and outputs."""
        self.runtime = runtime
        self.operators = _assigned(ready)
        registered = tuple(name.removesuffix(_PROVIDER) for name in ready.get_providers())
        self.executed_on: tuple[str, ...] = tuple(one for one in registered if one in self.operators) or registered
        self._session = ready
        self.inputs: tuple[TensorSpec, ...] = tuple(_spec(one, told.taken, batch) for one in ready.get_inputs())
        self.outputs: tuple[TensorSpec, ...] = tuple(_spec(one, told.given, None) for one in ready.get_outputs())

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; see `Session.invoke`."""
        feeds = named_feeds(arrays, self.inputs)
        try:
            results: list[Array] = self._session.run(None, feeds)
        except Exception as exc:  # its exceptions have no common base
            raise ModelError(f"{self.runtime} failed: {_reason(exc)}") from exc
        return results

    def close(self) -> None:
        """Free the model."""
        self._session = None


def _spec(port: Any, grids: dict[str, _onnx_file.Grid], batch: int | None) -> TensorSpec:  # noqa: ANN401  # no types
    kind = port.type.removeprefix("tensor(").removesuffix(")")
    if kind not in _DTYPES:
        raise ModelError(f"'{port.name}' is a {port.type}, which is no tensor of numbers")
    sizes = [size if isinstance(size, int) else -1 for size in port.shape]
    if sizes and sizes[0] == -1 and batch is not None:  # a free dimension without a name
        sizes[0] = batch
    grid = grids.get(port.name)
    return TensorSpec(
        name=port.name,
        shape=tuple(sizes),
        dtype=_DTYPES[kind],
        scale=grid.scale if grid else (),
        zero_point=grid.zero_point if grid else (),
        axis=grid.axis % max(len(sizes), 1) if grid else 0,
    )
