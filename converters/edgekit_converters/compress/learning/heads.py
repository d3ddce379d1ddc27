"""What a graph's outputs mean: classes with logits behind them, or values."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.model import ONNX
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

LABELS = "y"
"""The labels of the first output; those of another are `y_<name of the output>`."""
KINDS = ("auto", "classes", "values")

_MOVED = frozenset({"Identity", "Reshape", "Flatten", "Squeeze"})
_AXES_APART = 13  # the first opset whose Softmax has the last axis for its default
_IMAGE = 4  # dimensions
_Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """An output that is trained: `logits` names the value whose softmax it is, or the output where it is none."""

    output: str
    logits: str
    axis: int | None
    """The classes' axis; None where the output is values."""
    labels: str | None
    """The name of its labels."""
    numbers: bool = False
    """Whether these are numbers of classes, not a share or value for each of the output's."""
    classes: int | None = None
    """How many there are, where that is known."""

    @property
    def is_classes(self) -> bool:
        """Whether it is classes."""
        return self.axis is not None


def heads_of(model: "ir.Model", labels: Arrays | None, kind: str) -> tuple[Head, ...]:
    """Return the outputs that can be trained: those of floating point; with labels, those that have some.

    Args:
        model: with inferred shapes.
        labels: labels [N, ...] by name.
        kind: one of `KINDS`; `auto` goes by the labels, and without any by whether an output comes from a softmax.

    Raises:
        UnsupportedError: if labels are of no output or do not fit theirs, or no output is of floating point.
    """
    outputs = {str(one.name): one for one in model.graph.outputs if one.dtype and one.dtype.is_floating_point()}
    if not outputs:
        raise UnsupportedError("it has no output of floating-point numbers")
    if labels is None:
        return tuple(_head(one, kind, None, None) for one in outputs.values())
    known = {LABELS: next(iter(outputs)), **{f"{LABELS}_{name}": name for name in outputs}}
    for name in labels:
        if name not in known:
            raise UnsupportedError(f"it has no output that the labels '{name}' are of: labels are {', '.join(known)}")
    return tuple(_head(outputs[known[name]], kind, name, array) for name, array in labels.items())


def _head(value: "ir.Value", kind: str, label: str | None, array: Array | None) -> Head:
    name = str(value.name)
    shape = tuple(size if isinstance(size, int) else None for size in value.shape or ())
    logits, axis = _softmax_behind(value)
    each = array is not None and _alike(shape[1:], array.shape[1:])  # a label for each value of the output
    if kind == "auto":
        kind = "classes" if axis is not None or (array is not None and not each) else "values"
    if array is not None and not np.isfinite(array.astype(np.float64)).all():
        raise UnsupportedError(f"the labels '{label}' hold NaN or infinite values")
    if kind == "values":
        if array is not None and not each:
            raise UnsupportedError(_misfit(name, shape, array))
        return Head(output=name, logits=name, axis=None, labels=label)
    if array is not None and not each:
        axis = _class_axis(name, shape, array, axis)
    elif axis is None:
        axis = 1 if len(shape) >= _IMAGE else len(shape) - 1
    numbers = array is not None and not each
    return Head(output=name, logits=logits, axis=axis, labels=label, numbers=numbers, classes=shape[axis])


def _softmax_behind(value: "ir.Value") -> tuple[str, int | None]:
    """Return the logits of an output that a softmax makes, and the classes' axis counted from the front."""
    node, rank, moved = value.producer(), len(value.shape or ()), False
    while node is not None and node.domain in ONNX and node.op_type in _MOVED and node.inputs[0] is not None:
        moved = moved or node.op_type != "Identity"
        node = node.inputs[0].producer()
    if node is None or node.domain not in ONNX or node.op_type not in {"Softmax", "LogSoftmax"} or not rank:
        return str(value.name), None
    opset = max((node.graph.opset_imports.get(one, 0) for one in ONNX), default=0) if node.graph else 0
    axis = node.attributes.get_int("axis", -1 if opset >= _AXES_APART else 1)
    return str(node.inputs[0].name), rank - 1 if moved else axis % rank  # type: ignore[union-attr]  # it has an input


def _class_axis(name: str, shape: _Shape, labels: Array, known: int | None) -> int:
    """Return the axis that class numbers do without: that of a softmax, or of channels where several could be."""
    axes = [known] if known is not None else dict.fromkeys((1, len(shape) - 1))
    for axis in axes:
        if 0 < axis < len(shape) and _alike(shape[1:axis] + shape[axis + 1 :], labels.shape[1:]):
            count, low, high = shape[axis], labels.min(), labels.max()
            if labels.dtype.kind not in "iub" and (labels != np.rint(labels)).any():
                raise UnsupportedError(_misfit(name, shape, labels))
            if low < 0 or (count is not None and high >= count):
                raise UnsupportedError(f"output '{name}' has {count} classes, and the labels go from {low} to {high}")
            return axis
    raise UnsupportedError(_misfit(name, shape, labels))


def _alike(shape: _Shape, given: tuple[int, ...]) -> bool:
    """Whether shapes are the same but for axes of length 1."""
    sizes, others = [one for one in shape if one != 1], [one for one in given if one != 1]
    return len(sizes) == len(others) and all(a in {None, b} for a, b in zip(sizes, others, strict=True))


def _misfit(name: str, shape: _Shape, labels: Array) -> str:
    shown = "x".join("?" if one is None else str(one) for one in shape)
    given = "x".join(map(str, labels.shape))
    return f"the labels of shape {given} and dtype {labels.dtype} do not fit output '{name}' of shape {shown}"
