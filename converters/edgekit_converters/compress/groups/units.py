"""Units of channels that a model's layers can lose, in blocks of like ones, and what they cost."""

import collections
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Left
from edgekit_converters.compress.groups.layer_rules import Layer, layers_of
from edgekit_converters.compress.groups.rules import RULES
from edgekit_converters.compress.groups.ties import Labels, Numbers, Ties
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of, said

if TYPE_CHECKING:
    import onnx_ir as ir

Place = tuple[str, int]
"""An axis of a stored tensor."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Units that lie in the same layers, so that one costs what another does."""

    units: Numbers
    producers: tuple[Layer, ...]
    """Layers that make these channels, in order."""
    takers: tuple[Layer, ...]
    """Layers that sum over them."""
    spread: Mapping[Place, int]
    """How many elements of a stored tensor's axis a unit is."""

    @property
    def name(self) -> str:
        """The producers' names."""
        return ", ".join(name_of(one.node) for one in self.producers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """What can be taken out of a model, and why other layers keep all their channels."""

    labels: Labels
    layers: tuple[Layer, ...]
    blocks: tuple[Block, ...]
    left: tuple[Left, ...]


def groups_of(model: "ir.Model", only: frozenset[str] | None = None) -> Groups:
    """Find the units of a plain model with inferred shapes.

    Args:
        model: it is not changed.
        only: the layers that may lose channels: a unit goes only where all that make it are among them.
    """
    ties = _tied(model)
    labels = ties.solved()
    layers = layers_of(model)
    made, taken = collections.defaultdict[int, list[Layer]](list), collections.defaultdict[int, list[Layer]](list)
    for layer in layers:
        if layer.taken is not None:
            for unit in dict.fromkeys(_units(labels, layer, layer.made)):
                made[unit].append(layer)
            for unit in dict.fromkeys(_units(labels, layer, layer.taken)):
                taken[unit].append(layer)
    whys: dict[int, str] = {}
    for unit, producers in made.items():
        why = labels.reason(unit) or ("" if taken[unit] else "no layer with weights takes its channels")
        if not why and only is not None and any(name_of(one.node) not in only for one in producers):
            why = f"its channels go only with those of {', '.join(name_of(one.node) for one in producers)}"
        whys[unit] = why
    spread = _spread(model, labels, {unit for unit, why in whys.items() if not why})
    alike = collections.defaultdict[tuple[tuple[Place, int], ...], list[int]](list)
    for unit, places in spread.items():
        alike[tuple(sorted(places.items()))].append(unit)
    blocks = tuple(
        Block(
            units=np.array(units),
            producers=tuple(made[units[0]]),
            takers=tuple(taken[units[0]]),
            spread=dict(places),
        )
        for places, units in alike.items()
    )
    named = [one for one in layers if only is None or name_of(one.node) in only]
    return Groups(labels=labels, layers=tuple(layers), blocks=blocks, left=_left(named, labels, whys))


def _tied(model: "ir.Model") -> Ties:
    ties = Ties(model)
    for value in model.graph.inputs:
        ties.stop(value, f"input '{value.name}' has these channels")
    for value in model.graph.outputs:
        ties.stop(value, f"they are those of the output '{value.name}'")
    for node in model.graph:
        rule = RULES.get(node.op_type) if node.domain in ONNX else None
        if rule is not None:
            rule(node, ties)
        ties.follow(node, f"{said(node)} works across them")
    inside = set(map(id, model.graph))
    for node in model.graph.all_nodes():
        if id(node) not in inside:
            for one in node.inputs:
                ties.stop(one, f"{said(node)} in a branch or loop takes them")
    return ties


def _units(labels: Labels, layer: Layer, axis: int) -> list[int]:
    found = labels.units(layer.weights.value, axis)
    return [] if found is None else list(map(int, found))


def _spread(model: "ir.Model", labels: Labels, wanted: set[int]) -> dict[int, dict[Place, int]]:
    """Return of every unit where it lies in stored tensors."""
    spread: dict[int, dict[Place, int]] = {unit: {} for unit in sorted(wanted)}
    for name, value in model.graph.initializers.items():
        for axis in range(len(value.const_value.shape) if value.const_value is not None else 0):
            for unit, count in collections.Counter(_listed(labels.units(value, axis))).items():
                if unit in wanted:
                    spread[unit][name, axis] = count
    return spread


def _listed(units: Numbers | None) -> list[int]:
    return [] if units is None else list(map(int, units))


def _left(layers: Sequence[Layer], labels: Labels, whys: Mapping[int, str]) -> tuple[Left, ...]:
    """Return the layers that keep all their channels."""
    found = []
    for layer in layers:
        reasons = (
            [whys.get(unit, "") for unit in _units(labels, layer, layer.made)] if layer.taken is not None else [""]
        )
        if all(reasons) and reasons:
            found.append(Left(layer=name_of(layer.node), why=reasons[0]))
    return tuple(found)


class Costs:
    """What a model has when units of its blocks are gone: multiplications, stored values, channels."""

    def __init__(self, model: "ir.Model", groups: Groups, macs: Mapping[str, int]) -> None:
        """Take the multiplications of every node by its name."""
        self._shapes = {
            str(name): tuple(map(int, one.const_value.shape.numpy()))
            for name, one in model.graph.initializers.items()
            if one.const_value is not None and one.const_value.dtype.is_floating_point()
        }
        self._spreads = [one.spread for one in groups.blocks]
        self._layers = [
            (macs.get(name_of(one.node)) or 0, str(one.weights.value.name), (one.made, one.taken))
            for one in groups.layers
        ]
        self._other = sum(macs.values()) - sum(one for one, _, _ in self._layers)
        self._channels = sum(len(one.units) for one in groups.blocks)

    def macs(self, gone: Sequence[int]) -> float:
        """Return the multiplications with so many units of each block gone."""
        sizes = self._sizes(gone)
        total = float(self._other)
        for macs, name, axes in self._layers:
            total += macs * math.prod(sizes[name][at] / self._shapes[name][at] for at in axes if at is not None)
        return total

    def parameters(self, gone: Sequence[int]) -> float:
        """Return the stored values with so many units of each block gone."""
        return float(sum(math.prod(one) for one in self._sizes(gone).values()))

    def channels(self, gone: Sequence[int]) -> float:
        """Return how many units are left."""
        return float(self._channels - sum(gone))

    def _sizes(self, gone: Sequence[int]) -> dict[str, list[int]]:
        sizes = {name: list(shape) for name, shape in self._shapes.items()}
        for count, spread in zip(gone, self._spreads, strict=True):
            for (name, axis), each in spread.items():
                sizes[name][axis] -= count * each
        return sizes
