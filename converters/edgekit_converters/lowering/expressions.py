"""NumPy formulas on values of the module, so that a formula is written once for constants and for run time."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit_converters.lowering import stored
from edgekit_converters.lowering.arithmetic import absolute, binary, cast, compare
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.module import Ref

_BINARY: dict[Any, str] = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.divide: "div",
    np.maximum: "maximum",
    np.minimum: "minimum",
    np.remainder: "floor_mod",
}
_COMPARISONS: dict[Any, str] = {
    np.less: "less",
    np.less_equal: "less_equal",
    np.greater: "greater",
    np.greater_equal: "greater_equal",
}
_UNARY: dict[Any, Callable[[Builder, Ref], Ref]] = {
    np.floor: lambda b, x: b.unary("floor", x),
    np.ceil: lambda b, x: b.unary("ceil", x),
    np.rint: lambda b, x: b.unary("round", x),
    np.absolute: absolute,
    np.negative: lambda b, x: b.unary("neg", x),
}


class Expression(np.lib.mixins.NDArrayOperatorsMixin):
    """A value in a formula: `np.floor(x * 2) + 1` writes the ops. What is compared is 1 where it holds, else 0."""

    def __init__(self, b: Builder, ref: Ref) -> None:
        """Hold a value of the module."""
        self._b = b
        self.ref = ref

    def __array_ufunc__(self, function: object, method: str, *inputs: object, **more: object) -> Any:  # noqa: ANN401  # it or NotImplemented
        """Write the op of a NumPy function.

        Raises:
            TypeError: if there is none.
        """
        if method != "__call__" or more:
            return NotImplemented
        dtype = next(one.ref.dtype for one in inputs if isinstance(one, Expression))
        refs = [one.ref if isinstance(one, Expression) else self._constant(one, dtype) for one in inputs]
        if function in _BINARY:
            return Expression(self._b, binary(self._b, _BINARY[function], *refs))
        if function in _COMPARISONS:
            return Expression(self._b, cast(self._b, compare(self._b, _COMPARISONS[function], *refs), dtype))
        if function in _UNARY:
            return Expression(self._b, _UNARY[function](self._b, *refs))
        return NotImplemented

    def _constant(self, value: object, dtype: str) -> Ref:
        return self._b.module.constant(np.asarray(value, dtype=dtype))

    def as_integers(self) -> "Expression":
        """Return it as int32, cut off towards zero."""
        return Expression(self._b, cast(self._b, self.ref, "int32"))

    def as_floats(self) -> "Expression":
        """Return it as float32."""
        return Expression(self._b, cast(self._b, self.ref, "float32"))

    def reshape(self, *shape: int) -> "Expression":
        """Return it in another shape, as NumPy's arrays do."""
        return Expression(self._b, self._b.reshaped(self.ref, shape))

    def part(self, axis: int, place: int, count: int = 1) -> "Expression":
        """Return some places of an axis, which stays."""
        return Expression(self._b, stored.part(self._b, self.ref, axis, place, count))
