"""Two models' layers side by side: which is which, and the sums over their errors."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgekit_converters.errors import ModelFileError
from edgekit_converters.jobs import Json
from edgekit_converters.layers import choice, matching, segments
from edgekit_converters.layers.base import LayeredModel
from edgekit_converters.layers.consequences import Consequences
from edgekit_converters.layers.damage import Tally
from edgekit_converters.layers.feeding import Feed
from edgekit_converters.layers.matching import Match, Named
from edgekit_converters.layers.points import points
from edgekit_converters.layers.view import Node
from edgekit_converters.model import Array

Values = dict[int, Array]


class LayerErrors:
    """The layers two models have in common, and how far they are apart in the runs counted so far."""

    def __init__(self, first: LayeredModel, second: LayeredModel, feed: Feed) -> None:
        """Find out in one run which layer is which, and prepare both models to show those."""
        self._view, self._other = first.view, second.view
        named, taken = _look(first, feed.first)
        others, taken_too = _look(second, feed.second)
        inputs = [(taken[a], taken_too[b]) for a, b in zip(feed.first, feed.second, strict=True)]
        self._matches = matching.match(named, others, [*inputs, *partners(first, second)])
        self._known = [one.first for one in self._matches]
        self._tallies = [Tally() for _ in self._matches]
        self._inputs = {place: name for name, place in first.inputs.items()}
        self._shapes = {one.place: list(one.array.shape) for one in named}
        self._first = _shown(first, self._known)
        self._second = _shown(second, [one.second for one in self._matches])
        # the first model's layers, each on what the second's layers before it gave
        self._alone = _shown(first, self._known, given=self._known)
        self._consequences = Consequences(first)

    def add(self, feed: Feed) -> None:
        """Run both models and count in what comes of it."""
        first = {**feed.first, **self._first(feed.first)}
        second = {**feed.second, **self._second(feed.second)}
        turned = {one.first: one.turn.forward(second[one.second], first[one.first]) for one in self._matches}
        alone = {**first, **self._alone({**feed.first, **turned})}
        for place, tally in zip(self._known, self._tallies, strict=True):
            tally.add(*(feed.samples(values[place]) for values in (first, turned, alone)))
        own = {place: np.subtract(turned[place], alone[place], dtype=np.float32) for place in self._known}
        self._consequences.keep(feed, {place: np.add(first[place], error) for place, error in own.items()})

    def rows(self, seconds: float | None = None) -> list[Json]:
        """Return a row a layer in the first model's order.

        With so many seconds for it, the layers with the largest errors of their own are followed to the outputs first;
        `followed` says which were.
        """
        figures = [tally.figures() for tally in self._tallies]
        worst = sorted(
            range(len(figures)), key=lambda at: -(math.inf if (own := figures[at]["own_error"]) is None else own)
        )
        damage = self._consequences.at_outputs([self._known[at] for at in worst], seconds)
        return [
            {**self._described(one), "damage": damage.get(one.first), "followed": one.first in damage, **found}
            for one, found in zip(self._matches, figures, strict=True)
        ]

    def _described(self, one: Match) -> dict[str, Json]:
        nodes = self._between(one.first)
        return {
            "layer": segments.name_of(nodes) if nodes else self._inputs[one.first],
            "op": segments.ops_of(nodes) if nodes else "input",
            "shape": self._shapes[one.first],
            "value": self._view.values[one.first].name,
            "artifact_value": self._other.values[one.second].name,
            "artifact_dtype": self._other.values[one.second].dtype,
            "made_by": [choice.exact(self._view, node) for node in nodes],
            "taken_by": [choice.exact(self._view, node) for node in self._view.nodes if one.first in node.inputs],
        }

    def _between(self, place: int) -> list[Node]:
        return segments.between(self._view, place, set(self._known) - {place})

    def unmatched(self) -> list[str]:
        """Return the names of the first model's layers with weights that no row accounts for."""
        seen = {node.outputs for place in self._known for node in self._between(place)}
        return [node.name for node in self._view.nodes if node.parameters and node.macs and node.outputs not in seen]


def partners(first: LayeredModel, second: LayeredModel) -> list[tuple[int, int]]:
    """Return the outputs that belong together: by name where the names are the same, else by order.

    Raises:
        ModelFileError: if one model has more outputs than the other.
    """
    if set(first.outputs) == set(second.outputs):
        return [(place, second.outputs[name]) for name, place in first.outputs.items()]
    if len(first.outputs) != len(second.outputs):
        ours, theirs = (", ".join(model.outputs) for model in (first, second))
        raise ModelFileError(f"the models' outputs differ: {ours} against {theirs}")
    return list(zip(first.outputs.values(), second.outputs.values(), strict=True))


def _shown(model: LayeredModel, places: Sequence[int], given: Sequence[int] = ()) -> Callable[[Values], Values]:
    """Return runs that give the values at these places, but for the model's inputs, by place."""
    inputs = set(model.inputs.values())
    wanted = [at for at in dict.fromkeys(places) if at not in inputs]
    run = model.runner(wanted, given)
    return lambda feeds: dict(zip(wanted, run(feeds), strict=True))


def _look(model: LayeredModel, given: Values) -> tuple[list[Named], dict[int, int]]:
    """Return every point's numbers in one run, and from where each computed value is taken on."""
    found = points(model.view)
    values = {**given, **_shown(model, [one.taken for one in found])(given)}
    named = [
        Named(place=one.taken, name=model.view.values[one.made].name, array=values[one.taken])
        for one in found
        if values[one.taken].dtype.kind == "f"
    ]
    return named, {one.made: one.taken for one in found}
