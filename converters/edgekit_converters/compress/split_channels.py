"""Large layers as several smaller ones, each with a part of the weights: along the outputs, or along the inputs."""

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Reals, Weights, weights_of
from edgekit_converters.precisions import Options, choice, number

if TYPE_CHECKING:
    import onnx_ir as ir

_OPS = frozenset({"Conv", "Gemm", "MatMul"})
_SLICE_INPUTS = 10  # the opset from which Slice takes its bounds as inputs
_WITHOUT_BIAS = 11  # the opset from which Gemm needs none
_BIAS = 2  # its place among the inputs


class SplitChannels:
    """Each part has its own weights and its own scratch memory; no weight tensor is larger than a part."""

    name = "split-channels"
    help = "compute large layers in parts, so that the largest weights and scratch buffers are smaller"
    exact = True
    options: Options = MappingProxyType(
        {
            "parts": number(2, 2, 1024, "parts of a layer"),
            "along": choice("output", "input", text="parts of what it makes, joined; or of what it takes, summed up"),
            "largest": number(1, 1, 2**20, "how many layers, those with most weights, where none are named"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Nothing but the graph."""
        return frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse a model with no layer that has parts."""
        found, left = _sites(model, values, setting)
        if found:
            return None
        return f"{left[0].layer}: {left[0].why}" if left else "it has no dense layer or convolution with stored weights"

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Write the parts of every layer."""
        found, left = _sites(model, values, setting)
        largest = _largest(model)
        changes = []
        for site in found:
            figures = {"weights_bytes": site.bytes, "largest_part_bytes": site.largest_part}
            what = f"{site.parts} parts along its {'inputs' if site.inputs else 'outputs'}"
            changes.append(Change(layer=name_of(site.weights.node), what=what, figures=figures))
            _rewrite(model, site)
        figures = {"largest_weights_bytes_before": largest, "largest_weights_bytes": _largest(model)}
        return Effect(changes=tuple(changes), left=left, figures=figures)


class _RefusedError(Exception):
    """A layer has no such parts; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """A layer to be split; its weights are cut along `axis`."""

    weights: Weights
    parts: int
    inputs: bool
    axis: int
    bounds: tuple[tuple[int, int], ...]
    """Of the weights, part by part."""
    taken: tuple[tuple[int, int], ...] | None
    """Channels of what it takes, part by part; None where every part takes all of them."""
    taken_axis: int

    @property
    def bytes(self) -> int:
        """The size of its weights."""
        return _bytes(self.weights)

    @property
    def largest_part(self) -> int:
        """The size of the largest part's."""
        size: int = self.weights.array.shape[self.axis]
        return self.bytes * max(behind - first for first, behind in self.bounds) // size


def _sites(model: "ir.Model", values: Values, setting: Setting) -> tuple[list[_Site], tuple[Left, ...]]:
    """Return the layers to split, and those that were meant and cannot be."""
    meant = [one for one in weights_of(model, _OPS) if setting.may_change(one.node)]
    inputs, parts = values["along"] == "input", int(values["parts"])
    found: list[_Site] = []
    left: list[Left] = []
    most = len(meant) if setting.only is not None else int(values["largest"])
    for one in sorted(meant, key=_bytes, reverse=True):
        if len(found) == most:
            break
        try:
            found.append(_site(model, one, parts, inputs))
        except _RefusedError as exc:
            left.append(Left(layer=name_of(one.node), why=str(exc)))
    return found, tuple(left)


def _site(model: "ir.Model", one: Weights, parts: int, inputs: bool) -> _Site:
    node, shape = one.node, one.array.shape
    if node.graph is not model.graph:
        raise _RefusedError("it is in a branch or a loop")
    if one.axis is None:
        raise _RefusedError("its weights are a vector")
    group = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
    if group > 1:
        return _grouped(one, parts, inputs, group)
    if node.op_type == "Conv":
        axis, taken_axis = 1 if inputs else 0, 1
    elif one.place == 1:
        axis, taken_axis = _contracted(one) if inputs else one.axis, _taken_axis(node)
    else:
        raise _RefusedError("its weights stand on the left")
    bounds = _bounds(shape[axis], parts)
    return _Site(
        weights=one,
        parts=parts,
        inputs=inputs,
        axis=axis,
        bounds=bounds,
        taken=bounds if inputs else None,
        taken_axis=taken_axis,
    )


def _grouped(one: Weights, parts: int, inputs: bool, group: int) -> _Site:
    """Return a convolution whose parts are some of its groups each, with the channels that these take."""
    if inputs:
        raise _RefusedError(f"its inputs are in {group} groups already")
    if group < parts:
        raise _RefusedError(f"its {group} groups make no {parts} parts")
    made, takes = one.array.shape[0] // group, one.array.shape[1]
    groups = _bounds(group, parts)
    return _Site(
        weights=one,
        parts=parts,
        inputs=False,
        axis=0,
        bounds=tuple((first * made, behind * made) for first, behind in groups),
        taken=tuple((first * takes, behind * takes) for first, behind in groups),
        taken_axis=1,
    )


def _bounds(size: int, parts: int) -> tuple[tuple[int, int], ...]:
    if size < parts:
        raise _RefusedError(f"its {size} channels make no {parts} parts")
    ends = [size * at // parts for at in range(parts + 1)]
    return tuple(pairwise(ends))


def _contracted(one: Weights) -> int:
    return len(one.array.shape) - 2 if one.node.op_type == "MatMul" else 1 - (one.axis or 0)


def _taken_axis(node: "ir.Node") -> int:
    """Return the axis of the channels of what a dense layer takes."""
    value = node.inputs[0]
    if value is None or value.shape is None:
        raise _RefusedError("the shape of what it takes is not known")
    turned = node.op_type == "Gemm" and node.attributes.get_int("transA", 0) == 1
    return 0 if turned else len(value.shape) - 1


def _bytes(one: Weights) -> int:
    return 0 if one.value.const_value is None else one.value.const_value.nbytes


def _largest(model: "ir.Model") -> int:
    return max(map(_bytes, weights_of(model, _OPS)), default=0)


def _rewrite(model: "ir.Model", site: _Site) -> None:
    node = site.weights.node
    draft = Draft(model, node)
    if not site.inputs:
        made = [_part(model, draft, site, at) for at in range(site.parts)]
        axis = 1 if node.op_type == "Conv" else len(node.outputs[0].shape or ()) - 1
        whole = draft.op("Concat", *made, name=f"{name_of(node)}/join", attributes={"axis": axis})
    else:  # summed up as they come: no more than two of them are there at a time
        whole = _part(model, draft, site, 0)
        for at in range(1, site.parts):
            whole = draft.op("Add", whole, _part(model, draft, site, at), name=f"{name_of(node)}/sum{at}")
    draft.instead(whole)
    draft.finish([node])


def _part(model: "ir.Model", draft: Draft, site: _Site, at: int) -> "ir.Value":
    node, weights = site.weights.node, site.weights
    taken = node.inputs[0]
    if taken is None:
        raise AssertionError("a layer takes something")
    opset = max(version for domain, version in model.graph.opset_imports.items() if domain in ONNX)
    if site.taken is not None:
        taken = _cut(draft, taken, (site.taken_axis, *site.taken[at]), f"{name_of(node)}/cut{at}", opset)
    first, behind = site.bounds[at]
    array = np.take(weights.array, range(first, behind), axis=site.axis)
    stored = draft.floats(array, weights.value, f"weights{at}")
    group = node.attributes.get_int("group", 1)
    attributes = {"group": group * (behind - first) // weights.array.shape[0]} if group > 1 else {}
    bias = _bias(draft, site, at, opset)
    inputs = [taken, stored] if bias is None else [taken, stored, bias]
    return draft.op(node.op_type, *inputs, name=f"{name_of(node)}/part{at}", like=node, attributes=attributes)


def _bias(draft: Draft, site: _Site, at: int, opset: int) -> "ir.Value | None":
    node = site.weights.node
    bias = node.inputs[_BIAS] if len(node.inputs) > _BIAS else None
    first, behind = site.bounds[at]
    if site.inputs and at:
        old = node.op_type == "Gemm" and opset < _WITHOUT_BIAS
        return draft.floats(np.zeros(1), site.weights.value, f"bias{at}") if old else None
    if bias is None or site.inputs:
        return bias
    size = site.weights.array.shape[site.axis]
    known = tuple(bias.shape or ())
    if not known or known[-1] != size:
        return bias  # one number for all channels
    if bias.const_value is not None:
        array: Reals = np.asarray(bias.const_value.numpy(), np.float64)[..., first:behind]
        return draft.floats(array, bias, f"bias{at}")
    return _cut(draft, bias, (len(known) - 1, first, behind), f"{name_of(node)}/bias{at}", opset)


def _cut(draft: Draft, value: "ir.Value", part: tuple[int, int, int], name: str, opset: int) -> "ir.Value":
    """Take (axis, first, behind) out of a value."""
    axis, first, behind = part
    if opset < _SLICE_INPUTS:
        return draft.op("Slice", value, name=name, attributes={"starts": [first], "ends": [behind], "axes": [axis]})
    return draft.op("Slice", value, *(draft.whole([one]) for one in (first, behind, axis)), name=name)
