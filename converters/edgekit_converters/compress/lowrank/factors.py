"""A layer's factors: kernels one after the other, without anything between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.graph.weights import Reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factor:
    """One of the smaller layers: weights [groups, outputs, inputs, *window] of a group, or [groups, outputs, 1, ...].

    `axes` are those of the window that it works along, with the layer's strides, dilations and padding there; every
    axis is one factor's. A depthwise one takes as many channels as it gives, each by itself.
    """

    kernel: Reals
    axes: tuple[int, ...] = ()
    depthwise: bool = False

    @property
    def full(self) -> Reals:
        """The weights [groups, outputs, inputs, *window], a depthwise factor's with the zeros it leaves out."""
        if not self.depthwise:
            return self.kernel
        outputs = self.kernel.shape[1]
        spread = np.eye(outputs).reshape(1, outputs, outputs, *(1,) * (self.kernel.ndim - 3))
        return self.kernel * spread


def product(factors: Sequence[Factor]) -> Reals:
    """Return the kernel [groups, outputs, inputs, *window] that the factors one after the other stand for.

    No two of them may work along the same axis of the window: then windows do not grow, they only meet.
    """
    made = factors[0].full
    for one in factors[1:]:
        made = np.stack([_after(first, then) for first, then in zip(made, one.full, strict=True)])
    return made


def parameters_of(factors: Sequence[Factor]) -> int:
    """Return how many weights the factors have."""
    return sum(one.kernel.size for one in factors)


def _after(first: Reals, then: Reals) -> Reals:
    window = first.ndim - 2
    both = np.tensordot(then, first, axes=(1, 0))  # [outputs, *window, inputs, *window]
    order = [0, 1 + window, *(at for axis in range(window) for at in (1 + axis, 2 + window + axis))]
    sizes = [one * other for one, other in zip(first.shape[2:], then.shape[2:], strict=True)]
    return both.transpose(order).reshape(then.shape[0], first.shape[1], *sizes)
