"""Heads taken out of a graph: columns, biases, rows, and every number on the way that counts them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compress.attention.heads import Heads
from edgekit_converters.compress.attention.layer_weights import added_bias, own_weights
from edgekit_converters.compress.attention.pattern import NotMatchedError
from edgekit_converters.compress.attention.reshaping import retarget, stored
from edgekit_converters.compress.attention.tracing import Path, Shapes, moved
from edgekit_converters.graph.biases import WITH_BIAS, bias_of, free_name, set_bias
from edgekit_converters.graph.reading import said
from edgekit_converters.graph.weights import Weights

if TYPE_CHECKING:
    import onnx_ir as ir

Mask = NDArray[np.bool_]


def cut(model: "ir.Model", heads: Heads, gone: Sequence[int], shapes: Shapes) -> None:
    """Take heads out of an attention, in place; its other heads give what they gave.

    Args:
        model: the graph `heads` is of.
        heads: as `heads.heads_of` gives it.
        gone: which of them go; at least one stays.
        shapes: those it was found with.

    Raises:
        NotMatchedError: if a number on the way cannot be changed.
    """
    kept: dict[int, Mask] = {}
    for one in heads.projections:
        mask = kept.setdefault(id(one.layer.node), np.ones(shapes[str(one.path.start.name)][-1], bool))
        mask[one.columns[list(gone)].ravel()] = False
    done: set[int] = set()
    for one in heads.projections:
        mask = kept[id(one.layer.node)]
        size = int(np.prod(shapes[str(one.path.start.name)]))
        _follow(model, one.path, np.resize(mask, size).reshape(shapes[str(one.path.start.name)]), shapes, done)
    for layer in {id(one.layer.node): one.layer for one in heads.projections}.values():
        _keep_columns(model, layer, kept[id(layer.node)])
    stays = ~np.isin(heads.leading, gone)
    shape = shapes[str(heads.attention.context.name)]
    context = np.broadcast_to(stays.reshape(*shape[:-2], 1, 1), shape)
    _follow(model, heads.out_path, context, shapes, done)
    rows = np.ones(heads.rows.size, bool)
    rows[heads.rows[list(gone)].ravel()] = False
    array = heads.out.array
    own_weights(model, heads.out, array[rows] if heads.out.axis == 1 else array[:, rows])
    _cut_masks(model, heads, stays, shapes)


def _follow(model: "ir.Model", path: Path, kept: Mask, shapes: Shapes, done: set[int]) -> None:
    """Change the numbers of the nodes on a path; those that several paths share once."""
    for node, value in zip(path.nodes, path.values, strict=True):
        before, outputs = kept, moved(node, kept.astype(np.int64), shapes)
        kept = outputs[list(node.outputs).index(value)].astype(bool)
        if id(node) in done:
            continue
        done.add(id(node))
        if node.op_type == "Reshape":
            found = _changed(kept, node)
            if found is not None:
                retarget(model, node, *found)
        elif node.op_type == "Split":
            _cut_split(model, node, before, [one.astype(bool) for one in outputs])
        elif node.op_type == "Slice":
            _cut_slice(model, node, before)
        elif node.op_type == "Gather" and _axis_of(before, node) == node.attributes.get_int("axis", 0) % before.ndim:
            raise NotMatchedError(f"{said(node)} picks single columns")
        elif node.op_type in {"Add", "Sub", "Mul", "Div"}:
            _cut_operand(model, node, kept)


def _changed(kept: Mask, node: "ir.Node") -> tuple[int, int] | None:
    """Return the axis along which something goes and how much stays there; None where nothing goes."""
    axis = _axis_of(kept, node)
    return None if axis is None else (axis, int(_along(kept, axis).sum()))


def _axis_of(kept: Mask, node: "ir.Node") -> int | None:
    axes = [axis for axis in range(kept.ndim) if not _along(kept, axis).all()]
    if not axes:
        return None
    shape = [1] * kept.ndim
    shape[axes[0]] = -1
    if len(axes) > 1 or (kept != _along(kept, axes[0]).reshape(shape)).any():
        raise NotMatchedError(f"{said(node)} lays heads out along several axes")
    return axes[0]


def _along(kept: Mask, axis: int) -> Mask:
    return np.asarray(kept.any(axis=tuple(one for one in range(kept.ndim) if one != axis)))


def _cut_split(model: "ir.Model", node: "ir.Node", before: Mask, outputs: Sequence[Mask]) -> None:
    import onnx_ir as ir

    axis = _axis_of(before, node)
    if axis is None or axis != node.attributes.get_int("axis", 0) % before.ndim:
        return
    sizes = [int(_along(one, axis).sum()) for one in outputs]
    if "split" in node.attributes:
        node.attributes["split"] = ir.AttrInt64s("split", sizes)
        return
    if len(set(sizes)) == 1 and len(node.inputs) == 1:
        return  # it splits evenly, and still does
    node.attributes.pop("num_outputs", None)
    node.resize_inputs(2)
    node.replace_input_with(1, stored(model, f"{node.outputs[0].name}/sizes", np.array(sizes, np.int64)))


def _cut_slice(model: "ir.Model", node: "ir.Node", before: Mask) -> None:
    axis = _axis_of(before, node)
    if axis is None:
        return
    kept = _along(before, axis)
    if len(node.inputs) < 4 or any(one is None for one in node.inputs[1:4]):  # noqa: PLR2004  # data, starts, ends, axes
        raise NotMatchedError(f"{said(node)} slices columns without naming their axis")
    starts, ends, axes = (np.array(one.const_value.numpy(), np.int64) for one in node.inputs[1:4])  # type: ignore[union-attr]
    for at, one in enumerate(axes):
        if one % before.ndim == axis:
            first, last, step = slice(starts[at], ends[at]).indices(len(kept))
            if step != 1 or (len(node.inputs) > 4 and (node.inputs[4].const_value.numpy() != 1).any()):  # type: ignore[union-attr]  # noqa: PLR2004
                raise NotMatchedError(f"{said(node)} skips columns")
            starts[at], ends[at] = int(kept[:first].sum()), int(kept[:last].sum())
    node.replace_input_with(1, stored(model, f"{node.outputs[0].name}/starts", starts))
    node.replace_input_with(2, stored(model, f"{node.outputs[0].name}/ends", ends))


def _cut_operand(model: "ir.Model", node: "ir.Node", kept: Mask) -> None:
    """Take from a constant that is added or multiplied what belongs to what goes."""
    axis = _axis_of(kept, node)
    for place, one in enumerate(node.inputs):
        if axis is None or one is None or one.const_value is None:
            continue
        array = one.const_value.numpy()
        at = axis - kept.ndim + array.ndim
        if at >= 0 and array.shape[at] > 1:
            node.replace_input_with(place, stored(model, f"{one.name}/kept", array.compress(_along(kept, axis), at)))


def _keep_columns(model: "ir.Model", layer: Weights, kept: Mask) -> None:
    bias = bias_of(layer) if layer.node.op_type in WITH_BIAS else None
    if layer.node.op_type in WITH_BIAS and bias is None:
        raise NotMatchedError(f"the bias of {said(layer.node)} is no constant with a value a column")
    added = added_bias(layer.node)
    array = layer.array
    own_weights(model, layer, array[:, kept] if layer.axis == 1 else array[kept])
    if bias is not None and len(layer.node.inputs) > 2:  # noqa: PLR2004  # input, weights, bias
        set_bias(model, layer, bias[kept])
    elif added is not None:
        stored_bias = added.array
        if stored_bias.shape[-1] > 1:
            own_weights(model, added, stored_bias[..., kept])


def _cut_masks(model: "ir.Model", heads: Heads, stays: Mask, shapes: Shapes) -> None:
    """Take from what is put on the scores head by head, such as a bias of positions, what belongs to what goes."""
    import onnx_ir as ir

    lead = shapes[str(heads.attention.scores.outputs[0].name)]
    for node in heads.attention.on_scores:
        place = heads.attention.data_place(node)
        for at, one in _others(node, place):
            shape = shapes.get(str(one.name), () if one.const_value is None else tuple(one.const_value.shape.numpy()))
            axis = len(shape) - 3
            if axis < 0 or shape[axis] == 1:
                continue
            by_axis = stays.reshape(-1, lead[-3])
            if (by_axis != by_axis[0]).any() or lead[-3] != heads.count:
                raise NotMatchedError(f"{said(node)} puts something on the scores in an order of its own")
            index = np.flatnonzero(by_axis[0])
            gather = ir.node("Gather", [one, stored(model, f"{one.name}/heads", index)], {"axis": axis})
            gather.outputs[0].name = free_name(model, f"{one.name}/kept")
            model.graph.insert_before(node, gather)
            node.replace_input_with(at, gather.outputs[0])


def _others(node: "ir.Node", place: int) -> Iterable[tuple[int, "ir.Value"]]:
    return [(at, one) for at, one in enumerate(node.inputs) if at != place and one is not None]
