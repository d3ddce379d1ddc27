"""Channels of convolutions and neurons of dense layers taken out of the graph for good, and the rest re-fitted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress import latency
from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.compress.channel_refit import Refitted, powers_of, refit
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
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import outputs_of
from edgekit_converters.model import Arrays
from edgekit_converters.precisions import Options, choice, number

if TYPE_CHECKING:
    import onnx_ir as ir

_BUDGETS = MappingProxyType({"ratio": "channels", "macs": "multiplications", "parameters": "parameters"})
_ORDERS = MappingProxyType({"l1": 1, "l2": 2})


class PruneChannels:
    """Units of channels go until the budget is kept to; what they brought is re-fitted into what remains.

    `ratio` is what goes; `macs`, `parameters` and `latency` are budgets: what may be left of the whole model's. A step
    with `latency` is not applied itself: the engine finds the `macs` that keeps to it (`compress.latency`).
    """

    name = "prune-channels"
    help = "take channels and neurons out of the graph, and re-fit what remains"
    exact = False
    options: Options = MappingProxyType(
        {
            "ratio": number(0.0, 0.0, 0.99, "share of the channels that are taken out"),
            "macs": number(0.0, 0.0, 1.0, "share of the model's multiplications that may be left"),
            "parameters": number(0.0, 0.0, 1.0, "share of the model's parameters that may be left"),
            latency.OPTION: number(0.0, 0.0, 0.99, "share of the measured time that may be left"),
            "by": choice("hessian", "activation", "l1", "l2", text="what channels are judged by"),
            "scope": choice("global", "layer", text="where they do least damage, or the same share of every layer"),
            "refit": choice("on", "layers", "off", text="whether what remains is fitted to the original's values"),
            "rounds": number(1, 1, 64, "steps on the way to the budget, with a re-fit behind each"),
            "round": number(1, 1, 1024, "channels that remain are a multiple of it"),
            "least": number(1, 1, 2**20, "channels of a layer that remain at least"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:
        """Calibration data, but for plain magnitudes; measuring for a budget of time."""
        plain = values["by"] in _ORDERS and values["refit"] == "off"
        return frozenset(([] if plain else ["calibration"]) + ([latency.NEED] if values[latency.OPTION] else []))

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse no budget or several, and a model none of whose channels can go."""
        budgets = (*_BUDGETS, latency.OPTION)
        given = [name for name in budgets if values[name]]
        if len(given) != 1:
            return f"it takes one budget of {', '.join(budgets)}, and {len(given)} are given"
        groups = groups_of(model, setting.only)
        if groups.blocks:
            return None
        why = f": {groups.left[0].why} (layer '{groups.left[0].layer}')" if groups.left else ""
        return f"none of its channels can go{why}"

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Choose units, take them out, re-fit the layers behind them; so often as there are rounds."""
        original, left = model.clone(), list[Left]()
        arrays = affordable(model, setting.calibration) if setting.calibration else {}
        groups, behind = groups_of(model, setting.only), set[str]()
        budget = _budget(model, groups, values)
        kept = {name_of(one.node): np.ones(_channels(one), bool) for one in groups.layers}
        rounds = int(values["rounds"]) if values["refit"] != "off" else 1
        done = list[Refitted]()
        for at in range(rounds):
            groups = groups_of(model, setting.only)
            most = budget.whole - (budget.whole - budget.most) * (at + 1) / rounds
            units = _chosen(model, groups, values, setting, arrays, replace(budget, most=most))
            behind |= _behind(model, groups, units)
            for one in groups.layers:
                mask = kept[name_of(one.node)]
                mask[mask] = ~np.isin(groups.labels.of(one.weights.value, one.made), units)
            cut(model, groups.labels, units)
            infer_shapes(model)
            if values["refit"] != "off":
                fitted = {
                    one.weights: kept[name_of(one.node)] for one in layers_of(model) if name_of(one.node) in behind
                }
                together, tell = values["refit"] == "on", setting.on_event
                done, left = refit(model, original, fitted, arrays, setting.seed, pairs=together, on_event=tell)
        changes = [_shorter(name, mask) for name, mask in kept.items() if not mask.all()]
        changes += [
            Change(layer=one.layer, what="re-fitted", figures={"error_before": one.before, "error": one.after})
            for one in done
        ]
        return Effect(changes=tuple(changes), left=(*groups.left, *left))


def _shorter(layer: str, mask: Mask) -> Change:
    before, after = len(mask), int(mask.sum())
    return Change(
        layer=layer,
        what=f"{after} of {before} channels remain",
        figures={"channels_before": before, "channels": after},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Budget:
    """What the model has of what is counted, and what may be left of it."""

    name: str
    whole: float
    most: float


def _budget(model: "ir.Model", groups: Groups, values: Values) -> _Budget:
    name = next(name for name in _BUDGETS if values[name])
    whole = _cost(model, groups, name)([0] * len(groups.blocks))
    share = 1 - float(values[name]) if name == "ratio" else float(values[name])
    added = _new_biases(groups) if name == "parameters" and values["refit"] != "off" else 0
    return _Budget(name=name, whole=whole, most=whole * share - added)


def _cost(model: "ir.Model", groups: Groups, name: str) -> Callable[[Sequence[int]], float]:
    costs = Costs(model, groups, macs_of(model))
    ways: dict[str, Callable[[Sequence[int]], float]]
    ways = {"ratio": costs.channels, "macs": costs.macs, "parameters": costs.parameters}
    return ways[name]


def _chosen(  # noqa: PLR0913, PLR0917  # a step and what it is done to
    model: "ir.Model", groups: Groups, values: Values, setting: Setting, arrays: Arrays, budget: _Budget
) -> list[int]:
    """Return the units that go.

    Raises:
        UnsupportedError: if not so many can.
    """
    cost = _cost(model, groups, budget.name)
    limits = Limits(multiple=int(values["round"]), least=int(values["least"]), even=values["scope"] == "layer")
    scores = _scores(model, groups, values, setting, arrays)
    gone = choose(groups.blocks, scores, Budget(cost=cost, most=budget.most), limits)
    here = cost([len(one) for one in gone])
    if here > budget.most:
        left = f"{here / budget.whole:.0%} of the {_BUDGETS[budget.name]} are left"
        wanted = f"{budget.most / budget.whole:.0%}"
        raise UnsupportedError(f"{left} where technique {PruneChannels.name} has taken all it can, not {wanted}")
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
    how = "diagonal" if by == "activation" else "refitted" if values["refit"] != "off" else "kept"
    return Losses(groups, moments, powers, how)


def _channels(layer: Layer) -> int:
    return int(layer.weights.array.shape[layer.made])


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
