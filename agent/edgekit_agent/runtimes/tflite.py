"""The two TFLite libraries: ai-edge-litert and the older tflite-runtime, with one interface."""

import importlib
import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit_agent.errors import InputDataError, ModelError, RuntimeMissingError
from edgekit_agent.runtimes import _tflite_file
from edgekit_agent.runtimes.base import Array, Availability, TensorSpec


class TFLiteRuntime:
    """A TFLite library, by its distribution's name and the module that holds `Interpreter`."""

    formats: tuple[str, ...] = ("tflite",)

    def __init__(self, name: str, module: str) -> None:
        """Name the library; nothing is imported yet."""
        self.name = name
        self._module = module

    def available(self) -> Availability:
        """Say whether the library and a NumPy it can work with are installed."""
        if importlib.util.find_spec(self._module.partition(".")[0]) is None:
            return Availability(ok=False, reason=f"{self.name} is not installed", hint=f"pip install {self.name}")
        if self.name == "tflite-runtime" and int(_version("numpy").partition(".")[0] or 0) > 1:
            # it imports with NumPy 2 and then fails when an interpreter is made
            reason = f"{self.name} works with NumPy 1 only and NumPy {_version('numpy')} is installed"
            return Availability(ok=False, reason=reason, hint="pip install 'numpy<2'")
        return Availability(ok=True, version=_version(self.name))

    def load(self, model: Path, *, threads: int = 1, device: str = "CPU", batch: int = 1) -> "TFLiteSession":
        """Load a `.tflite` file.

        Raises:
            ModelError: if the file is missing, broken, or holds an op this version does not have, or if another
                device than CPU is asked for.
            RuntimeMissingError: if the library cannot be used here.
        """
        here = self.available()
        if not here.ok:
            error = RuntimeMissingError(here.reason)
            error.add_note(here.hint)
            raise error
        if device != "CPU":
            raise ModelError(f"{self.name} runs on CPU and '{device}' was asked for")
        content = _tflite_file.checked(model)
        interpreter_type = importlib.import_module(self._module).Interpreter
        try:
            interpreter = interpreter_type(model_content=content, num_threads=threads)
            _plan(interpreter, batch)
            return TFLiteSession(interpreter, f"{self.name} {here.version}", content)
        except (ValueError, RuntimeError, LookupError, TypeError) as exc:
            reason = _first_line(exc)
            raise ModelError(f"model '{model}' cannot be run by {self.name} {here.version}: {reason}") from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _plan(interpreter: Any, batch: int) -> None:  # noqa: ANN401  # the libraries have no types
    """Fix the batch and plan the memory; a model with more free dimensions may not work before they have a size."""
    free = False
    for detail in interpreter.get_input_details():
        signature = list(detail["shape_signature"])
        wanted = [int(size) for size in detail["shape"]]
        free = free or -1 in signature[1:]
        if signature and signature[0] == -1 and wanted[0] != batch:
            interpreter.resize_tensor_input(detail["index"], [batch, *wanted[1:]], strict=True)
    try:
        interpreter.allocate_tensors()
    except RuntimeError:
        if not free:
            raise


