"""Approximation by rules: ops by cheaper ones that are nearly the same, as long as the outputs stay near enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.compress.rewriting import Rewriting
from edgekit_converters.compress.rules import APPROXIMATE
from edgekit_converters.compress.rules.base import Refusal
from edgekit_converters.graph.reading import name_of
from edgekit_converters.precisions import Options, number

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgekit_converters.compress.rules.base import AnyRule
    from edgekit_converters.model import Array, Arrays

_ROUNDS = 3
"""A 7x7 becomes a 5x5, and that a 3x3; more there is not."""


class Approximate(Rewriting):
    """Each place is tried by itself; those that cost the outputs least are taken, as far as the outputs may go.

    The error is the root mean square of the outputs' difference to those before, as a share of theirs; with several
    outputs the greatest.
    """

    name = "approximate"
    help = "swish by hard-swish, sigmoid by hard-sigmoid, 5x5 and 7x7 by stacked 3x3, as far as the outputs allow"
    exact = False
    table = APPROXIMATE

    @property
    def options(self) -> Options:
        """Which rules, and how far the outputs may go."""
        return MappingProxyType(
            {
                **super().options,
                "error": number(
                    0.05, 0.0, 1.0, "the greatest error of the outputs, as a share of their root mean square"
                ),
                "samples": number(64, 1, 100_000, "calibration samples it is measured on"),
            }
        )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """The outputs are compared on calibration data."""
        return frozenset({"calibration"})

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Replace what the outputs allow, the cheapest in error first."""
        from edgekit_converters.compress.figures import infer_shapes

        samples = {name: one[: int(values["samples"])] for name, one in (setting.calibration or {}).items()}
        judge = _Judge(model, samples, setting.work / "tried.onnx")
        changes: list[Change] = []
        left: list[Left] = []
        for _ in range(_ROUNDS):
            tried, left = _tried(model, self.asked(values), setting, samples, judge)
            done = 0
            for one in sorted(tried, key=lambda one: one.error):
                trial = model.clone()
                one.apply(trial)
                whole = judge.error(trial)
                if whole > float(values["error"]):
                    why = f"{one.rule.name}: the outputs would be off by {whole:.2%} ({one.error:.2%} by this alone)"
                    left.append(Left(layer=one.node, why=why))
                    continue
                what = one.apply(model)
                changes.append(Change(layer=one.node, what=what, figures={"own_error": one.error, "error": whole}))
                done += 1
            if not done:
                break
            infer_shapes(model)
        return Effect(changes=tuple(changes), left=tuple(left), figures={"error": judge.error(model)})


@dataclass(frozen=True, slots=True)
class _Trial:
    """A rule at a node, with what its check found out, and the error the outputs have by it alone."""

    rule: "AnyRule"
    node: str
    plan: object
    error: float = 0.0

    def apply(self, model: "ir.Model") -> str:
        """Apply it to the model it was found in, or to a copy."""
        from edgekit_converters.compress.rules.draft import Draft

        node = next(one for one in model.graph if name_of(one) == self.node)
        match = next(self.rule.find(model, node))
        draft = Draft(model, node)
        what = self.rule.rewrite(draft, match, self.plan)
        draft.finish(match.found.nodes)
        return f"{self.rule.name}: {what}"


class _Judge:
    """What a model's outputs were, and how far another one's are from them."""

    def __init__(self, model: "ir.Model", samples: "Arrays", file: Path) -> None:
        """Run the model."""
        from edgekit_converters.graph.proof import outputs

        self._samples, self._file = samples, file
        self._wanted = outputs(model, samples, file)

    def error(self, model: "ir.Model") -> float:
        """Return the error of the output that is furthest off."""
        from edgekit_converters.graph.proof import outputs

        got = outputs(model, self._samples, self._file)
        names = [name for name, one in self._wanted[0].items() if one.dtype.kind == "f"]
        return max((self._off(name, got) for name in names), default=0.0)

    def _off(self, name: str, got: "Sequence[dict[str, Array]]") -> float:
        pairs = [
            (one[name].astype(np.float64), other[name].astype(np.float64))
            for one, other in zip(got, self._wanted, strict=True)
        ]
        lost = sum(float(np.sum((one - other) ** 2)) for one, other in pairs)
        there = sum(float(np.sum(other**2)) for _, other in pairs)
        return float(np.sqrt(lost / max(there, 1e-30))) if np.isfinite(lost) else float("inf")


def _tried(
    model: "ir.Model", rules: "Sequence[AnyRule]", setting: Setting, samples: "Arrays", judge: _Judge
) -> tuple[list[_Trial], list[Left]]:
    """Return the error of every place a rule can be applied at, and why others cannot."""
    found: list[_Trial] = []
    left: list[Left] = []
    taken: set[str] = set()
    for rule in (_informed(one, model, setting, samples) for one in rules):
        for node in list(model.graph):
            name = name_of(node)
            match = next(rule.find(model, node), None) if setting.may_change(node) else None
            if match is None or taken & {name_of(one) for one in match.found.nodes}:
                continue  # a gate that goes with its Swish is no Sigmoid of its own
            judged = rule.judge(match)
            if isinstance(judged, Refusal):
                left.append(Left(layer=name, why=f"{rule.name}: {judged.why}"))
                continue
            trial = _Trial(rule, name, judged)
            changed = model.clone()
            trial.apply(changed)
            found.append(replace(trial, error=judge.error(changed)))
            taken |= {name_of(one) for one in match.found.nodes}
    return found, left


def _informed(rule: "AnyRule", model: "ir.Model", setting: Setting, samples: "Arrays") -> "AnyRule":
    """Tell the rule that fits kernels what the layers take."""
    from edgekit_converters.compress.moments import moments_of
    from edgekit_converters.compress.rules.stacked import StackedConv, can_be_fitted
    from edgekit_converters.graph.weights import weights_of

    if not isinstance(rule, StackedConv):
        return rule
    layers = [one for one in weights_of(model, frozenset({"Conv"})) if one.place == 1 and can_be_fitted(one.node)]
    layers = [one for one in layers if one.node.graph is model.graph and setting.may_change(one.node)]
    return StackedConv(
        moments_of(model, layers, samples, setting.work / "moments.onnx", setting.seed) if layers else {}
    )
