"""Factors written into the graph: new layers before the one that becomes the last of them and keeps its bias."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.lowrank.calibrating import Task
from edgekit_converters.compress.lowrank.factors import Factor, product
from edgekit_converters.compress.lowrank.sites import Site
from edgekit_converters.graph.biases import add_to_bias, constant, free_name
from edgekit_converters.graph.scaling import groups_of
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir

_WITHOUT_BIAS = 11
"""The opset from which on a Gemm needs none."""


def rewrite(model: "ir.Model", site: Site, factors: Sequence[Factor], task: Task | None = None) -> None:
    """Put the factors in a layer's place, in the order they are run in; with data its outputs keep their means."""
    _write(model, site, factors)
    shift = None if task is None else task.shift(product(factors))
    if shift is not None:
        add_to_bias(model, site.weights, shift)


def _write(model: "ir.Model", site: Site, factors: Sequence[Factor]) -> None:
    import onnx_ir as ir

    node, place = site.weights.node, site.weights.place
    given = 1 - place
    settings = [_settings(node, one, first=at == 0) for at, one in enumerate(factors)]
    for at, (factor, setting) in enumerate(zip(factors[:-1], settings, strict=False)):
        name = free_name(model, f"{node.outputs[0].name}/factor-{at}")
        inputs = [node.inputs[given], _stored(model, site, factor, f"{name}/weights")]
        if node.op_type == "Gemm" and (model.graph.opset_imports.get("") or 0) < _WITHOUT_BIAS:
            inputs.append(_kept(model, constant(f"{name}/bias", np.zeros(factor.kernel.shape[1]), site.weights.value)))
        made = ir.node(node.op_type, inputs if place else inputs[::-1], setting, name=name)
        made.outputs[0].name = name
        made.outputs[0].type = node.outputs[0].type
        model.graph.insert_before(node, made)
        node.replace_input_with(given, made.outputs[0])
    node.replace_input_with(
        place, _stored(model, site, factors[-1], free_name(model, f"{node.outputs[0].name}/weights"))
    )
    for key in ("auto_pad", "pads"):
        node.attributes.pop(key, None)
    node.attributes.update({key: ir.convenience.convert_attribute(key, one) for key, one in settings[-1].items()})


def _stored(model: "ir.Model", site: Site, factor: Factor, name: str) -> "ir.Value":
    groups, outputs, inputs = factor.kernel.shape[:3]
    array: Reals = factor.kernel.reshape(groups * outputs, inputs, *factor.kernel.shape[3:])
    if site.weights.node.op_type != "Conv" and site.weights.place == 1:
        array = array.T
    value = constant(name, np.ascontiguousarray(array), site.weights.value)
    return _kept(model, value)


def _kept(model: "ir.Model", value: "ir.Value") -> "ir.Value":
    model.graph.register_initializer(value)
    return value


def _settings(node: "ir.Node", factor: Factor, *, first: bool) -> "dict[str, int | float | str | Sequence[int]]":
    """Return a factor's attributes: the layer's along the factor's axes."""
    if node.op_type == "MatMul":
        return {}
    if node.op_type == "Gemm":
        return {"alpha": 1.0, "transA": node.attributes.get_int("transA", 0) if first else 0, "transB": 0}
    window = factor.kernel.shape[3:]
    spatial = len(window)
    strides, dilations = (node.attributes.get_ints(name, [1] * spatial) for name in ("strides", "dilations"))
    pads, auto = node.attributes.get_ints("pads", [0] * 2 * spatial), node.attributes.get_string("auto_pad", "NOTSET")
    kept = [axis in factor.axes for axis in range(spatial)]
    settings: dict[str, int | float | str | Sequence[int]] = {
        "group": groups_of(node) * (factor.kernel.shape[1] if factor.depthwise else 1),
        "kernel_shape": list(window),
        "strides": [one if keep else 1 for one, keep in zip(strides, kept, strict=True)],
        "dilations": [one if keep else 1 for one, keep in zip(dilations, kept, strict=True)],
    }
    if auto == "NOTSET" or not any(kept):
        settings["pads"] = [one if keep else 0 for one, keep in zip(pads, kept * 2, strict=True)]
    else:
        settings["auto_pad"] = auto  # along the other axes it adds nothing: one place, a step of one
    return settings
