"""Inputs of an ONNX model that are given a value once and for all."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.model import inputs_of, specs

if TYPE_CHECKING:
    import onnx_ir as ir


def fix_inputs(model: "ir.Model", constants: Mapping[str, float], label: str) -> None:
    """Replace inputs by weights with the value in every element, in place.

    Raises:
        UnsupportedError: if there is no such input, its shape is free, it takes other values, or no input is left.
    """
    import onnx_ir as ir

    for name, value in constants.items():
        inputs = {one.name: one for one in inputs_of(model)}
        if name not in inputs:
            known = ", ".join(map(str, inputs))
            raise UnsupportedError(f"model '{label}' has no input '{name}'; it has: {known}")
        if len(inputs) == 1:
            raise UnsupportedError(f"model '{label}': with input '{name}' fixed to {value} no input is left")
        (spec,) = specs([inputs[name]])
        sizes = [size for size in spec.shape if size is not None]
        if len(sizes) != len(spec.shape):
            error = UnsupportedError(f"model '{label}': input '{name}' has free dimensions, so no value can fill it")
            error.add_note(f"give its shape: --shape {name}={'x'.join(str(size or 'N') for size in spec.shape)}")
            raise error
        dtype = np.dtype(spec.dtype)
        with np.errstate(over="ignore"):
            single = np.asarray(value).astype(dtype)
        if not (np.isclose(single, value) if dtype.kind == "f" else single == value):
            raise UnsupportedError(f"model '{label}': input '{name}' takes {dtype}, and {value} is none")
        model.graph.inputs.remove(inputs[name])
        inputs[name].const_value = ir.tensor(np.full(sizes, single), name=name)
        model.graph.register_initializer(inputs[name])
