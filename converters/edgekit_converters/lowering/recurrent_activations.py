"""The activation functions ONNX's recurrent ops name in attributes, with their alpha and beta."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.recurrent_cells import Activation


def _affine(b: Builder, x: Ref, alpha: float, beta: float) -> Ref:
    return b.binary("add", b.binary("mul", x, b.scalar(alpha)), b.scalar(beta))


def _elu(b: Builder, x: Ref, alpha: float, _beta: float) -> Ref:
    if alpha == 1.0:
        return b.unary("elu", x)
    below = b.unary("elu", b.binary("minimum", x, b.scalar(0.0)))
    return b.binary("add", b.unary("relu", x), b.binary("mul", below, b.scalar(alpha)))


def _softplus(b: Builder, x: Ref, _alpha: float, _beta: float) -> Ref:
    """Write max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = b.unary("log", b.binary("add", b.unary("exp", b.unary("neg", b.unary("abs", x))), b.scalar(1.0)))
    return b.binary("add", b.unary("relu", x), small)


def _softsign(b: Builder, x: Ref, _alpha: float, _beta: float) -> Ref:
    return b.binary("div", x, b.binary("add", b.unary("abs", x), b.scalar(1.0)))


def _thresholded(b: Builder, x: Ref, alpha: float, _beta: float) -> Ref:
    over = b.module.op("greater_equal", [x, b.scalar(alpha)], "", x.shape, "bool")
    return b.module.op("select_v2", [over, x, b.scalar(0.0)], "", x.shape, x.dtype)


def _scaled_tanh(b: Builder, x: Ref, alpha: float, beta: float) -> Ref:
    return b.binary("mul", b.unary("tanh", b.binary("mul", x, b.scalar(beta))), b.scalar(alpha))


def _leaky(b: Builder, x: Ref, alpha: float, _beta: float) -> Ref:
    return b.unary("leaky_relu", x, f"alpha = {alpha:.9e} : f32")


_Write = Callable[[Builder, Ref, float, float], Ref]
# Name in lower case: how it is written, and the defaults of alpha and beta (None: it takes none).
_TABLE: Mapping[str, tuple[_Write, float | None, float | None]] = MappingProxyType(
    {
        "relu": (lambda b, x, _a, _b: b.unary("relu", x), None, None),
        "tanh": (lambda b, x, _a, _b: b.unary("tanh", x), None, None),
        "sigmoid": (lambda b, x, _a, _b: b.unary("logistic", x), None, None),
        "softsign": (_softsign, None, None),
        "softplus": (_softplus, None, None),
        "affine": (_affine, 1.0, 0.0),
        "leakyrelu": (_leaky, 0.01, None),
        "thresholdedrelu": (_thresholded, 1.0, None),
        "scaledtanh": (_scaled_tanh, 1.0, 1.0),
        "hardsigmoid": (
            lambda b, x, alpha, beta: b.unary("relu_0_to_1", _affine(b, x, alpha, beta)),
            0.2,
            0.5,
        ),
        "elu": (_elu, 1.0, None),
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
