"""OpenVINO: IR, ONNX and TFLite files on CPU, GPU and NPU."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit_agent.errors import InputDataError, ModelError, RuntimeMissingError
from edgekit_agent.runtimes import _tflite_file
from edgekit_agent.runtimes.base import Array, Availability, TensorSpec


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

    def load(self, model: Path, *, threads: int = 1, device: str = "CPU", batch: int = 1) -> "OpenVINOSession":
        """Load an `.xml` (with its `.bin`), `.onnx` or `.tflite` file.

        A free first dimension is fixed to `batch`: a static batch was measured 1.7 times faster.

        Raises:
            ModelError: if the file is missing, broken, or cannot be compiled for the device.
            RuntimeMissingError: if OpenVINO is not installed.
        """
        return self._sessions(model, 1, _properties(device, threads), device, batch)[0]

    def load_pool(self, model: Path, count: int, *, threads: int = 1, batch: int = 1) -> "list[OpenVINOSession]":
        """Compile a model once for as many streams, a request each; see `Pooling.load_pool`."""
        streams = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": count} if count > 1 else {}
        properties = {**_properties("CPU", threads * count), **streams}
        return self._sessions(model, count, properties, "CPU", batch)

    def _sessions(
        self, model: Path, count: int, properties: dict[str, Any], device: str, batch: int
    ) -> "list[OpenVINOSession]":
        here = self.available()
        if not here.ok:
            error = RuntimeMissingError(here.reason)
            error.add_note(here.hint)
            raise error
        if not model.is_file():
            raise ModelError(f"model '{model}' does not exist")
        if model.suffix == ".xml" and not model.with_suffix(".bin").is_file():
            raise ModelError(f"model '{model}' has no weights beside it: '{model.with_suffix('.bin').name}' is missing")
        # what OpenVINO's frontend does not tell of a .tflite: the signature's names, and the scales
        told = _tflite_file.ports(_tflite_file.checked(model)) if model.suffix == ".tflite" else None
        openvino = library()
        core = openvino.Core()
        if device.partition(".")[0] not in {name.partition(".")[0] for name in core.available_devices} | {"AUTO"}:
            raise ModelError(f"openvino has no device '{device}' here; it has: {', '.join(core.available_devices)}")
        try:
            graph = core.read_model(model)
            _fix_batch(graph, batch)
            compiled = core.compile_model(graph, device, properties)
            return [OpenVINOSession(graph, compiled, f"openvino {here.version}", told) for _ in range(count)]
        except (RuntimeError, ValueError, TypeError) as exc:
            reason = _reason(exc)
            raise ModelError(f"model '{model}' cannot be run by openvino {here.version}: {reason}") from exc


def _properties(device: str, threads: int) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        properties["INFERENCE_NUM_THREADS"] = threads
        # some CPUs would run float layers in bfloat16 (0.04 off on a softmax): the same figures everywhere come first
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    return properties


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
        executed = compiled.get_property("EXECUTION_DEVICES")
        self.executed_on: tuple[str, ...] = tuple(executed) if not isinstance(executed, str) else (executed,)

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
