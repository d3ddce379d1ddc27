"""Cheaper forms of the same arithmetic.

x / c                   x * (1 / c)
x^2, x^3, x^0.5, x^-1   x * x, x * x * x, Sqrt(x), Reciprocal(x)
x * (1 / y)             x / y
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.pattern import Any, Number, Stored, op
from edgekit_converters.compress.rules.values import number_of, same_shape, stored
from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir


class DivToMul(Rule[Reals]):
    """A multiplication takes a fraction of a division's time; the inverse is rounded once."""

    name = "div-to-mul"
    help = "a division by a constant into a multiplication"
    patterns = (op("Div", Any("x"), Stored("by")),)

    def check(self, match: Match) -> Reals:
        """Take a constant whose inverse is finite."""
        by = stored(match.value("by"))
        if by is None or match.value("x").const_value is not None:
            raise RefusedError("it divides a constant")
        if np.any(by == 0):
            raise RefusedError("it divides by 0")
        dtype = match.value("by").const_value.numpy().dtype  # type: ignore[union-attr]  # it is stored
        inverse = (1 / by).astype(dtype)
        if not np.all(np.isfinite(inverse)) or np.any(np.abs(1 / by) < np.finfo(np.float32).tiny):
            raise RefusedError("the inverse of its constant is out of range")
        return np.asarray(inverse, np.float64)

    def rewrite(self, draft: Draft, match: Match, plan: Reals) -> str:
        """Multiply by the inverse."""
        inverse = draft.floats(plan, match.value("by"), "inverse")
        draft.instead(draft.op("Mul", match.value("x"), inverse, name=str(match.root.name or "")))
        return "Div by a constant into Mul"


_POWERS = {2.0: "Mul", 3.0: "Mul", 0.5: "Sqrt", -1.0: "Reciprocal"}


class PowForm(Rule[float]):
    """Powers that have an op of their own, or are products."""

    name = "pow-form"
    help = "x^2, x^3, x^0.5 and x^-1 into products, Sqrt and Reciprocal"
    patterns = (op("Pow", Any("x"), Stored("exponent")),)

    def check(self, match: Match) -> float:
        """Take an exponent that is one of the table's."""
        exponent = number_of(match.value("exponent"))
        if exponent not in _POWERS:
            raise RefusedError(
                f"x^{exponent:g} has no cheaper form" if exponent is not None else "it has several exponents"
            )
        value = match.value("x")
        if value.dtype is None or value.dtype != match.root.outputs[0].dtype:
            raise RefusedError("it changes the type")
        if not same_shape(value, match.root.outputs[0]):
            raise RefusedError("its exponent makes the value larger, or shapes are not known")
        return exponent

    def rewrite(self, draft: Draft, match: Match, plan: float) -> str:
        """Write the other op."""
        value, kind, name = match.value("x"), _POWERS[plan], str(match.root.name or "")
        if kind == "Mul":
            made = draft.op("Mul", value, value, name=name)
            made = made if plan == 2 else draft.op("Mul", made, value)  # noqa: PLR2004  # the square
        else:
            made = draft.op(kind, value, name=name)
        draft.instead(made)
        return f"x^{plan:g} into {kind}"


class ReciprocalMul(Rule[None]):
    """Two ops are one."""

    name = "reciprocal-mul"
    help = "a multiplication by an inverse into a division"
    patterns = (
        op("Mul", Any("x"), op("Reciprocal", Any("y"), name="inverse")),
        op("Mul", Any("x"), op("Div", Number(1.0), Any("y"), name="inverse")),
    )

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Leave out what divides another number, and what divides by a constant: that is multiplied."""
        for match in super().find(model, node):
            one = all(number_of(value) == wanted for value, wanted in match.found.numbers)
            if one and match.value("y").const_value is None:
                yield match

    def check(self, match: Match) -> None:
        """Take anything of the same shape."""
        if not same_shape(match.value("inverse"), match.value("y")):
            raise RefusedError("its 1 makes the value larger, or shapes are not known")

    def rewrite(self, draft: Draft, match: Match, plan: None) -> str:  # noqa: ARG002  # the port's
        """Divide."""
        made = draft.op("Div", match.value("x"), match.value("y"), name=str(match.root.name or ""))
        draft.instead(made)
        return f"{match.node('inverse').op_type} and Mul into Div"
