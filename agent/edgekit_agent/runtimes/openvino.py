"""OpenVINO: IR, ONNX and TFLite files on CPU, GPU, NPU, and what chooses among or combines them (AUTO, HETERO)."""

import contextlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit_agent import compiled_cache
from edgekit_agent.errors import InputDataError, ModelError, RuntimeMissingError
from edgekit_agent.runtimes import _tflite_file
from edgekit_agent.runtimes.base import CPU, PLAIN, Array, Availability, LoadOptions, TensorSpec


def library() -> Any:  # noqa: ANN401  # OpenVINO has no types
    """Import OpenVINO without its usage statistics, which are sent from an import unless somebody has refused them."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes the import fail, as if not installed
    import openvino

    return openvino


class OpenVINORuntime:
    """OpenVINO's own runtime."""

    name = "openvino"
    formats: tuple[str, ...] = ("openvino", "tflite", "onnx")

    def available(self) -> Availability:
        """Say whether OpenVINO is installed."""
        if importlib.util.find_spec("openvino") is None:
            return Availability(ok=False, reason="openvino is not installed", hint="pip install openvino")
        return Availability(ok=True, version=metadata.version("openvino"))

    def load(self, model: Path, options: LoadOptions = PLAIN) -> "OpenVINOSession":
        """Load an `.xml` (with its `.bin`), `.onnx` or `.tflite` file.

        A free first dimension is fixed to `batch`: a static batch was measured 1.7 times faster.

        Raises:
            ModelError: if the file is missing, broken, or cannot be compiled for the device.
            RuntimeMissingError: if OpenVINO is not installed.
        """
        return self._sessions(model, 1, options)[0]

    def load_pool(self, model: Path, count: int, options: LoadOptions = PLAIN) -> "list[OpenVINOSession]":
        """Compile a model once for as many streams, a request each; see `Pooling.load_pool`."""
        return self._sessions(model, count, options)

    def _sessions(self, model: Path, count: int, options: LoadOptions) -> "list[OpenVINOSession]":
        here = self.available()
        if not here.ok:
            error = RuntimeMissingError(here.reason)
            error.add_note(here.hint)
            raise error
        options.only(self.name, "properties")
        if not model.is_file():
            raise ModelError(f"model '{model}' does not exist")
        if model.suffix == ".xml" and not model.with_suffix(".bin").is_file():
            raise ModelError(f"model '{model}' has no weights beside it: '{model.with_suffix('.bin').name}' is missing")
        # what OpenVINO's frontend does not tell of a .tflite: the signature's names, and the scales
        told = _tflite_file.ports(_tflite_file.checked(model)) if model.suffix == ".tflite" else None
        openvino = library()
        core = openvino.Core()
        _check_device(options.device, core.available_devices)
        try:
            graph = core.read_model(model)
            _fix_batch(graph, options.batch)
            compiled = _compile(core, graph, options.device, _properties(options, count), options.cache)
            return [OpenVINOSession(graph, compiled, f"openvino {here.version}", told) for _ in range(count)]
        except (RuntimeError, ValueError, TypeError) as exc:
            reason = _reason(exc)
            raise ModelError(f"model '{model}' cannot be run by openvino {here.version}: {reason}") from exc


_CHOOSERS = frozenset({"AUTO", "HETERO", "MULTI"})
"""Devices that are made of others: `AUTO:GPU,CPU`."""


def _check_device(device: str, available: Sequence[str]) -> None:
    """Refuse a device that is not here: the library's own message names a plug-in."""
    first, _, rest = device.partition(":")
    wanted = [one.removeprefix("-") for one in rest.split(",") if one] if first in _CHOOSERS else [device]
    here = {name.partition(".")[0] for name in available} | set(available)
    for one in wanted:
        # (NPU.3720) and (GPU.1.0) are ways to say a device of a kind, CPU(2) how many requests it is to have
        if one.partition("(")[0].partition(".")[0] not in here:
            raise ModelError(f"openvino has no device '{one}' here; it has: {', '.join(available)}")


def _properties(options: LoadOptions, streams: int) -> dict[str, Any]:
    # some CPUs would run float layers in bfloat16 (0.04 off on a softmax): the same figures everywhere come first
    cpu = {"INFERENCE_NUM_THREADS": options.threads * streams, "INFERENCE_PRECISION_HINT": "f32"}
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if streams > 1:
        properties |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams}
    if options.device == CPU:
        properties |= cpu
    elif options.device.partition(":")[0] in _CHOOSERS:
        properties["DEVICE_PROPERTIES"] = {CPU: cpu}
    if options.device.partition(":")[0] == "AUTO":
        # it would begin on the CPU while the other device compiles: figures of two devices under one name
        properties["ENABLE_STARTUP_FALLBACK"] = False
    return {**properties, **options.properties}


