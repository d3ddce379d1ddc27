"""Connection pruning: single weights, N of M or blocks set to zero, with or without a re-fit of those that stay."""

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress import surgeon
from edgekit_converters.compress.base import Change, Effect, Setting, Values
from edgekit_converters.compress.prunable import Prunable, found, with_moments
from edgekit_converters.compress.sparse_patterns import PATTERN, Pattern, pattern_of
from edgekit_converters.graph.biases import add_to_bias
from edgekit_converters.graph.weights import Reals, replaced
from edgekit_converters.precisions import Options, choice, flag, number

if TYPE_CHECKING:
    import onnx_ir as ir

_SPARSITY = number(0.5, 0.0, 0.99, "share of the weights that become zero")


class PruneWeights:
    """Zeros where weights matter least; bytes and time come only of what stores or uses zeros."""

    name = "prune-weights"
    help = "set single weights, N of M or blocks to zero"
    exact = False
    options: Options = MappingProxyType(
        {
            "by": choice("magnitude", "obs", text="the weights' size, or the damage to the layer's output"),
            "sparsity": _SPARSITY,
            "pattern": PATTERN,
            "scope": choice("local", "global", text="the same share in every layer, or more where it hurts less"),
            "refit": flag("fit the weights that stay to calibration data; obs does it anyway"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:
        """Calibration data, where it looks at what layers take."""
        return frozenset({"calibration"}) if _observed(values) else frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse settings that contradict each other, and a model without such layers."""
        pattern = _pattern(values)
        if pattern.sparsity is not None:
            if values["scope"] == "global":
                return f"pattern {pattern.text} is the same in every layer: it has no global scope"
            if values["sparsity"] not in {_SPARSITY.default, pattern.sparsity}:
                return f"pattern {pattern.text} is a sparsity of {pattern.sparsity:g}, not {values['sparsity']:g}"
        layers, left = found(model, pattern, setting, observed=_observed(values))
        if layers:
            return None
        return f"{left[0].why} (layer '{left[0].layer}')" if left else "it has no layer with stored weights"

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Prune every layer, weights that several share once."""
        pattern = _pattern(values)
        layers, left = found(model, pattern, setting, observed=_observed(values))
        if _observed(values):
            layers = with_moments(model, layers, setting)
        changes = tuple(
            _pruned(model, one, pattern, share, by_damage=values["by"] == "obs")
            for one, share in zip(layers, _shares(layers, pattern, values), strict=True)
        )
        zeros, weights = (sum(int(one.figures[key] or 0) for one in changes) for key in ("zeros", "weights"))
        figures = {"zeros": zeros, "weights": weights, "sparsity": zeros / max(weights, 1)}
        return Effect(changes=changes, left=tuple(left), figures=figures)


def _observed(values: Values) -> bool:
    return values["by"] == "obs" or bool(values["refit"])


def _pattern(values: Values) -> Pattern:
    return pattern_of(str(values["pattern"]))


def _shares(layers: list[Prunable], pattern: Pattern, values: Values) -> list[float]:
    """Return the share of zeros of every layer.

    In a global scope the scores of all layers compete, each beside what is left when all smaller ones of its layer
    are gone (Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning"): no layer is emptied.
    """
    asked = float(values["sparsity"])
    if values["scope"] == "local":
        return [asked] * len(layers)
    scores = [_competing(one, pattern, by_damage=values["by"] == "obs") for one in layers]
    weights = np.concatenate(
        [np.full(len(own), one.values.size / len(own)) for own, one in zip(scores, layers, strict=True)]
    )
    order = np.argsort(np.concatenate(scores), kind="stable")
    gone = np.zeros(len(order), np.bool_)
    gone[order[np.cumsum(weights[order]) <= asked * weights.sum()]] = True
    return [float(one.mean()) for one in np.split(gone, np.cumsum([len(own) for own in scores])[:-1])]


def _competing(layer: Prunable, pattern: Pattern, *, by_damage: bool) -> Reals:
    squares = layer.values**2
    if by_damage:
        squares = squares * np.einsum("gii->gi", layer.gram(centred=layer.has_biases))[:, None, :]
    units = pattern.units(squares).ravel()
    order = np.argsort(units, kind="stable")
    rest = np.cumsum(units[order][::-1])[::-1]
    scores = np.zeros(len(units))
    scores[order] = units[order] / np.where(rest > 0, rest, 1.0)
    return scores


def _pruned(model: "ir.Model", layer: Prunable, pattern: Pattern, share: float, *, by_damage: bool) -> Change:
    before, with_bias = layer.values, layer.has_biases
    figures: dict[str, int | float] = {}
    if layer.moments:
        gram = layer.gram(centred=with_bias)
        after = _refitted(before, surgeon.damped(gram), pattern, share, by_damage=by_damage)
        whole = surgeon.damage(before, gram)
        figures["output_error"] = surgeon.damage(after - before, gram) / whole if whole > 0 else 0.0
    else:
        after = np.where(pattern.keep(before**2, share), before, 0.0)
    replaced(layer.users[0].value, layer.array(after))
    if layer.moments and with_bias:
        for user, mean in zip(layer.users, layer.means(), strict=True):
            add_to_bias(model, user, np.einsum("goc,gc->go", before - after, mean).ravel())
    zeros = int(np.sum(layer.users[0].array == 0))
    figures |= {"zeros": zeros, "weights": before.size, "sparsity": zeros / before.size}
    return Change(
        layer=layer.name,
        what=f"{zeros / before.size:.0%} of its weights are zero",
        figures=figures,
    )


def _refitted(before: Reals, gram: Reals, pattern: Pattern, share: float, *, by_damage: bool) -> Reals:
    if by_damage:
        start, stays = surgeon.chosen(before, gram, pattern, share)
    else:
        start, stays = before, pattern.keep(before**2, share)
    return surgeon.refitted(start, before, gram, stays)
