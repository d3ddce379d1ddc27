"""Input formats: one table, and the frontend a path asks for."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from edgekit_converters.frontends.base import Frontend
from edgekit_converters.frontends.files import kind_of

# kind -> "module:Class", imported on use
FRONTENDS: Mapping[str, str] = MappingProxyType(
    {
        "keras": "edgekit_converters.frontends.tensorflow:KerasFrontend",
        "keras-h5": "edgekit_converters.frontends.tensorflow:KerasH5Frontend",
        "saved-model": "edgekit_converters.frontends.tensorflow:SavedModelFrontend",
        "tflite": "edgekit_converters.frontends.tflite:TFLiteFrontend",
        "onnx": "edgekit_converters.frontends.onnx:OnnxFrontend",
        "pytorch-exported": "edgekit_converters.frontends.torch:ExportedProgramFrontend",
        "torchscript": "edgekit_converters.frontends.torch:TorchScriptFrontend",
        "factory": "edgekit_converters.frontends.factory:FactoryFrontend",
        "openvino": "edgekit_converters.frontends.openvino_ir:OpenVINOFrontend",
    }
)


def frontend_for(path: Path) -> Frontend:
    """Return the frontend for a model, by its content as well as by its name; a path may be `package.module:factory`.

    Raises:
        ModelFileError: if it is missing, empty, or its content is not what its name says.
    """
    module, name = FRONTENDS[kind_of(path)].split(":")
    frontend: Frontend = getattr(importlib.import_module(module), name)()
    return frontend
