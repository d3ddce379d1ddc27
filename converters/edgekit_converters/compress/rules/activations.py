"""Activations written out in small ops, brought back to the one op that runtimes have a kernel for.

x * 0.5 * (1 + Erf(x / sqrt 2))                          Gelu, opset 20
x * 0.5 * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))  Gelu approximated by Tanh, opset 20
Clip(x + 3, 0, 6) / 6, Clip(a x + b, 0, 1)               HardSigmoid
x * that                                                 HardSwish, opset 14
x * Tanh(Softplus(x))                                    Mish, opset 18
Log(1 + Exp(x))                                          Softplus
Max(x, a x)                                              LeakyRelu
"""

import math

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.bounds import Bounds, bounds_of
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.compress.rules.pattern import Any, Form, Number, Op, Stored, op, plus, times
from edgekit_converters.compress.rules.values import number_of

Attributes = dict[str, Given]
_X = Any("x")


def _halved(gate: Form) -> tuple[Op, ...]:
    """Return the ways to write x * gate / 2."""
    return (
        *times(op("Mul", _X, gate), 0.5).forms,
        op("Mul", times(_X, 0.5), gate),
        op("Mul", _X, times(gate, 0.5)),
    )


class _Activation(Rule[Attributes]):
    """Ops that together are one activation of the value `x`."""

    into: str
    since = 1
    """The opset the activation is of."""

    def check(self, match: Match) -> Attributes:
        """Take it where the model's opset has the op."""
        match.need_opset(self.into, self.since)
        return {}

    def rewrite(self, draft: Draft, match: Match, plan: Attributes) -> str:
        """Write the op."""
        made = draft.op(self.into, match.value("x"), name=str(match.root.name or ""), attributes=plan)
        draft.instead(made)
        return f"{len(match.found.nodes)} ops into {self.into}"


class GeluErf(_Activation):
    """Gelu as it is defined: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units"."""

    name = "gelu-erf"
    help = "x/2 (1 + Erf(x / sqrt 2)) into Gelu (opset 20)"
    into, since = "Gelu", 20
    patterns = _halved(plus(op("Erf", times(_X, math.sqrt(0.5))), 1.0))


_SQUARES = (op("Mul", _X, _X), op("Pow", _X, Number(2.0)))
_CUBES = (*(op("Mul", one, _X) for one in _SQUARES), op("Pow", _X, Number(3.0)))


class GeluTanh(_Activation):
    """Gelu's approximation by Tanh."""

    name = "gelu-tanh"
    help = "Gelu's approximation by Tanh into Gelu (opset 20)"
    into, since = "Gelu", 20
    patterns = tuple(
        form
        for inner in (
            *(times(op("Add", _X, times(one, 0.044715)), math.sqrt(2 / math.pi)) for one in _CUBES),
            *(op("Mul", times(_X, math.sqrt(2 / math.pi)), plus(times(one, 0.044715), 1.0)) for one in _SQUARES),
        )
        for form in _halved(plus(op("Tanh", inner), 1.0))
    )

    def check(self, match: Match) -> Attributes:
        """Take it where the model's opset has the op."""
        return super().check(match) | {"approximate": "tanh"}


class HardSigmoid(_Activation):
    """A straight line with two bounds."""

    name = "hard-sigmoid"
    help = "Clip(x + 3, 0, 6) / 6 and Clip(a x + b, 0, 1) into HardSigmoid"
    into = "HardSigmoid"
    _line = (
        op("Add", _X, Stored("shift")),
        op("Add", op("Mul", _X, Stored("slope")), Stored("shift")),
    )
    patterns = (
        *(op(kinds, op("Clip", one, name="clip"), Stored("scale")) for one in _line[:1] for kinds in ("Mul", "Div")),
        op("Clip", _line[1], name="clip"),
    )

    def check(self, match: Match) -> Attributes:
        """Take numbers that bound the line between 0 and 1."""
        super().check(match)
        clip = match.node("clip")
        source = clip.inputs[0]
        if source is None:
            raise AssertionError("a Clip takes something")
        numbers = {
            name: number_of(value) for name, value in match.found.named.items() if name in {"shift", "slope", "scale"}
        }
        if any(one is None for one in numbers.values()):
            raise RefusedError("it differs between channels")
        slope, shift, scale = (float(numbers.get(name) or 1.0) for name in ("slope", "shift", "scale"))
        scale = 1 / scale if match.root.op_type == "Div" else scale
        shift = float(numbers["shift"] or 0.0)
        bounds = bounds_of(clip, source)
        if bounds.low != 0 or abs(bounds.high * scale - 1) > 1e-6:  # noqa: PLR2004  # float32's rounding
            raise RefusedError(f"it lies between {bounds.low * scale:g} and {bounds.high * scale:g}, not 0 and 1")
        return {"alpha": slope * scale, "beta": shift * scale}


class HardSwish(_Activation):
    """After Howard et al. 2019, "Searching for MobileNetV3"."""

    name = "hard-swish"
    help = "x HardSigmoid(x) and x Clip(x + 3, 0, 6) / 6 into HardSwish (opset 14)"
    into, since = "HardSwish", 14
    _clip = op("Clip", plus(_X, 3.0), name="clip")
    patterns = (
        op("Mul", _X, op("HardSigmoid", _X, name="gate")),
        *times(op("Mul", _X, _clip), 1 / 6).forms,
        op("Mul", times(_X, 1 / 6), _clip),
    )

    def check(self, match: Match) -> Attributes:
        """Take the gate of MobileNetV3 alone."""
        if "gate" in match.found.named:
            node = match.node("gate")
            alpha, beta = (node.attributes.get_float(*one) for one in (("alpha", 0.2), ("beta", 0.5)))
            if abs(float(alpha or 0) - 1 / 6) > 1e-5 or beta != 0.5:  # noqa: PLR2004  # as HardSwish is defined
                raise RefusedError(f"its gate is {alpha:g} x + {beta:g}, not x / 6 + 0.5")
        else:
            clip = match.node("clip")
            if bounds_of(clip, clip.inputs[0]) != Bounds(0.0, 6.0):  # type: ignore[arg-type]  # it takes something
                raise RefusedError("it is not bounded by 0 and 6", clip)
        return super().check(match)


class Mish(_Activation):
    """After Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation Function"."""

    name = "mish"
    help = "x Tanh(Softplus(x)) into Mish (opset 18)"
    into, since = "Mish", 18
    patterns = (op("Mul", _X, op("Tanh", op("Softplus", _X))),)


class Softplus(_Activation):
    """Written out it overflows from 89 on; the op does not."""

    name = "softplus"
    help = "Log(1 + Exp(x)) into Softplus"
    into = "Softplus"
    patterns = (op("Log", plus(op("Exp", _X), 1.0)),)


class Leaky(_Activation):
    """The greater of a value and a part of it."""

    name = "leaky-relu"
    help = "Max(x, a x) into LeakyRelu"
    into = "LeakyRelu"
    patterns = (op("Max", _X, op("Mul", _X, Stored("slope"))),)

    def check(self, match: Match) -> Attributes:
        """Take a slope between 0 and 1."""
        slope = number_of(match.value("slope"))
        if slope is None or not 0 <= slope <= 1:
            raise RefusedError("its slope differs between channels, or is not between 0 and 1")
        return {"alpha": slope}
