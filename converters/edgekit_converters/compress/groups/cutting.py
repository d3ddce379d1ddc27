"""Take units of channels out of a graph: stored tensors get shorter, and what counts channels is told."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.groups.layer_rules import depthwise
from edgekit_converters.compress.groups.ties import Labels, Mask
from edgekit_converters.graph.biases import free_name
from edgekit_converters.graph.reading import numbers

if TYPE_CHECKING:
    import onnx_ir as ir

_SPLIT_IS_INPUT = 13  # opset
Kept = Callable[["ir.Value | None", int], Mask | None]
"""Which elements of an axis stay; None where its length is not known."""


def cut(model: "ir.Model", labels: Labels, gone: Iterable[int]) -> None:
    """Take the units out of a model in place; the shapes of what nodes compute are to be inferred anew.

    Args:
        model: the one `labels` is of, unchanged since.
        labels: as `units.groups_of` gives them.
        gone: units none of which has to stay.
    """
    units = np.array(sorted(gone), np.int64)

    def kept(value: "ir.Value | None", axis: int) -> Mask | None:
        found = labels.units(value, axis)
        return None if found is None else ~np.isin(found, units)

    for node in model.graph:
        if node.op_type in _TOLD:
            _TOLD[node.op_type](_Node(model, node, kept))
    for value in list(model.graph.initializers.values()):
        _shorten(value, kept)


def _shorten(value: "ir.Value", kept: Kept) -> None:
    import onnx_ir as ir

    tensor = value.const_value
    if tensor is None:
        return
    masks = [kept(value, axis) for axis in range(len(tensor.shape))]
    if all(one is None or one.all() for one in masks):
        return
    array = tensor.numpy()
    for axis, mask in enumerate(masks):
        if mask is not None:
            array = np.compress(mask, array, axis=axis)
    value.const_value = ir.Tensor(np.ascontiguousarray(array), dtype=tensor.dtype, name=value.name)
    value.shape = ir.Shape(array.shape)


class _Node:
    """A node to be told: what stays along its axes, and how numbers are given to it."""

    def __init__(self, model: "ir.Model", node: "ir.Node", kept: Kept) -> None:
        self.model, self.node, self._kept = model, node, kept

    def kept(self, axis: int, *, made: bool = False) -> Mask | None:
        """Return what stays of the first input or output, None where all does."""
        mask = self._kept(self.node.outputs[0] if made else self.node.inputs[0], axis)
        return None if mask is None or mask.all() else mask

    def counts(self, axis: int) -> list[int]:
        """Return how many elements of each output stay."""
        masks = [self._kept(one, axis) for one in self.node.outputs]
        return [0 if mask is None else int(mask.sum()) for mask in masks]

    def give(self, at: int, name: str, given: list[int]) -> None:
        """Give the node numbers of its own, as it takes them: as an input or an attribute."""
        import onnx_ir as ir

        old = self.node.inputs[at] if at < len(self.node.inputs) else None
        if old is None and name in self.node.attributes:
            self.node.attributes[name] = ir.AttrInt64s(name, given)
            return
        dtype = ir.DataType.INT64 if old is None or old.const_value is None else old.const_value.dtype
        array = np.array(given, dtype.numpy())
        named = free_name(self.model, f"{self.node.outputs[0].name}/{name}")
        tensor = ir.Tensor(array, dtype=dtype, name=named)
        value = ir.Value(name=named, shape=ir.Shape(array.shape), type=ir.TensorType(dtype), const_value=tensor)
        self.model.graph.register_initializer(value)
        if len(self.node.inputs) <= at:
            self.node.resize_inputs(at + 1)
        self.node.replace_input_with(at, value)


def _grouped(one: _Node) -> None:
    import onnx_ir as ir

    mask = one.kept(1)
    if depthwise(one.node) and mask is not None:
        one.node.attributes["group"] = ir.AttrInt64("group", int(mask.sum()))


def _split(one: _Node) -> None:
    axis = one.node.attributes.get_int("axis", 0) or 0
    if one.kept(axis) is not None:
        counts = one.counts(axis)
        one.node.attributes.pop("num_outputs", None)
        by_input = one.model.graph.opset_imports.get("", 0) >= _SPLIT_IS_INPUT
        if not by_input:
            import onnx_ir as ir

            one.node.attributes["split"] = ir.AttrInt64s("split", counts)
        else:
            one.give(1, "split", counts)


def _slice(one: _Node) -> None:
    begins, ends = (list(numbers(one.node, at, name) or ()) for at, name in ((1, "starts"), (2, "ends")))
    axes = numbers(one.node, 3, "axes") or range(len(begins))
    changed = False
    for place, axis in enumerate(axes):
        mask = one.kept(axis)
        if mask is not None:
            begin, end, _ = slice(begins[place], ends[place]).indices(len(mask))
            begins[place], ends[place] = int(mask[:begin].sum()), int(mask[:end].sum())
            changed = True
    if changed:
        one.give(1, "starts", begins)
        one.give(2, "ends", ends)


def _gather(one: _Node) -> None:
    axis = one.node.attributes.get_int("axis", 0) or 0
    mask, picked = one.kept(axis), numbers(one.node, 1, "")
    if mask is not None and picked is not None:
        places = np.cumsum(mask) - 1
        one.give(1, "indices", [int(places[at]) for at in picked if mask[at]])


def _pad(one: _Node) -> None:
    pads, axes = list(numbers(one.node, 1, "pads") or ()), numbers(one.node, 3, "")
    half = len(pads) // 2
    changed = False
    for place, axis in enumerate(axes if axes is not None else range(half)):
        mask = one.kept(axis, made=True)
        if mask is not None:
            before, behind = pads[place], pads[place + half]
            pads[place] = int(mask[:before].sum())
            pads[place + half] = int(mask[len(mask) - behind :].sum())
            changed = True
    if changed:
        one.give(1, "pads", pads)


def _shape(at: int, name: str) -> Callable[[_Node], None]:
    """Return what tells a node the sizes of its result; those it finds itself (0 and -1) it finds anew."""

    def tell(one: _Node) -> None:
        sizes = list(numbers(one.node, at, name) or ())
        if "axes" in one.node.attributes:  # a Resize of some axes: they keep all they have
            return
        masks = [one.kept(place - len(sizes), made=True) for place in range(len(sizes))]
        if any(mask is not None and sizes[place] > 0 for place, mask in enumerate(masks)):
            told = [
                size if mask is None or size <= 0 else int(mask.sum()) for size, mask in zip(sizes, masks, strict=True)
            ]
            one.give(at, name, told)

    return tell


# Operator -> what it is told. Those that are not here have nothing but stored tensors to be shortened.
_TOLD: Mapping[str, Callable[[_Node], None]] = MappingProxyType(
    {
        "Conv": _grouped,
        "ConvTranspose": _grouped,
        "Split": _split,
        "Slice": _slice,
        "Gather": _gather,
        "Pad": _pad,
        "Reshape": _shape(1, "shape"),
        "Expand": _shape(1, "shape"),
        "Resize": _shape(3, "sizes"),
    }
)
