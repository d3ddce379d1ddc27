"""The port every format implements so that its layers can be looked at while it runs."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from edgekit_converters.layers.view import View
from edgekit_converters.model import Array

Runner = Callable[[Mapping[int, Array]], list[Array]]
"""From real values by their place in `View.values` to real values, in the order they were asked for."""


class LayeredModel(Protocol):
    """A model whose inner values can be had, and replaced."""

    view: View
    inputs: Mapping[str, int]
    """Places of the inputs by public name, in the model's order."""
    outputs: Mapping[str, int]
    """Places of the outputs by public name, in the model's order."""

    def runner(self, wanted: Sequence[int], given: Sequence[int] = ()) -> Runner:
        """Prepare runs that return the values at the places `wanted`.

        Whoever takes a value at a place `given` takes what the run is given there instead of what the model computes.

        Raises:
            ModelFileError: if the runtime does not take the model.
            UnsupportedError: if it holds an op the runtime does not have.
            ConverterMissingError: if the format's runtime is not installed.
        """
        ...


# suffix -> "module:Class", imported on use
LAYERED: Mapping[str, str] = MappingProxyType(
    {
        ".tflite": "edgekit_converters.layers.tflite:TFLiteModel",
        ".onnx": "edgekit_converters.layers.onnx:OnnxModel",
        ".xml": "edgekit_converters.layers.openvino:OpenVINOModel",
    }
)


def open_model(path: Path) -> LayeredModel:
    """Return the model of a file whose suffix is in `LAYERED`.

    Raises:
        ModelFileError: if it is damaged.
        ConverterMissingError: if the format's library is not installed.
    """
    module, name = LAYERED[path.suffix.lower()].split(":")
    model: LayeredModel = getattr(importlib.import_module(module), name)(path)
    return model
