"""Closed-form re-fit: the weights a changed model's layers need to give what the original's layers gave.

A layer's rows X' are what it really takes behind everything that was changed before it; E is what is missing at its
result, of what the original model has there. Weights and bias get the least-squares answer of X' dW + db = E, layer
after layer in the order of the graph, so that each repairs what those before it left (after He, Zhang and Sun 2017,
"Channel Pruning for Accelerating Very Deep Neural Networks", section 3.1, with the original's values on both sides of
a residual sum). No gradients are needed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Left
from edgekit_converters.compress.groups.layer_rules import LAYERS
from edgekit_converters.compress.groups.ties import Mask
from edgekit_converters.compress.least_squares import Task, fit
from edgekit_converters.compress.moments import MOST_ROWS
from edgekit_converters.compress.pair_refit import Pair, Values, fit_pair
from edgekit_converters.compress.places import places_in
from edgekit_converters.compress.products import Product
from edgekit_converters.compress.walk import Walk
from edgekit_converters.events import Event, OnEvent
from edgekit_converters.graph.biases import bias_refusal
from edgekit_converters.graph.channels import channels_of
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import bound, name_of
from edgekit_converters.graph.weights import Reals, Weights, only_user, weights_of
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

_A_COLUMN, _LEAST_ROWS = 96, 1 << 14
"""Rows a column that are fitted to at most, and rows that always are if they are there."""
_MOST_VALUES = 1 << 27
"""Values of a layer's rows that are held at most."""
_CHECKED = 8
"""Every so many runs one is kept out of the fit, to judge it by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refitted:
    """A layer that was re-fitted: the error at its result before and after, on rows it was not fitted to.

    Both are shares of the original's variance there.
    """

    layer: str
    before: float
    after: float


def refit(  # noqa: PLR0913  # models, and how
    model: "ir.Model",
    original: "ir.Model",
    layers: Mapping[Weights, Mask],
    arrays: Arrays,
    seed: int = 0,
    *,
    pairs: bool = True,
    on_event: OnEvent = lambda _: None,
) -> tuple[list[Refitted], list[Left]]:
    """Re-fit layers in place, in the order they are given, which is the graph's.

    Args:
        model: the changed model, with inferred shapes; its values are named as the original's.
        original: as it was.
        layers: of the changed model, with which of the original's output channels each still has.
        arrays: calibration samples as `data.bind` gives them.
        seed: of the choice of rows where there are more than are looked at.
        pairs: whether layers are also fitted together with those before them; see `pair_refit`.
        on_event: called before each layer is fitted.

    Returns:
        The layers that were re-fitted and those that were not, with why.

    Raises:
        CalibrationError: if a model stops on the samples.
    """
    fitting = _Fitting(model, original, layers, arrays, seed, pairs=pairs)
    for at, layer in enumerate(layers):
        on_event(Event(stage="compress", detail=f"fit {name_of(layer.node)}", done=at, total=len(layers)))
        fitting.fit(layer)
    return fitting.done, fitting.left


class _Fitting:
    """Layers fitted one after the other, while both models are walked through."""

    def __init__(  # noqa: PLR0913  # what `refit` gets
        self,
        model: "ir.Model",
        original: "ir.Model",
        layers: Mapping[Weights, Mask],
        arrays: Arrays,
        seed: int,
        *,
        pairs: bool,
    ) -> None:
        self._model, self._masks = model, layers
        self._names = {layer: str(target_of(layer).name) for layer in layers}
        self._firsts = firsts_of(model, layers) if pairs else {}
        self._now = Walk(model, arrays, keep=[str(_taken(one).name) for one in self._firsts.values()])
        self._then = Walk(original, arrays, keep=self._names.values())
        self._makers = {str(one.name): node for node in original.graph for one in node.outputs}
        self._rng = np.random.default_rng(seed)
        self.done, self.left = list[Refitted](), list[Left]()

    def fit(self, layer: Weights) -> None:
        """Fit a layer alone, then together with the one before it where only an activation is between them."""
        name, target = name_of(layer.node), self._names[layer]
        why = refusal(layer)
        if why or target not in self._makers:
            self.left.append(Left(layer=name, why=why))
            return
        self._now.to(layer.node)
        self._then.past(self._makers[target])
        wanted, first = self._wanted(layer), self._firsts.get(layer)
        runs = list(zip(self._now.values[str(_taken(layer).name)], self._have(layer), wanted, strict=True))
        fitted = fit(_task(layer, runs, self._rng, highest_behind(layer)))
        if fitted is not None:
            Product(layer).add(self._model, _as_stored(layer, fitted.weights), fitted.bias)
            self.done.append(Refitted(layer=name, before=fitted.before, after=fitted.after))
        paired = first is not None and self._fit_pair(first, layer, wanted)
        if fitted is None and not paired:
            self.left.append(Left(layer=name, why="no re-fit lowers its error on samples kept out of it"))
        self._then.forget(target)

    def _wanted(self, layer: Weights) -> list[Array]:
        """Return what the original has where a layer is judged, of the channels that are left."""
        mask, found = self._masks[layer], self._then.values[self._names[layer]]
        return found if mask.all() else [np.compress(mask, one, axis=layer.result_axis) for one in found]

    def _have(self, layer: Weights) -> list[Array]:
        target = target_of(layer)
        return self._now.ahead(_maker(target), str(target.name))

    def _fit_pair(self, first: Weights, second: Weights, wanted: Sequence[Array]) -> bool:
        """Return whether two layers were fitted together."""
        before, taken = target_of(first), str(_taken(first).name)
        made = self._now.anew(_on_the_way(first, before), str(before.name))
        held = (self._now.values[taken], made, self._have(second), wanted)
        runs = [Values(*(np.asarray(one, np.float32) for one in run)) for run in zip(*held, strict=True)]
        pair = Pair(
            first=Product(first), second=Product(second), inner=highest_behind(first), outer=highest_behind(second)
        )
        fitted = fit_pair(pair, runs, self._rng)
        if fitted is not None:
            changed, bias, others, last = fitted.changes.parts
            pair.first.add(self._model, changed, bias)
            pair.second.add(self._model, others, last)
            after = _taken(second)
            nodes = [*_on_the_way(first, target_of(first)), _maker(after)]
            self._now.values[str(after.name)] = self._now.anew(nodes, str(after.name))
            together = f"{name_of(first.node)} and {name_of(second.node)}"
            self.done.append(Refitted(layer=together, before=fitted.before, after=fitted.after))
        self._now.forget(taken)
        return fitted is not None


def firsts_of(model: "ir.Model", layers: Iterable[Weights]) -> dict[Weights, Weights]:
    """Return of layers to be fitted the layer before each, where only an activation that cuts off is between them."""
    makers = {}
    for one in weights_of(model, LAYERS):
        target = target_of(one)
        if one.node.graph is model.graph and not refusal(one) and _on_the_way(one, target) and not _turned(one):
            makers[id(target)] = one
    found = {}
    for layer in layers:
        if refusal(layer) or _turned(layer):
            continue
        made = _taken(layer)
        activation = made.producer()
        if activation is None or only_user(made) is not layer.node or activation.inputs[0] is None:
            continue
        first = makers.get(id(activation.inputs[0]))
        if first is not None and only_user(activation.inputs[0]) is activation and highest_behind(first) is not None:
            found[layer] = first
    return found


def _as_stored(layer: Weights, matrices: Sequence[Reals]) -> Reals:
    """Return matrices [columns, outputs of a group], one a group, as `Product` has weights."""
    if layer.node.op_type != "Conv":
        return matrices[0]
    return np.concatenate([one.T for one in matrices]).reshape(layer.array.shape)


def _maker(value: "ir.Value") -> "ir.Node":
    node = value.producer()
    if node is None:
        raise AssertionError("what a layer gives is made by a node")
    return node


def _taken(layer: Weights) -> "ir.Value":
    """Return what a layer with its weights on the right takes."""
    value = layer.node.inputs[0]
    if value is None:
        raise AssertionError("a layer takes something")
    return value


def _turned(layer: Weights) -> bool:
    return layer.node.op_type == "Gemm" and layer.node.attributes.get_int("transA", 0) == 1


def _on_the_way(layer: Weights, target: "ir.Value") -> "list[ir.Node]":
    """Return a layer and the nodes behind it up to a target; none where these add what is no constant."""
    nodes, value = [layer.node], layer.node.outputs[0]
    while value is not target:
        (use,) = value.uses()
        others = [one for one in use.node.inputs if one is not value]
        if any(one is None or one.const_value is None for one in others):
            return []
        nodes.append(use.node)
        value = use.node.outputs[0]
    return nodes


def refusal(layer: Weights) -> str:
    """Return why a layer cannot be re-fitted, empty where it can."""
    if layer.node.op_type == "ConvTranspose":
        return "a transposed convolution is not re-fitted"
    if layer.place != 1:
        return "its weights stand on the left"
    if len(tuple(layer.value.uses())) > 1:
        return "its weights are used elsewhere too"
    if layer.array.ndim > 2 and layer.node.op_type == "MatMul":  # noqa: PLR2004  # a matrix
        return "its weights are no matrix"
    return bias_refusal(layer)


def target_of(layer: Weights) -> "ir.Value":
    """Return the value whose error a layer is fitted to: what it makes, behind all that is only added to it."""
    value = layer.node.outputs[0]
    while True:
        user = only_user(value)
        if user is None or user.op_type != "Add" or user.domain not in ONNX:
            return value
        if user.graph is not layer.node.graph or _differs(user.outputs[0], value):
            return value
        value = user.outputs[0]


def powers_of(model: "ir.Model", layers: Sequence[Weights], arrays: Arrays, file: Path) -> dict[str, float]:
    """Return the variance at the layers' targets, summed over their channels, by the layers' names.

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    targets = {name_of(one.node): (str(target_of(one).name), one.result_axis) for one in layers}
    seen = channels_of(model, list(targets.values()), arrays, file)
    return {name: float(seen[target].variance.sum()) for name, (target, _) in targets.items()}


