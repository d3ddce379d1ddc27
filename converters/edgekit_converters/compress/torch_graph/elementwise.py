"""Element by element: arithmetic, comparisons, activations."""

import functools
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch.nn import functional

from edgekit_converters.compress.torch_graph.calls import Call, Function, Given, Tensor


def _plain(function: Callable[..., Tensor]) -> Function:
    """Return the function of a node without attributes."""
    return lambda _call, *inputs: function(*inputs)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """Return the function of a node with any number of inputs."""
    return lambda _call, *inputs: functools.reduce(function, inputs)


def _div(_call: Call, left: Tensor, right: Tensor) -> Tensor:
    if left.is_floating_point():
        return left / right
    return torch.div(left, right, rounding_mode="trunc")  # as ONNX Runtime divides whole numbers


def _pow(_call: Call, left: Tensor, right: Tensor) -> Tensor:
    return torch.pow(left, right.to(left.dtype) if left.is_floating_point() else right).to(left.dtype)


def _mod(call: Call, left: Tensor, right: Tensor) -> Tensor:
    return torch.fmod(left, right) if call.get("fmod", 0) else torch.remainder(left, right)


def _clip(call: Call, x: Tensor, low: Given = None, high: Given = None) -> Tensor:
    for bound, given, function in (("min", low, torch.maximum), ("max", high, torch.minimum)):
        limit = given if given is not None else call.get(bound)
        if limit is not None:
            x = function(x, torch.as_tensor(limit, dtype=x.dtype))
    return x


def _prelu(_call: Call, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _gelu(call: Call, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=call.get("approximate", "none"))


def _leaky_relu(call: Call, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, call.get("alpha", 0.01))


def _elu(call: Call, x: Tensor) -> Tensor:
    return functional.elu(x, call.get("alpha", 1.0))


def _selu(call: Call, x: Tensor) -> Tensor:
    alpha, gamma = call.get("alpha", 1.6732632423543772), call.get("gamma", 1.0507009873554805)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0)))


def _celu(call: Call, x: Tensor) -> Tensor:
    return functional.celu(x, call.get("alpha", 1.0))


def _thresholded_relu(call: Call, x: Tensor) -> Tensor:
    return torch.where(x > call.get("alpha", 1.0), x, torch.zeros_like(x))


def _hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    return torch.clamp(call.get("alpha", 0.2) * x + call.get("beta", 0.5), 0, 1)


def _hard_swish(_call: Call, x: Tensor) -> Tensor:
    return x * torch.clamp(x / 6 + 0.5, 0, 1)


def _swish(call: Call, x: Tensor) -> Tensor:
    return x * torch.sigmoid(call.get("alpha", 1.0) * x)


def _shrink(call: Call, x: Tensor) -> Tensor:
    bias, limit = call.get("bias", 0.0), call.get("lambd", 0.5)
    return torch.where(x > limit, x - bias, torch.where(x < -limit, x + bias, torch.zeros_like(x)))


def _is_inf(call: Call, x: Tensor) -> Tensor:
    up, down = call.get("detect_positive", 1), call.get("detect_negative", 1)
    return ((x == math.inf) & bool(up)) | ((x == -math.inf) & bool(down))


def _where(_call: Call, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(condition, yes, no)


def _cast(call: Call, x: Tensor) -> Tensor:
    return x.to(call.dtype(call.get("to")))


def _cast_like(_call: Call, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


def _mean(_call: Call, *inputs: Tensor) -> Tensor:
    return functools.reduce(operator.add, inputs) / len(inputs)


def _dropout(call: Call, x: Tensor, _ratio: Given = None, training: Given = None) -> tuple[Tensor, ...]:
    """Return what goes in: the net is trained as it is run."""
    if training is not None and bool(training):
        raise call.refuse("it drops values also when the model is run")
    return x, torch.ones_like(x, dtype=torch.bool)


ELEMENTWISE: Mapping[str, Function] = MappingProxyType(
    {
        "Abs": _plain(torch.abs), "Neg": _plain(torch.neg), "Sign": _plain(torch.sign), "Exp": _plain(torch.exp),
        "Log": _plain(torch.log), "Sqrt": _plain(torch.sqrt), "Reciprocal": _plain(torch.reciprocal),
        "Erf": _plain(torch.erf), "Floor": _plain(torch.floor), "Ceil": _plain(torch.ceil),
        "Round": _plain(torch.round), "Sin": _plain(torch.sin), "Cos": _plain(torch.cos), "Tan": _plain(torch.tan),
        "Asin": _plain(torch.asin), "Acos": _plain(torch.acos), "Atan": _plain(torch.atan),
        "Sinh": _plain(torch.sinh), "Cosh": _plain(torch.cosh), "Tanh": _plain(torch.tanh),
        "Asinh": _plain(torch.asinh), "Acosh": _plain(torch.acosh), "Atanh": _plain(torch.atanh),
        "Sigmoid": _plain(torch.sigmoid), "Relu": _plain(torch.relu), "Softplus": _plain(functional.softplus),
        "Softsign": _plain(functional.softsign), "Mish": _plain(functional.mish), "Identity": _plain(lambda x: x),
        "Not": _plain(torch.logical_not), "IsNaN": _plain(torch.isnan), "IsInf": _is_inf,
        "LeakyRelu": _leaky_relu, "PRelu": _prelu, "Elu": _elu, "Selu": _selu, "Celu": _celu, "Gelu": _gelu,
        "ThresholdedRelu": _thresholded_relu, "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish,
        "Swish": _swish, "Shrink": _shrink, "Clip": _clip, "Cast": _cast, "CastLike": _cast_like,
        "Dropout": _dropout,
        "Add": _plain(torch.add), "Sub": _plain(torch.sub), "Mul": _plain(torch.mul), "Div": _div, "Pow": _pow,
        "Mod": _mod, "Sum": _folded(torch.add), "Mean": _mean, "Min": _folded(torch.minimum),
        "Max": _folded(torch.maximum), "And": _plain(torch.logical_and), "Or": _plain(torch.logical_or),
        "Xor": _plain(torch.logical_xor), "Equal": _plain(torch.eq), "Greater": _plain(torch.gt),
        "GreaterOrEqual": _plain(torch.ge), "Less": _plain(torch.lt), "LessOrEqual": _plain(torch.le),
        "Where": _where,
    }
)  # fmt: skip
