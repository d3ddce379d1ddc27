"""The runtimes, in the order in which they are preferred, and the choice of one for a model."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from edgekit_agent.errors import ModelError, RuntimeMissingError
from edgekit_agent.runtimes.base import Availability, Runtime

# tflite-runtime stands behind ai-edge-litert: on x86 it runs int8 models without XNNPACK, up to 60 times slower.
RUNTIMES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ai-edge-litert": (
            "edgekit_agent.runtimes.tflite:TFLiteRuntime",
            ("ai-edge-litert", "ai_edge_litert.interpreter"),
        ),
        "tflite-runtime": (
            "edgekit_agent.runtimes.tflite:TFLiteRuntime",
            ("tflite-runtime", "tflite_runtime.interpreter"),
        ),
        "onnxruntime": ("edgekit_agent.runtimes.onnxruntime:ONNXRuntime", ()),
        "openvino": ("edgekit_agent.runtimes.openvino:OpenVINORuntime", ()),
        "pipeline": ("edgekit_agent.runtimes.pipeline:PipelineRuntime", ()),
        "null": ("edgekit_agent.runtimes.null:NullRuntime", ()),
    }
)

FORMATS: Mapping[str, str] = MappingProxyType(
    {".tflite": "tflite", ".xml": "openvino", ".onnx": "onnx", ".pipeline": "pipeline", ".null": "null"}
)
AUTO = "auto"


def get(name: str) -> Runtime:
    """Return a runtime by name, without importing its library.

    Raises:
        ModelError: if there is no such runtime.
    """
    if name not in RUNTIMES:
        raise ModelError(f"there is no runtime '{name}'; there are: {', '.join(RUNTIMES)}")
    where, arguments = RUNTIMES[name]
    module, _, attribute = where.partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), attribute)(*arguments)
    return runtime


def available() -> dict[str, Availability]:
    """Return for each runtime whether it can be used here."""
    return {name: get(name).available() for name in RUNTIMES}


def model_format(model: Path) -> str:
    """Return the format of a model file by its suffix.

    Raises:
        ModelError: if no runtime reads such files.
    """
    try:
        return FORMATS[model.suffix.lower()]
    except KeyError:
        raise ModelError(f"model '{model}' is of no format a runtime reads ({', '.join(FORMATS)})") from None


def choose(model: Path, wanted: str = AUTO) -> Runtime:
    """Return the runtime for a model: the one wanted, or the first of the table that reads the format and is installed.

    Raises:
        ModelError: if the runtime wanted does not exist or does not read the format.
        RuntimeMissingError: if none is installed; notes say what to install.
    """
    form = model_format(model)
    candidates = [get(name) for name in ([wanted] if wanted != AUTO else RUNTIMES)]
    fitting = [runtime for runtime in candidates if form in runtime.formats]
    if not fitting:
        raise ModelError(f"runtime '{wanted}' does not run {form} models")
    states = [(runtime, runtime.available()) for runtime in fitting]
    for runtime, state in states:
        if state.ok:
            return runtime
    error = RuntimeMissingError(f"no runtime for model '{model}': {states[0][1].reason}")
    for _, state in states:
        error.add_note(state.hint)
    raise error
