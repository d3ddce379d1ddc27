"""Target formats: one table."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from edgekit_converters.backends.base import Backend
from edgekit_converters.errors import PrecisionError

# format -> "module:Class", imported on use
BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "tflite": "edgekit_converters.backends.tflite:TFLiteBackend",
        "openvino": "edgekit_converters.backends.openvino:OpenVINOBackend",
        "onnx": "edgekit_converters.backends.onnx:OnnxBackend",
    }
)


def backend_for(target: str) -> Backend:
    """Return the backend of a target format.

    Raises:
        PrecisionError: if there is no such target; names those there are.
    """
    if target not in BACKENDS:
        raise PrecisionError(f"there is no target '{target}': the targets are {', '.join(BACKENDS)}")
    module, name = BACKENDS[target].split(":")
    backend: Backend = getattr(importlib.import_module(module), name)()
    return backend
