"""What moves values about: shapes, slices, padding, gathering."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch.nn import functional

from edgekit_converters.compress.torch_graph.calls import Call, Function, Given, Tensor, axis_of

_INPUT_PADS = 11  # the first opset whose Pad takes its pads as an input
_MATRIX = 2  # dimensions


def _shape(call: Call, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape)[call.get("start", 0) : call.get("end", x.dim())], dtype=torch.int64)


def _size(_call: Call, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


def _reshape(call: Call, x: Tensor, given: Given = None) -> Tensor:
    wanted = call.numbers("shape", given) or []
    if not call.get("allowzero", 0):
        wanted = [x.shape[at] if size == 0 else size for at, size in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = axis_of(call.get("axis", 1), x)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _transpose(call: Call, x: Tensor) -> Tensor:
    return x.permute(call.get("perm", list(reversed(range(x.dim())))))


def _squeeze(call: Call, x: Tensor, given: Given = None) -> Tensor:
    axes = call.numbers("axes", given)
    gone = {axis_of(one, x) for one in axes} if axes is not None else {at for at in range(x.dim()) if x.shape[at] == 1}
    return x.reshape([size for at, size in enumerate(x.shape) if at not in gone])


def _unsqueeze(call: Call, x: Tensor, given: Given = None) -> Tensor:
    axes = call.numbers("axes", given) or []
    rank = x.dim() + len(axes)
    new, sizes = {one % rank for one in axes}, iter(x.shape)
    return x.reshape([1 if at in new else next(sizes) for at in range(rank)])


def _concat(call: Call, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, dim=call.get("axis"))


def _split(call: Call, x: Tensor, given: Given = None) -> Sequence[Tensor]:
    axis = axis_of(call.get("axis", 0), x)
    sizes = call.numbers("split", given)
    if sizes is None:
        each = -(-x.shape[axis] // call.outputs)
        sizes = [each] * (call.outputs - 1)
        sizes.append(x.shape[axis] - sum(sizes))
    made: Sequence[Tensor] = torch.split(x, sizes, dim=axis)
    return made


def _slice(  # noqa: PLR0913, PLR0917  # ONNX's
    call: Call, x: Tensor, starts: Given = None, ends: Given = None, axes: Given = None, steps: Given = None
) -> Tensor:
    begin, end = call.numbers("starts", starts) or [], call.numbers("ends", ends) or []
    along = call.numbers("axes", axes) or list(range(len(begin)))
    stride = call.numbers("steps", steps) or [1] * len(begin)
    for first, last, axis, step in zip(begin, end, along, stride, strict=True):
        at = axis_of(axis, x)
        places = range(x.shape[at])[first:last:step]  # ONNX cuts as Python does
        if step > 0:
            x = x[(slice(None),) * at + (slice(places.start, places.stop, step),)]
        else:  # which PyTorch does not have
            x = x.index_select(at, torch.tensor(list(places), dtype=torch.int64))
    return x


def _gather(call: Call, x: Tensor, places: Tensor) -> Tensor:
    axis = axis_of(call.get("axis", 0), x)
    at = torch.where(places < 0, places + x.shape[axis], places).long()
    if axis == 0 and x.dim() == _MATRIX and x.is_floating_point():
        return functional.embedding(at, x)
    if at.dim() == 0:
        return x.select(axis, int(at)) if not x.is_floating_point() else x.index_select(axis, at[None]).squeeze(axis)
    taken = x.index_select(axis, at.reshape(-1))
    return taken.reshape(*x.shape[:axis], *at.shape, *x.shape[axis + 1 :])


def _gather_elements(call: Call, x: Tensor, places: Tensor) -> Tensor:
    axis = axis_of(call.get("axis", 0), x)
    return torch.gather(x, axis, torch.where(places < 0, places + x.shape[axis], places).long())


def _gather_nd(call: Call, x: Tensor, places: Tensor) -> Tensor:
    if call.get("batch_dims", 0):
        raise call.refuse(f"its batch_dims is {call.get('batch_dims')}")
    return x[tuple(places.long().unbind(dim=-1))]


def _pad(call: Call, x: Tensor, given: Given = None, value: Given = None, along: Given = None) -> Tensor:
    pads = call.numbers("pads", given) or []
    axes = [axis_of(one, x) for one in call.numbers("axes", along) or range(len(pads) // 2)]
    amounts = {axis: (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes)}
    mode = call.get("mode", "constant")
    if mode == "constant":
        fill = float(call.get("value", 0.0) if call.opset < _INPUT_PADS else 0.0 if value is None else value)
        flat = [one for axis in reversed(range(x.dim())) for one in amounts.get(axis, (0, 0))]
        return functional.pad(x, flat, value=fill if x.is_floating_point() else int(fill))
    if mode not in {"reflect", "edge", "wrap"}:
        raise call.refuse(f"its mode is {mode}")
    for axis, (before, behind) in amounts.items():
        if before or behind:
            places = np.pad(np.arange(x.shape[axis]), (max(before, 0), max(behind, 0)), mode)
            places = places[max(-before, 0) : len(places) - max(-behind, 0)]
            x = x.index_select(axis, torch.from_numpy(places))
    return x


def _expand(_call: Call, x: Tensor, given: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(given.tolist())))


def _tile(_call: Call, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(repeats.tolist())


def _constant_of_shape(call: Call, given: Tensor) -> Tensor:
    value = call.get("value")
    filled = np.zeros(1, np.float32) if value is None else np.asarray(value.numpy())
    return torch.from_numpy(np.array(filled)).reshape(()).expand(given.tolist()).clone()


def _range(_call: Call, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    count = max(0, math.ceil((limit.item() - start.item()) / step.item()))
    return start + torch.arange(count, dtype=start.dtype) * step


def _trilu(call: Call, x: Tensor, k: Given = None) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return torch.triu(x, diagonal) if call.get("upper", 1) else torch.tril(x, diagonal)


def _depth_to_space(call: Call, x: Tensor) -> Tensor:
    block, (batch, channels, height, width) = call.get("blocksize"), x.shape
    rest = channels // block**2
    if call.get("mode", "DCR") == "DCR":
        parts = x.reshape(batch, block, block, rest, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(batch, rest, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(batch, rest, height * block, width * block)


def _space_to_depth(call: Call, x: Tensor) -> Tensor:
    block, (batch, channels, height, width) = call.get("blocksize"), x.shape
    parts = x.reshape(batch, channels, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(batch, channels * block**2, height // block, width // block)


SHAPING: Mapping[str, Function] = MappingProxyType(
    {
        "Shape": _shape, "Size": _size, "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose,
        "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Concat": _concat, "Split": _split, "Slice": _slice,
        "Gather": _gather, "GatherElements": _gather_elements, "GatherND": _gather_nd, "Pad": _pad,
        "Expand": _expand, "Tile": _tile, "ConstantOfShape": _constant_of_shape, "Range": _range, "Trilu": _trilu,
        "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth,
    }
)  # fmt: skip
