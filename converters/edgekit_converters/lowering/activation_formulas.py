"""Activations TFLite has in one form only, or not at all, written out: of ops and of recurrent layers alike."""

from edgekit_converters.lowering.arithmetic import compare, select
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.module import Ref


def affine(b: Builder, x: Ref, alpha: float, beta: float) -> Ref:
    """Write alpha * x + beta."""
    return b.binary("add", b.binary("mul", x, b.scalar(alpha)), b.scalar(beta))


def hard_sigmoid(b: Builder, x: Ref, alpha: float, beta: float) -> Ref:
    """Write alpha * x + beta, kept within 0 and 1."""
    return b.unary("relu_0_to_1", affine(b, x, alpha, beta))


def leaky_relu(b: Builder, x: Ref, alpha: float) -> Ref:
    """Write x, below 0 alpha * x."""
    return b.unary("leaky_relu", x, f"alpha = {alpha:.9e} : f32")


def thresholded_relu(b: Builder, x: Ref, alpha: float) -> Ref:
    """Write x above alpha, else 0."""
    return select(b, compare(b, "greater", x, b.scalar(alpha)), x, b.scalar(0.0))


def elu(b: Builder, x: Ref, alpha: float, gamma: float = 1.0, divisor: float = 1.0) -> Ref:
    """Write gamma * (max(0, x) + alpha * (exp(min(0, x) / divisor) - 1)); TFLite's ELU has an alpha of 1."""
    if (alpha, gamma, divisor) == (1.0, 1.0, 1.0):
        return b.unary("elu", x)
    below = b.binary("minimum", x, b.scalar(0.0))
    if divisor != 1.0:
        below = b.binary("mul", below, b.scalar(1.0 / divisor))
    below = b.binary("mul", b.unary("elu", below), b.scalar(alpha * gamma))
    above = b.unary("relu", x)
    if gamma != 1.0:
        above = b.binary("mul", above, b.scalar(gamma))
    return b.binary("add", above, below)


def softplus(b: Builder, x: Ref) -> Ref:
    """Write max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = b.unary("log", b.binary("add", b.unary("exp", b.unary("neg", b.unary("abs", x))), b.scalar(1.0)))
    return b.binary("add", b.unary("relu", x), small)


def softsign(b: Builder, x: Ref) -> Ref:
    """Write x / (1 + |x|)."""
    return b.binary("div", x, b.binary("add", b.unary("abs", x), b.scalar(1.0)))