def _differs(one: "ir.Value", other: "ir.Value") -> bool:
    return one.shape is None or other.shape is None or tuple(one.shape) != tuple(other.shape)


def highest_behind(layer: Weights) -> float | None:
    """Return where the activation behind a layer's target cuts off, infinite for a Relu; None where none does."""
    user = only_user(target_of(layer))
    if user is None or user.domain not in ONNX or user.op_type not in {"Relu", "Clip"}:
        return None
    if user.op_type == "Relu":
        return math.inf
    low, high = bound(user, 1, "min", -math.inf), bound(user, 2, "max", math.inf)
    return high if low == 0 and high > 0 else None


def _most_rows(columns: int) -> int:
    return min(MOST_ROWS, max(_LEAST_ROWS, _A_COLUMN * columns), _MOST_VALUES // columns)


def _task(
    layer: Weights,
    runs: Sequence[tuple[Array, Array, Array]],
    rng: np.random.Generator,
    highest: float | None,
) -> Task:
    """Return the rows of a layer, of every run as many, and what is wanted of them.

    Args:
        layer: the layer.
        runs: what it takes, what is at its target, and what is wanted there.
        rng: chooses rows where there are many.
        highest: of the activation behind the target.
    """
    axis = layer.result_axis
    taken = list[tuple[list[Array], Array, Array]]()
    for given, got, want in runs:
        places = places_in(layer.node, given)
        have, wanted = (np.moveaxis(one, axis, -1).reshape(-1, one.shape[axis]) for one in (got, want))
        most = max(1, _most_rows(places.columns) // len(runs))
        some = rng.choice(places.count, most, replace=False) if places.count > most else np.arange(places.count)
        taken.append((places.rows(some), have[some], wanted[some]))
    turn = min(_CHECKED, len(runs))
    checked = np.concatenate([np.full(len(one[1]), at % turn == turn - 1) for at, one in enumerate(taken)])
    groups, before, after = zip(*taken, strict=True)
    return Task(
        rows=[np.concatenate(one).astype(np.float32) for one in zip(*groups, strict=True)],
        have=np.concatenate(before).astype(np.float32),
        wanted=np.concatenate(after).astype(np.float32),
        checked=checked,
        highest=highest,
    )
