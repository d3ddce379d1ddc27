"""Closed-form re-fit: the weights a changed model's layers need to give what the original's layers gave.

A layer's rows X' are what it really takes behind everything that was changed before it; E is what is missing at its
result, of what the original model has there. Weights and bias get the least-squares answer of X' dW + db = E, layer
after layer in the order of the graph, so that each repairs what those before it left (after He, Zhang and Sun 2017,
"Channel Pruning for Accelerating Very Deep Neural Networks", section 3.1, with the original's values on both sides of
a residual sum). No gradients are needed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Left, name_of
from edgekit_converters.compress.groups.ties import Mask
from edgekit_converters.compress.least_squares import Fit, Task, fit
from edgekit_converters.compress.moments import MOST_ROWS, places_in
from edgekit_converters.compress.walk import Walk
from edgekit_converters.graph.biases import add_to_bias, bias_refusal
from edgekit_converters.graph.channels import channels_of
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import bound
from edgekit_converters.graph.weights import Weights, only_user, replaced
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


def refit(
    model: "ir.Model",
    original: "ir.Model",
    layers: Mapping[Weights, Mask],
    arrays: Arrays,
    seed: int = 0,
) -> tuple[list[Refitted], list[Left]]:
    """Re-fit layers in place, in the order they are given, which is the graph's.

    Args:
        model: the changed model, with inferred shapes; its values are named as the original's.
        original: as it was.
        layers: of the changed model, with which of the original's output channels each still has.
        arrays: calibration samples as `data.bind` gives them.
        seed: of the choice of rows where there are more than are looked at.

    Returns:
        The layers that were re-fitted and those that were not, with why.

    Raises:
        CalibrationError: if a model stops on the samples.
    """
    targets = {name_of(one.node): target_of(one) for one in layers}
    names = {layer: str(one.name) for layer, one in targets.items()}
    now, then = Walk(model, arrays), Walk(original, arrays, keep=names.values())
    makers = {str(one.name): node for node in original.graph for one in node.outputs}
    done, left = list[Refitted](), list[Left]()
    rng = np.random.default_rng(seed)
    for layer, mask in layers.items():
        name = name_of(layer.node)
        target, maker = names[name], targets[name].producer()
        why = refusal(layer)
        if why or maker is None:
            left.append(Left(layer=name, why=why))
            continue
        now.to(layer.node)
        then.past(makers[target])
        runs = zip(
            now.values[str(layer.node.inputs[0].name)],  # type: ignore[union-attr]  # it is there
            now.ahead(maker, target),
            then.values[target],
            strict=True,
        )
        fitted = fit(_task(layer, list(runs), mask, rng, _highest(targets[name])))
        then.forget(target)
        if fitted is None:
            left.append(Left(layer=name, why="no re-fit lowers its error on samples kept out of it"))
        else:
            _write(model, layer, fitted)
            done.append(Refitted(layer=name, before=fitted.before, after=fitted.after))
    return done, left


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
    targets = {name_of(one.node): (str(target_of(one).name), _axis(one)) for one in layers}
    seen = channels_of(model, list(targets.values()), arrays, file)
    return {name: float(seen[target].variance.sum()) for name, (target, _) in targets.items()}


def _axis(layer: Weights) -> int:
    """Return the axis of a layer's result that its output channels lie on."""
    if layer.node.op_type in {"Conv", "ConvTranspose"}:
        return 1
    return -1 if layer.place == 1 else -2


def _differs(one: "ir.Value", other: "ir.Value") -> bool:
    return one.shape is None or other.shape is None or tuple(one.shape) != tuple(other.shape)


def _highest(target: "ir.Value") -> float | None:
    """Return where the activation behind a target cuts off, infinite for a Relu; None where there is none of these."""
    user = only_user(target)
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
    mask: Mask,
    rng: np.random.Generator,
    highest: float | None,
) -> Task:
    """Return the rows of a layer, of every run as many, and what is wanted of them.

    Args:
        layer: the layer.
        runs: what it takes, what is at its target, and what the original has there.
        mask: which of the original's output channels it still has.
        rng: chooses rows where there are many.
        highest: of the activation behind the target.
    """
    axis = _axis(layer)
    taken = list[tuple[list[Array], Array, Array]]()
    for given, got, want in runs:
        places = places_in(layer.node, given)
        have, wanted = (
            np.moveaxis(one, axis, -1).reshape(-1, int(mask.sum()))
            for one in (got, want if mask.all() else np.compress(mask, want, axis=axis))
        )
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


def _write(model: "ir.Model", layer: Weights, fitted: Fit) -> None:
    """Add a fit to a layer's weights and bias."""
    array = layer.array
    if layer.node.op_type == "Conv":
        added = np.concatenate([one.T for one in fitted.weights]).reshape(array.shape)
    else:
        (one,) = fitted.weights
        added = one if layer.axis == 1 else one.T
        if layer.node.op_type == "Gemm":
            added = added / (layer.node.attributes.get_float("alpha", 1.0) or 1.0)
    replaced(layer.value, array + added)
    add_to_bias(model, layer, fitted.bias)
