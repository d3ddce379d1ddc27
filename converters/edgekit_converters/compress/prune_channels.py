"""Channels of convolutions and neurons of dense layers taken out of the graph for good, and the rest re-fitted."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Change, Effect, Setting, Values, name_of
from edgekit_converters.compress.channel_refit import powers_of, refit
from edgekit_converters.compress.figures import infer_shapes, macs_of
from edgekit_converters.compress.groups.cutting import cut
from edgekit_converters.compress.groups.layer_rules import Layer, layers_of
from edgekit_converters.compress.groups.ties import Mask
from edgekit_converters.compress.groups.units import Costs, Groups, groups_of
from edgekit_converters.compress.moments import moments_of
from edgekit_converters.compress.prune_choice import Budget, Limits, choose
from edgekit_converters.compress.prune_scores import Losses, Magnitudes, Scores
from edgekit_converters.compress.walk import affordable
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.biases import has_bias
from edgekit_converters.graph.scaling import outputs_of
from edgekit_converters.model import Arrays
from edgekit_converters.precisions import Options, choice, number

if TYPE_CHECKING:
    import onnx_ir as ir

_BUDGETS = MappingProxyType({"ratio": "channels", "macs": "multiplications", "parameters": "parameters"})
_ORDERS = MappingProxyType({"l1": 1, "l2": 2})


class PruneChannels:
    """Units of channels go until the budget is kept to; what they brought is re-fitted into what remains.

    `ratio` is what goes; `macs` and `parameters` are budgets: what may be left of the whole model's.
    """

    name = "prune-channels"
    help = "take channels and neurons out of the graph, and re-fit what remains"
    exact = False
    options: Options = MappingProxyType(
        {
            "ratio": number(0.0, 0.0, 0.99, "share of the channels that are taken out"),
            "macs": number(0.0, 0.0, 1.0, "share of the model's multiplications that may be left"),
            "parameters": number(0.0, 0.0, 1.0, "share of the model's parameters that may be left"),
            "by": choice("hessian", "activation", "l1", "l2", text="what channels are judged by"),
            "scope": choice("global", "layer", text="where they do least damage, or the same share of every layer"),
            "refit": choice("on", "off", text="whether what remains is fitted to the original's values"),
            "round": number(1, 1, 1024, "channels that remain are a multiple of it"),
            "least": number(1, 1, 2**20, "channels of a layer that remain at least"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:
        """Calibration data, but for plain magnitudes."""
        plain = values["by"] in _ORDERS and values["refit"] == "off"
        return frozenset() if plain else frozenset({"calibration"})

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse no budget or several, and a model none of whose channels can go."""
        given = [name for name in _BUDGETS if values[name]]
        if len(given) != 1:
            return f"it takes one budget of {', '.join(_BUDGETS)}, and {len(given)} are given"
        groups = groups_of(model, setting.only)
        if groups.blocks:
            return None
        why = f": {groups.left[0].why} (layer '{groups.left[0].layer}')" if groups.left else ""
        return f"none of its channels can go{why}"

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Choose units, take them out, re-fit the layers behind them."""
        groups, original = groups_of(model, setting.only), model.clone()
        arrays = affordable(model, setting.calibration) if setting.calibration else {}
        units = _chosen(model, groups, values, setting, arrays)
        kept = {
            name_of(one.node): ~np.isin(groups.labels.of(one.weights.value, one.made), units) for one in groups.layers
        }
        behind = _behind(model, groups, units)
        cut(model, groups.labels, units)
        infer_shapes(model)
        layers = {name_of(one.node): one for one in layers_of(model)}
        changes = [_shorter(layers[name], mask) for name, mask in kept.items() if not mask.all()]
        left = list(groups.left)
        if values["refit"] == "on" and units:
            fitted = {one.weights: kept[name] for name, one in layers.items() if name in behind}
            done, more = refit(model, original, fitted, arrays, setting.seed)
            changes += [
                Change(layer=one.layer, what="re-fitted", figures={"error_before": one.before, "error": one.after})
                for one in done
            ]
            left += more
        return Effect(changes=tuple(changes), left=tuple(left), figures={"units": len(units)})


def _shorter(layer: Layer, mask: Mask) -> Change:
    before, after = len(mask), int(mask.sum())
    return Change(
        layer=name_of(layer.node),
        what=f"{after} of {before} channels remain",
        figures={"channels_before": before, "channels": after},
    )


def _chosen(model: "ir.Model", groups: Groups, values: Values, setting: Setting, arrays: Arrays) -> list[int]:
    """Return the units that go.

    Raises:
        UnsupportedError: if not so many can.
    """
    costs = Costs(model, groups, macs_of(model))
    ways: dict[str, Callable[[Sequence[int]], float]]
    ways = {"ratio": costs.channels, "macs": costs.macs, "parameters": costs.parameters}
    name = next(name for name in _BUDGETS if values[name])
    cost, given = ways[name], float(values[name])
    share = 1 - given if name == "ratio" else given
    whole = cost([0] * len(groups.blocks))
    limits = Limits(multiple=int(values["round"]), least=int(values["least"]), even=values["scope"] == "layer")
    budget = Budget(
        cost=cost,
        most=whole * share - (_new_biases(groups) if name == "parameters" and values["refit"] == "on" else 0),
    )
    gone = choose(groups.blocks, _scores(model, groups, values, setting, arrays), budget, limits)
    here = cost([len(one) for one in gone])
    if here > budget.most:
        left = f"{here / whole:.0%} of the {_BUDGETS[name]} are left"
        raise UnsupportedError(f"{left} where technique {PruneChannels.name} has taken all it can, not {share:.0%}")
    return [unit for one in gone for unit in one]


def _new_biases(groups: Groups) -> int:
    """Return how many values a re-fit may add: the biases of layers that have none."""
    return sum(
        outputs_of(one.weights) for one in groups.layers if one.weights.axis is not None and not has_bias(one.weights)
    )


def _scores(model: "ir.Model", groups: Groups, values: Values, setting: Setting, arrays: Arrays) -> Scores:
    by = str(values["by"])
    if by in _ORDERS:
        return Magnitudes(groups, _ORDERS[by])
    takers = list({id(one): one.weights for block in groups.blocks for one in block.takers}.values())
    powers = powers_of(model, takers, arrays, setting.work / "targets.onnx")
    moments = moments_of(model, takers, arrays, setting.work / "moments.onnx", setting.seed)
    how = "diagonal" if by == "activation" else "refitted" if values["refit"] == "on" else "kept"
    return Losses(groups, moments, powers, how)


def _behind(model: "ir.Model", groups: Groups, units: Sequence[int]) -> set[str]:
    """Return the names of the nodes whose inputs will not hold what they did, or not all of it."""
    takers = {
        id(one.node)
        for one in groups.layers
        if one.taken is not None and np.isin(groups.labels.of(one.weights.value, one.taken), units).any()
    }
    changed, found = set[int](), set[str]()
    for node in model.graph:
        if id(node) in takers or any(id(one) in changed for one in node.inputs):
            found.add(name_of(node))
            changed |= {id(one) for one in node.outputs}
    return found
