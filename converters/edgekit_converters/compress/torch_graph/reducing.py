"""Products, norms, softmax, and what takes axes together."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch.nn import functional

from edgekit_converters.compress.torch_graph.calls import Call, Function, Given, Tensor, axis_of

_AXES_APART = 13  # the first opset whose Softmax works on one axis alone
_CHANNELS = 1


def _gemm(call: Call, a: Tensor, b: Tensor, c: Given = None) -> Tensor:
    a = a.transpose(0, 1) if call.get("transA", 0) else a
    b = b.transpose(0, 1) if call.get("transB", 0) else b
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    y = a @ b if alpha == 1 else alpha * (a @ b)
    if c is None:
        return y
    return y + (c if beta == 1 else beta * c)


def _matmul(_call: Call, a: Tensor, b: Tensor) -> Tensor:
    return a @ b


def _einsum(call: Call, *inputs: Tensor) -> Tensor:
    return torch.einsum(call.get("equation").replace(" ", ""), *inputs)


def _batch_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:  # noqa: PLR0913, PLR0917  # ONNX's
    """Normalise by the stored statistics, also while it is trained: what trains is the net as it is run."""
    if call.get("training_mode", 0) or call.outputs > 1:
        raise call.refuse("it normalises by the batch also when the model is run")
    return functional.batch_norm(x, mean, variance, scale, bias, training=False, eps=call.get("epsilon", 1e-5))


def _instance_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    y = _normalised(x, tuple(range(2, x.dim())), call.get("epsilon", 1e-5))
    return y * _a_channel(scale, x) + _a_channel(bias, x)


def _layer_norm(call: Call, x: Tensor, scale: Tensor, bias: Given = None) -> Tensor:
    if call.outputs > 1:
        raise call.refuse("it has the mean as an output")
    first = axis_of(call.get("axis", -1), x)
    y = _normalised(x, tuple(range(first, x.dim())), call.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


def _rms_norm(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    axes = tuple(range(axis_of(call.get("axis", -1), x), x.dim()))
    return x * torch.rsqrt((x * x).mean(dim=axes, keepdim=True) + call.get("epsilon", 1e-5)) * scale


def _group_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = call.get("num_groups")
    split = x.reshape(x.shape[0], groups, -1)
    y = _normalised(split, (2,), call.get("epsilon", 1e-5))
    if scale.shape[0] != x.shape[_CHANNELS]:  # opset 18: a factor a group
        return (y * scale[:, None] + bias[:, None]).reshape(x.shape)
    return y.reshape(x.shape) * _a_channel(scale, x) + _a_channel(bias, x)


def _normalised(x: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred * torch.rsqrt((centred * centred).mean(dim=axes, keepdim=True) + epsilon)


def _a_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.dim() - 2))


def _mean_variance(call: Call, x: Tensor) -> Tensor:
    axes = tuple(axis_of(one, x) for one in call.get("axes", [0, 2, 3]))
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred / (torch.sqrt((centred * centred).mean(dim=axes, keepdim=True)) + 1e-9)


def _lp_norm(call: Call, x: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(x, call.get("p", 2), dim=call.get("axis", -1), keepdim=True)
    return torch.where(length == 0, torch.zeros_like(x), x / length)


def _local_response(call: Call, x: Tensor) -> Tensor:
    size = call.get("size")
    squares = functional.pad((x * x).transpose(1, -1), ((size - 1) // 2, size // 2))
    sums = squares.unfold(-1, size, 1).sum(dim=-1).transpose(1, -1)
    return x / (call.get("bias", 1.0) + call.get("alpha", 1e-4) / size * sums) ** call.get("beta", 0.75)


def _softmax(function: Callable[..., Tensor]) -> Function:
    def of(call: Call, x: Tensor) -> Tensor:
        if call.opset >= _AXES_APART:
            return function(x, dim=call.get("axis", -1))
        first = axis_of(call.get("axis", 1), x)
        return function(x.reshape(math.prod(x.shape[:first]), -1), dim=-1).reshape(x.shape)

    return of


def _reduced(function: Callable[..., Tensor]) -> Function:
    """Return the function of a node that reduces axes: an attribute, or an input."""

    def of(call: Call, x: Tensor, given: Given = None) -> Tensor:
        axes = call.numbers("axes", given)
        if not axes and call.get("noop_with_empty_axes", 0):
            return function(x[..., None], dim=(x.dim(),), keepdim=False)
        dims = tuple(axis_of(one, x) for one in axes) if axes else tuple(range(x.dim()))
        if not dims:
            return function(x[None], dim=(0,), keepdim=False)
        return function(x, dim=dims, keepdim=bool(call.get("keepdims", 1)))

    return of


def _product(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted(dim, reverse=True):
        x = x.prod(dim=axis, keepdim=keepdim)
    return x


def _sum(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.sum(dim=dim, keepdim=keepdim, dtype=x.dtype)


def _mean(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(dim=dim, keepdim=keepdim)
    count = math.prod(x.shape[one] for one in dim)
    return torch.div(_sum(x, dim, keepdim), count, rounding_mode="trunc")


def _arg(function: Callable[..., Tensor]) -> Function:
    def of(call: Call, x: Tensor) -> Tensor:
        axis, keep = call.get("axis", 0), bool(call.get("keepdims", 1))
        if not call.get("select_last_index", 0):
            return function(x, dim=axis, keepdim=keep)
        return x.shape[axis] - 1 - function(x.flip(axis), dim=axis, keepdim=keep)

    return of


def _cumsum(call: Call, x: Tensor, axis: Tensor) -> Tensor:
    at = axis_of(int(axis), x)
    turned = x.flip(at) if call.get("reverse", 0) else x
    sums = turned.cumsum(dim=at, dtype=x.dtype)
    sums = sums - turned if call.get("exclusive", 0) else sums
    return sums.flip(at) if call.get("reverse", 0) else sums


def _top_k(call: Call, x: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    values, places = torch.topk(x, int(k), dim=call.get("axis", -1), largest=bool(call.get("largest", 1)), sorted=True)
    return values, places


REDUCING: Mapping[str, Function] = MappingProxyType(
    {
        "Gemm": _gemm, "MatMul": _matmul, "Einsum": _einsum, "BatchNormalization": _batch_norm,
        "InstanceNormalization": _instance_norm, "LayerNormalization": _layer_norm,
        "RMSNormalization": _rms_norm, "GroupNormalization": _group_norm,
        "MeanVarianceNormalization": _mean_variance, "LpNormalization": _lp_norm, "LRN": _local_response,
        "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax),
        "ReduceSum": _reduced(_sum), "ReduceMean": _reduced(_mean), "ReduceProd": _reduced(_product),
        "ReduceMax": _reduced(torch.amax), "ReduceMin": _reduced(torch.amin),
        "ReduceL1": _reduced(lambda x, **how: x.abs().sum(**how)),
        "ReduceL2": _reduced(torch.linalg.vector_norm),
        "ReduceSumSquare": _reduced(lambda x, **how: (x * x).sum(**how)),
        "ReduceLogSum": _reduced(lambda x, **how: x.sum(**how).log()),
        "ReduceLogSumExp": _reduced(torch.logsumexp),
        "ArgMax": _arg(torch.argmax), "ArgMin": _arg(torch.argmin), "CumSum": _cumsum, "TopK": _top_k,
    }
)  # fmt: skip