class TFLiteSession:
    """A loaded TFLite model; inputs and outputs are named and ordered by its signature, where it has one."""

    def __init__(self, interpreter: Any, runtime: str, content: bytes) -> None:  # noqa: ANN401  # the libraries have no types
        """Take an allocated interpreter; `content` must outlive it."""
        self.runtime = runtime
        self.executed_on: tuple[str, ...] = ("CPU",)
        self._interpreter, self._content = interpreter, content
        inputs, outputs = _named(interpreter)
        self._input_indices = [detail["index"] for _, detail in inputs]
        self._output_indices = [detail["index"] for _, detail in outputs]
        self.inputs = tuple(_spec(name, detail) for name, detail in inputs)
        self.outputs = tuple(_spec(name, detail) for name, detail in outputs)
        # what the memory is planned for; None where no input has a free dimension left, and nothing is to be compared
        self._sizes: list[tuple[int, ...]] | None = [] if any(-1 in spec.shape for spec in self.inputs) else None

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; see `Session.invoke`."""
        interpreter = self._interpreter
        try:
            self._fit_free(arrays)
            for index, array in zip(self._input_indices, arrays, strict=True):
                interpreter.set_tensor(index, array)
        except (ValueError, TypeError) as exc:
            raise InputDataError(f"an input does not fit: {exc}") from exc
        try:
            interpreter.invoke()
            return [self._output(index) for index in self._output_indices]
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"{self.runtime} failed: {_first_line(exc)}") from exc

    def _output(self, index: int) -> Array:
        try:
            output: Array = self._interpreter.get_tensor(index)
        except ValueError:  # an empty constant: the library takes it for one that was never computed
            details = {one["index"]: one for one in self._interpreter.get_output_details()}
            if index not in details or 0 not in details[index]["shape"]:
                raise
            import numpy as np

            return np.empty(details[index]["shape"], details[index]["dtype"])
        return output

    def _fit_free(self, arrays: Sequence[Array]) -> None:
        """Give free dimensions the arrays' sizes; the memory is planned anew when one has changed since the last run.

        Raises:
            InputDataError: if an array does not fit, or the model cannot work at these sizes.
        """
        sizes = None if self._sizes is None else [tuple(array.shape) for array in arrays]
        if sizes is None or sizes == self._sizes:
            return
        for spec, size in zip(self.inputs, sizes, strict=True):
            if not spec.takes(size):  # the library would take another batch
                raise InputDataError(f"input '{spec.name}' takes {list(spec.shape)} and {list(size)} was given")
        self._sizes = []  # until it is known to work
        try:
            for index, size in zip(self._input_indices, sizes, strict=True):
                self._interpreter.resize_tensor_input(index, size, strict=True)
            self._interpreter.allocate_tensors()
        except RuntimeError as exc:
            given = ", ".join("x".join(map(str, size)) for size in sizes)
            raise InputDataError(f"the model cannot work on inputs of {given}: {_first_line(exc)}") from exc
        self._sizes = sizes

    def close(self) -> None:
        """Free the model."""
        self._interpreter = None


_Named = list[tuple[str, dict[str, Any]]]


def _named(interpreter: Any) -> tuple[_Named, _Named]:  # noqa: ANN401  # the libraries have no types
    """Return (name, details) of inputs and outputs.

    With one signature the names are its own, in the order of the graph's tensors
    (`get_signature_list` sorts names by letters, so it says nothing of their order).
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        return _by_tensor(inputs), _by_tensor(outputs)
    runner = interpreter.get_signature_runner(next(iter(signatures)))
    return _by_signature(inputs, runner.get_input_details()), _by_signature(outputs, runner.get_output_details())


def _by_tensor(details: list[dict[str, Any]]) -> _Named:
    return [(detail["name"], detail) for detail in details]


def _by_signature(details: list[dict[str, Any]], signed: dict[str, dict[str, Any]]) -> _Named:
    names: dict[int, list[str]] = {}
    for name, detail in signed.items():
        names.setdefault(detail["index"], []).append(name)
    place = {detail["index"]: number for number, detail in enumerate(details)}
    known = {detail["index"]: detail for detail in details}
    order = sorted(names, key=lambda index: place.get(index, len(place)))
    # one tensor may stand for two outputs of the signature
    return [(name, known.get(index, signed[name])) for index in order for name in names[index]]


def _spec(name: str, detail: dict[str, Any]) -> TensorSpec:
    quantization = detail["quantization_parameters"]
    free = detail.get("shape_signature", detail["shape"])
    shape = [
        int(now) if first != -1 or place == 0 else -1
        for place, (now, first) in enumerate(zip(detail["shape"], free, strict=False))
    ]  # a scalar has no signature
    return TensorSpec(
        name=name,
        shape=tuple(shape),
        dtype=str(_dtype(detail["dtype"])),
        scale=tuple(float(value) for value in quantization["scales"]),
        zero_point=tuple(int(value) for value in quantization["zero_points"]),
        axis=int(quantization["quantized_dimension"]),
    )


def _dtype(kind: Any) -> str:  # noqa: ANN401  # a NumPy scalar type
    import numpy as np

    return str(np.dtype(kind).name)
