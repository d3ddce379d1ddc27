"""Bias correction: take back the mean shift that coarse weights cause at every output channel.

After Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, from
calibration data: E[W x] - E[Wq x] is the mean of what a layer with the weights W - Wq makes of the float model's x. So
a copy of every layer with those weights is run beside it, exactly where borders and strides have it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.biases import add_to_bias, bias_refusal, constant, free_name
from edgekit_converters.graph.chains import LAYERS
from edgekit_converters.graph.channels import channels_of
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Weights, weights_of
from edgekit_converters.grids.base import Grid, Sharing
from edgekit_converters.grids.fitting import fit
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A layer's largest mean shift, as a share of the standard deviation of that channel's values."""

    name: str
    shift: float


def correct_biases(
    model: "ir.Model", arrays: Arrays, grid: Grid, sharing: Sharing, work: Path
) -> tuple[list[Corrected], dict[str, str]]:
    """Correct the biases of a plain model in place, as its weights on the grid will need them.

    Args:
        model: as `make_plain` leaves it; its weights stay as they are.
        arrays: calibration samples as `data.bind` gives them.
        grid: what the weights will be quantized to.
        sharing: what shares the grid's tables.
        work: an existing scratch folder.

    Returns:
        The layers that were corrected, and why others were left by name.

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    layers, left = [], dict[str, str]()
    inside = set(map(id, model.graph))
    for one in weights_of(model, LAYERS):
        why = _why_not(one, inside)
        if why:
            left[name_of(one.node)] = why
        else:
            layers.append(one)
    shifts, places = _with_shifts(model, layers, grid, sharing)
    seen = channels_of(shifts, [place for pair in places for place in pair], arrays, work / "shifts.onnx")
    made = []
    for one, ((shifted, _), (output, _)) in zip(layers, places, strict=True):
        means = seen[shifted].total / seen[shifted].count
        deviation = np.sqrt(seen[output].variance)
        add_to_bias(model, one, means)
        heard = deviation > 0
        made.append(
            Corrected(name=name_of(one.node), shift=float(np.max(np.abs(means[heard]) / deviation[heard], initial=0.0)))
        )
    return made, left


def _why_not(weights: Weights, inside: set[int]) -> str:
    if weights.place != 1 or weights.axis is None:
        return "its weights are no matrix on the right"
    if id(weights.node) not in inside:
        return "it is inside a branch or loop"
    return bias_refusal(weights)


Place = tuple[str, int]


def _with_shifts(
    model: "ir.Model", layers: list[Weights], grid: Grid, sharing: Sharing
) -> tuple["ir.Model", list[tuple[Place, Place]]]:
    """Return a model with a copy of each layer that makes its shift; the names of shifts and outputs, with axes."""
    import onnx_ir as ir

    both = model.clone()
    nodes = {node.outputs[0].name: node for node in both.graph}
    places = []
    for one in layers:
        node = nodes[one.node.outputs[0].name]
        weights = one.array
        lost = constant(
            free_name(both, f"{one.value.name}/lost"),
            weights - fit(grid, weights, one.axis, sharing).snap(weights),
            one.value,
        )
        both.graph.register_initializer(lost)
        name = free_name(both, f"{node.outputs[0].name}/shift")
        twin = ir.node(node.op_type, [node.inputs[0], lost], dict(node.attributes), name=name)
        twin.outputs[0].name = name
        both.graph.insert_after(node, twin)
        axis = -1 if one.node.op_type in {"Gemm", "MatMul"} else 1
        places.append(((name, axis), (str(node.outputs[0].name), axis)))
    return both, places
