"""Activations by cheaper ones that are nearly the same: Howard et al. 2019, "Searching for MobileNetV3"."""

from edgekit_converters.compress.rules.base import Match, Rule
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.pattern import Any, op


class SwishToHard(Rule[None]):
    """x Sigmoid(x) by a straight line's gate."""

    name = "swish-to-hard"
    help = "x Sigmoid(x) by HardSwish (opset 14)"
    patterns = (op("Mul", Any("x"), op("Sigmoid", Any("x"))), op("Swish", Any("x")))

    def check(self, match: Match) -> None:
        """Take it where the model's opset has the op."""
        match.need_opset("HardSwish", 14)

    def rewrite(self, draft: Draft, match: Match, plan: None) -> str:  # noqa: ARG002  # the port's
        """Write the op."""
        draft.instead(draft.op("HardSwish", match.value("x"), name=str(match.root.name or "")))
        return "Swish by HardSwish"


class SigmoidToHard(Rule[None]):
    """A Sigmoid by a straight line with two bounds."""

    name = "sigmoid-to-hard"
    help = "Sigmoid by HardSigmoid"
    patterns = (op("Sigmoid", Any("x")),)

    def check(self, match: Match) -> None:
        """Take any."""

    def rewrite(self, draft: Draft, match: Match, plan: None) -> str:  # noqa: ARG002  # the port's
        """Write the op with MobileNetV3's line."""
        how = {"alpha": 1 / 6, "beta": 0.5}
        made = draft.op("HardSigmoid", match.value("x"), name=str(match.root.name or ""), attributes=how)
        draft.instead(made)
        return "Sigmoid by HardSigmoid"
