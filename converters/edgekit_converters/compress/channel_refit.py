"""Closed-form re-fit: the weights a changed model's layers need to give what the original's layers gave.

A layer's rows X' are what it really takes behind everything that was changed before it; E is what is missing at its
result, of what the original model has there. Weights and bias get the least-squares answer of X' dW + db = E, layer
after layer in the order of the graph, so that each repairs what those before it left (after He, Zhang and Sun 2017,
"Channel Pruning for Accelerating Very Deep Neural Networks", section 3.1, with the original's values on both sides of
a residual sum). No gradients are needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Left, name_of
from edgekit_converters.compress.groups.ties import Mask
from edgekit_converters.compress.moments import MOST_ROWS, rows_in
from edgekit_converters.compress.walk import Walk
from edgekit_converters.graph.biases import add_to_bias, bias_refusal
from edgekit_converters.graph.channels import channels_of
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.weights import Reals, Weights, only_user, replaced
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""How strongly weights are held where they are, as shares of the rows' mean power; what fits rows kept out is used."""
_ROWS, _LEAST_ROWS = 32, 1 << 12
"""Rows a column that are looked at at most, and rows that always are if they are there."""
_CHECKED = 4
"""Every so many runs one is kept out of the fit, to choose the ridge by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refitted:
    """A layer that was re-fitted: the error at its result before and after, on rows it was not fitted to.

    Both are shares of the original's variance there.
    """

    layer: str
    before: float
    after: float


@dataclass(slots=True)
class _Sums:
    """Sums over rows X [n, columns] and errors E [n, outputs], of one group."""

    count: float
    x: Reals
    e: Reals
    xx: Reals
    xe: Reals
    ee: float

    @classmethod
    def of(cls, x: Reals, e: Reals) -> "_Sums":
        return cls(float(len(x)), x.sum(0), e.sum(0), x.T @ x, x.T @ e, float((e**2).sum()))

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.count + other.count,
            self.x + other.x,
            self.e + other.e,
            self.xx + other.xx,
            self.xe + other.xe,
            self.ee + other.ee,
        )

    def solved(self, ridge: float) -> tuple[Reals, Reals]:
        """Return dW [columns, outputs] and db [outputs]."""
        mean_x, mean_e = self.x / self.count, self.e / self.count
        power = self.xx / self.count - np.outer(mean_x, mean_x)
        cross = self.xe / self.count - np.outer(mean_x, mean_e)
        held = ridge * float(np.trace(power)) / len(mean_x) + np.finfo(np.float32).tiny
        weights = np.linalg.solve(power + held * np.eye(len(mean_x)), cross)
        return np.asarray(weights, np.float64), mean_e - mean_x @ weights

    def error(self, weights: Reals, bias: Reals) -> float:
        """Return the sum of squares that X dW + db leaves of E."""
        cross = float((self.xe * weights).sum()) + float(self.e @ bias)
        square = float(((self.xx @ weights) * weights).sum()) + 2 * float(self.x @ weights @ bias)
        return self.ee - 2 * cross + square + self.count * float(bias @ bias)


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
        seed: of the choice of rows where there are more than `MOST_ROWS`.

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
        then.to(makers[target])
        runs = zip(
            now.values[str(layer.node.inputs[0].name)],  # type: ignore[union-attr]  # it is there
            now.ahead(maker, target),
            then.ahead(makers[target], target),
            strict=True,
        )
        fitted = _fitted(_rows(layer, list(runs), mask, rng))
        then.forget(target)
        if fitted is None:
            left.append(Left(layer=name, why="no re-fit lowers its error on samples kept out of it"))
        else:
            _write(model, layer, *fitted.delta)
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


def _rows(
    layer: Weights, runs: Sequence[tuple[Array, Array, Array]], mask: Mask, rng: np.random.Generator
) -> Iterator[tuple[list[Reals], Reals, Reals]]:
    """Yield of every run the rows of each group, the errors [n, outputs], and what the original has [n, outputs].

    Args:
        layer: the layer.
        runs: what it takes, what is at its target, and what the original has there.
        mask: which of the original's output channels it still has.
        rng: chooses rows where there are more than `MOST_ROWS`.
    """
    axis = _axis(layer)
    for given, got, want in runs:
        rows = rows_in(layer.node, given)
        most = max(1, min(MOST_ROWS, max(_LEAST_ROWS, _ROWS * rows[0].shape[1])) // len(runs))
        wanted = want if mask.all() else np.compress(mask, want, axis=axis)
        errors, targets = (
            np.moveaxis(one, axis, -1).reshape(-1, one.shape[axis]).astype(np.float64)
            for one in (np.subtract(wanted, got), wanted)
        )
        if len(targets) > most:
            some = rng.choice(len(targets), most, replace=False)
            rows, errors, targets = [one[some] for one in rows], errors[some], targets[some]
        yield [one.astype(np.float64) for one in rows], errors, targets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """dW [columns, outputs of a group] of every group, db [outputs], and errors as in `Refitted`."""

    delta: tuple[list[Reals], Reals]
    before: float
    after: float


def _fitted(rows: Iterator[tuple[list[Reals], Reals, Reals]]) -> _Fit | None:
    """Return the fit; None where no ridge lowers the error on rows kept out."""
    sums: dict[bool, list[_Sums]] = {}
    spread = list[Reals]()  # of the original's values: squares, then their sums
    for at, (each, errors, targets) in enumerate(rows):
        groups = np.split(errors, len(each), axis=1)
        here = [_Sums.of(x, e) for x, e in zip(each, groups, strict=True)]
        out = at % _CHECKED == _CHECKED - 1
        sums[out] = [a + b for a, b in zip(sums[out], here, strict=True)] if out in sums else here
        spread.append(np.array([(targets**2).sum(), *targets.sum(0)]))
    inside, outside = sums[False], sums.get(True, sums[False])
    tried = [sum(out.error(*one.solved(ridge)) for one, out in zip(inside, outside, strict=True)) for ridge in RIDGES]
    before, after = sum(one.ee for one in outside), min(tried)
    if not after < before:
        return None
    every = [a + b for a, b in zip(inside, outside, strict=True)] if True in sums else inside
    solved = [one.solved(RIDGES[tried.index(after)]) for one in every]
    squares, *totals = np.sum(spread, axis=0)
    count = every[0].count
    power = float(squares - np.square(totals).sum() / count) * outside[0].count / count
    share = max(power, float(np.finfo(np.float32).tiny))
    delta = [weights for weights, _ in solved], np.concatenate([bias for _, bias in solved])
    return _Fit(delta=delta, before=before / share, after=after / share)


def _write(model: "ir.Model", layer: Weights, weights: list[Reals], bias: Reals) -> None:
    """Add a fit to a layer's weights and bias."""
    array = layer.array
    if layer.node.op_type == "Conv":
        added = np.concatenate([one.T for one in weights]).reshape(array.shape)
    else:
        (one,) = weights
        added = one if layer.axis == 1 else one.T
        if layer.node.op_type == "Gemm":
            added = added / (layer.node.attributes.get_float("alpha", 1.0) or 1.0)
    replaced(layer.value, array + added)
    add_to_bias(model, layer, bias)
