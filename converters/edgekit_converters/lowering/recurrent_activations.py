"""The activation functions ONNX's recurrent ops name in attributes, with their alpha and beta."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from edgekit_converters.lowering.activation_formulas import (
    affine,
    elu,
    hard_sigmoid,
    leaky_relu,
    softplus,
    softsign,
    thresholded_relu,
)
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.recurrent_cells import Activation


def _scaled_tanh(b: Builder, x: Ref, alpha: float, beta: float) -> Ref:
    return b.binary("mul", b.unary("tanh", b.binary("mul", x, b.scalar(beta))), b.scalar(alpha))


_Write = Callable[[Builder, Ref, float, float], Ref]
# Name in lower case: how it is written, and the defaults of alpha and beta (None: it takes none).
_TABLE: Mapping[str, tuple[_Write, float | None, float | None]] = MappingProxyType(
    {
        "relu": (lambda b, x, _a, _b: b.unary("relu", x), None, None),
        "tanh": (lambda b, x, _a, _b: b.unary("tanh", x), None, None),
        "sigmoid": (lambda b, x, _a, _b: b.unary("logistic", x), None, None),
        "softsign": (lambda b, x, _a, _b: softsign(b, x), None, None),
        "softplus": (lambda b, x, _a, _b: softplus(b, x), None, None),
        "affine": (affine, 1.0, 0.0),
        "leakyrelu": (lambda b, x, alpha, _b: leaky_relu(b, x, alpha), 0.01, None),
        "thresholdedrelu": (lambda b, x, alpha, _b: thresholded_relu(b, x, alpha), 1.0, None),
        "scaledtanh": (_scaled_tanh, 1.0, 1.0),
        "hardsigmoid": (hard_sigmoid, 0.2, 0.5),
        "elu": (lambda b, x, alpha, _b: elu(b, x, alpha), 1.0, None),
    }
)


def activations(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Activation]:
    """Return the functions; alphas and betas go in turn to those that take one.

    Raises:
        KeyError: if there is no such function.
    """
    left_alphas, left_betas = list(alphas), list(betas)
    found = []
    for name in names:
        write, alpha, beta = _TABLE[name.lower()]
        if alpha is not None and left_alphas:
            alpha = left_alphas.pop(0)
        if beta is not None and left_betas:
            beta = left_betas.pop(0)
        found.append(_bound(write, alpha or 0.0, beta or 0.0))
    return found


def _bound(write: _Write, alpha: float, beta: float) -> Activation:
    return lambda b, x: write(b, x, alpha, beta)