def _compile(core: Any, graph: Any, device: str, properties: dict[str, Any], cache: Path | None) -> Any:  # noqa: ANN401
    """Compile, from the cache where that is whole; whatever is wrong with the cache, the model is compiled."""
    if cache is not None:
        with contextlib.suppress(RuntimeError, OSError), compiled_cache.used(cache) as folder:
            return core.compile_model(graph, device, {**properties, "CACHE_DIR": str(folder)})
    return core.compile_model(graph, device, properties)


def _reason(exc: Exception) -> str:
    """Return the telling line of OpenVINO's long messages."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check ", "[ GENERAL", "Error "))]
    return (telling or lines or ["no reason given"])[-1][:200]


def _fix_batch(graph: Any, batch: int) -> None:  # noqa: ANN401  # OpenVINO has no types
    shapes = {}
    for port in graph.inputs:
        shape = port.get_partial_shape()
        if shape.rank.is_static and len(shape) and shape[0].is_dynamic:
            shape[0] = batch
            shapes[port] = shape
    if shapes:
        graph.reshape(shapes)


class OpenVINOSession:
    """A compiled model with one inference request."""

    def __init__(
        self,
        graph: Any,  # noqa: ANN401  # OpenVINO has no types
        compiled: Any,  # noqa: ANN401
        runtime: str,
        told: tuple[list[_tflite_file.Port], list[_tflite_file.Port]] | None = None,
    ) -> None:
        """Take a model, compiled, and what its file tells of inputs and outputs.

        The names are the model's own: compiling adds those of what was merged into an output.
        """
        self.runtime = runtime
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self.inputs: tuple[TensorSpec, ...] = tuple(
            _spec(port, named, "input", number)
            for number, (port, named) in enumerate(zip(compiled.inputs, graph.inputs, strict=True))
        )
        self.outputs: tuple[TensorSpec, ...] = tuple(
            _spec(port, named, "output", number)
            for number, (port, named) in enumerate(zip(compiled.outputs, graph.outputs, strict=True))
        )
        if told is not None:
            self.inputs, self.outputs = _told(self.inputs, told[0]), _told(self.outputs, told[1])
        self.operators: Mapping[str, int] = {}

    @property
    def executed_on(self) -> tuple[str, ...]:
        """Where inferences run now: AUTO moves a model away from a device that fails."""
        executed = self._compiled.get_property("EXECUTION_DEVICES")
        # AUTO says "(CPU)" of a device that stands in for another
        return tuple(one.strip("()") for one in ([executed] if isinstance(executed, str) else executed))

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; see `Session.invoke`."""
        if len(arrays) != len(self.inputs):
            raise InputDataError(f"{len(arrays)} arrays were given and the model has {len(self.inputs)} inputs")
        for spec, array in zip(self.inputs, arrays, strict=True):
            if array.dtype != spec.dtype:  # the library would convert it without a word
                raise InputDataError(f"input '{spec.name}' takes {spec.dtype} and {array.dtype} was given")
        try:
            results = self._request.infer(list(arrays), share_inputs=True)
        except (RuntimeError, TypeError) as exc:
            if not all(spec.takes(array.shape) for spec, array in zip(self.inputs, arrays, strict=True)):
                raise InputDataError(f"an input does not fit: {_reason(exc)}") from exc
            raise ModelError(f"{self.runtime} failed: {_reason(exc)}") from exc
        return [results[number] for number in range(len(self.outputs))]

    def close(self) -> None:
        """Free the model."""
        self._request = self._compiled = None


def _told(specs: tuple[TensorSpec, ...], ports: Sequence[_tflite_file.Port]) -> tuple[TensorSpec, ...]:
    if len(specs) != len(ports):
        raise ModelError(f"openvino sees {len(specs)} inputs or outputs where the file has {len(ports)}")
    return tuple(
        replace(spec, name=port.name, scale=port.scale, zero_point=port.zero_point, axis=port.axis)
        for spec, port in zip(specs, ports, strict=True)
    )


def _spec(port: Any, named: Any, kind: str, number: int) -> TensorSpec:  # noqa: ANN401  # OpenVINO has no types
    return TensorSpec(
        name=named.get_any_name() if named.get_names() else f"{kind}{number}",
        shape=tuple(size.get_length() if size.is_static else -1 for size in port.get_partial_shape()),
        dtype=port.get_element_type().to_dtype().name,
    )
