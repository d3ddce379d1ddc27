"""The two TFLite libraries: ai-edge-litert and the older tflite-runtime, with one interface."""

import ctypes
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit_agent.errors import InputDataError, ModelError, RuntimeMissingError
from edgekit_agent.runtimes import _tflite_compiled, _tflite_file, _tflite_operators
from edgekit_agent.runtimes._tflite_compiled import CompiledSession
from edgekit_agent.runtimes.base import CPU, PLAIN, Array, Availability, LoadOptions, TensorSpec


class TFLiteRuntime:
    """A TFLite library, by its distribution's name and the module that holds `Interpreter`."""

    formats: tuple[str, ...] = ("tflite",)

    def __init__(self, name: str, module: str) -> None:
        """Name the library; nothing is imported yet."""
        self.name = name
        self._module = module

    def _check_properties(self, options: LoadOptions) -> None:
        known = ("xnnpack",) if self.name == "tflite-runtime" else ("xnnpack", "weight_cache")
        unknown = set(options.properties) - set(known)
        if unknown:
            raise ModelError(f"{self.name} has no property '{min(unknown)}'; it has: {', '.join(known)}")
        others = options.delegate is not None or options.batch != 1 or not _is_on(options, "xnnpack", default=True)
        if others and _is_on(options, "weight_cache", default=False):
            raise ModelError("weight_cache goes with XNNPACK alone and one sample at a time")

    def available(self) -> Availability:
        """Say whether the library and a NumPy it can work with are installed."""
        if importlib.util.find_spec(self._module.partition(".")[0]) is None:
            return Availability(ok=False, reason=f"{self.name} is not installed", hint=f"pip install {self.name}")
        if self.name == "tflite-runtime" and int(_version("numpy").partition(".")[0] or 0) > 1:
            # it imports with NumPy 2 and then fails when an interpreter is made
            reason = f"{self.name} works with NumPy 1 only and NumPy {_version('numpy')} is installed"
            return Availability(ok=False, reason=reason, hint="pip install 'numpy<2'")
        return Availability(ok=True, version=_version(self.name))

    def load(self, model: Path, options: LoadOptions = PLAIN) -> "TFLiteSession | CompiledSession":
        """Load a `.tflite` file; what a delegate does not take runs on the CPU, by XNNPACK where that can.

        Properties: `xnnpack` (false keeps to the reference kernels), and of ai-edge-litert `weight_cache` (true keeps
        XNNPACK's packed weights in a file, for models without free dimensions).

        Raises:
            ModelError: if the file is missing, broken, or holds an op this version does not have, if another device
                than CPU is asked for, or the delegate cannot be loaded or fails.
            RuntimeMissingError: if the library cannot be used here.
        """
        here = self.available()
        if not here.ok:
            error = RuntimeMissingError(here.reason)
            error.add_note(here.hint)
            raise error
        if options.device != CPU:
            raise ModelError(f"{self.name} runs on CPU, or by a delegate, and '{options.device}' was asked for")
        content = _tflite_file.checked(model)
        library = importlib.import_module(self._module)
        self._check_properties(options)
        settings = {"num_threads": options.threads, **_resolver(library, options)}
        if options.delegate is not None:
            settings["experimental_delegates"] = [_delegate(library, options.delegate, options.delegate_options)]
        try:
            interpreter = library.Interpreter(model_content=content, **settings)
            if _is_on(options, "weight_cache", default=False):
                ready = _tflite_compiled.compiled(content, options)
                ports = [tuple(_spec(*one) for one in side) for side in _named(interpreter)]
                return CompiledSession(ready, f"{self.name} {here.version}", content, *ports)
            delegated = _tflite_operators.delegated(interpreter)
            _plan(interpreter, options.batch)
            name = options.delegate.name if options.delegate is not None else None
            operators = _tflite_operators.by_part(interpreter, delegated, name)
            return TFLiteSession(interpreter, f"{self.name} {here.version}", content, operators)
        except (ValueError, RuntimeError, LookupError, TypeError) as exc:
            reason = _first_line(exc)
            raise ModelError(f"model '{model}' cannot be run by {self.name} {here.version}: {reason}") from exc


def _is_on(options: LoadOptions, name: str, *, default: bool) -> bool:
    return str(options.properties.get(name, default)).lower() in {"true", "1"}


def _resolver(library: Any, options: LoadOptions) -> dict[str, Any]:  # noqa: ANN401  # no types
    if _is_on(options, "xnnpack", default=True):
        return {}
    return {"experimental_op_resolver_type": library.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def _delegate(library: Any, path: Path, options: Mapping[str, str]) -> Any:  # noqa: ANN401  # no types
    """Load a delegate: native code with the worker's rights, named by the device's own configuration only."""
    try:
        ctypes.PyDLL(str(path))  # first: the library's own class complains on stderr of a file that is none
        return library.load_delegate(str(path), dict(options))
    except (OSError, ValueError, AttributeError, RuntimeError) as exc:
        reason = str(exc).strip().splitlines()[-1]  # the delegate's own words, where it has any
        raise ModelError(f"delegate '{path}' cannot be loaded: {reason}") from exc


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

    def __init__(
        self,
        interpreter: Any,  # noqa: ANN401  # the libraries have no types
        runtime: str,
        content: bytes,
        operators: Mapping[str, int],
    ) -> None:
        """Take an allocated interpreter and what runs its operators; `content` must outlive it."""
        self.runtime, self.operators = runtime, operators
        # XNNPACK is the CPU too
        parts = (CPU if part == _tflite_operators.XNNPACK else part for part in operators)
        self.executed_on: tuple[str, ...] = tuple(dict.fromkeys(parts)) or (CPU,)
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
