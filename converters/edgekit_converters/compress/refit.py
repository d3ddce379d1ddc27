"""Layers fitted anew, in closed form, so that a changed model gives what the unchanged one gave at their outputs.

For the rows X a layer takes now and the outputs Y it gave before, the weights are the ridge solution around those
there are, W + (XᵀX + λI)⁻¹ Xᵀ(Y - XW): on the rows looked at, its error is never larger than that of W.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import name_of
from edgekit_converters.compress.moments import MOST_ROWS, rows_in
from edgekit_converters.graph.biases import WITH_BIAS, bias_of, constant, free_name, set_bias
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.observing import observe
from edgekit_converters.graph.weights import Reals, Weights, is_constant, only_user, replaced
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

RIDGE = 1e-3
"""Of the mean power of the columns: what keeps columns that say the same from taking large weights of either sign."""
LAYERS = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The error of a layer's output before and after, relative to what the output should be (0: equal)."""

    layer: str
    before: float
    after: float


@dataclass(slots=True)
class _Sums:
    gram: Reals  # XᵀX, a column of ones behind the others
    cross: Reals  # XᵀR of the residuals R
    residual: float
    power: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What layers are fitted to: what they gave in the model as it was, on samples."""

    original: "ir.Model"
    """The model as it was, whose layers' outputs have the same names."""
    samples: Arrays
    """[N, ...] by input name."""
    folder: Path
    """For scratch files."""
    seed: int = 0
    """Of the choice of rows where there are more than `moments.MOST_ROWS`."""


def refit(model: "ir.Model", layers: Sequence[Weights], wanted: Wanted) -> list[Fit]:
    """Fit layers anew, one after the other: each takes what those fitted before it give.

    Args:
        model: with inferred shapes; changed in place.
        layers: of `model`, in the order of its nodes, their weights in place 1.
        wanted: what they should give.

    Raises:
        CalibrationError: if a model stops on the samples.
    """
    return [_refitted(model, one, wanted) for one in layers]


def _refitted(model: "ir.Model", layer: Weights, wanted: Wanted) -> Fit:
    matrices = _matrices(layer)
    inner = bias_of(layer) if layer.node.op_type in WITH_BIAS else None
    added = added_bias(layer.node)
    outputs = sum(one.shape[1] for one in matrices)
    offsets = np.split(np.zeros(outputs) if inner is None else inner, len(matrices))
    sums: list[_Sums] = []
    for rows, outcome in _pairs(model, layer, wanted):
        for group, (x, y) in enumerate(zip(rows, np.split(outcome, len(rows), axis=1), strict=True)):
            if len(sums) <= group:
                sums.append(_Sums(np.zeros((x.shape[1] + 1,) * 2), np.zeros((x.shape[1] + 1, y.shape[1])), 0.0, 0.0))
            _count(sums[group], x, y - x @ matrices[group] - offsets[group], y)
    made = [_solved(one, fixed=inner is None and added is None) for one in sums]
    _store(model, layer, [matrix + step[:-1] for matrix, step in zip(matrices, made, strict=True)])
    shift = np.concatenate([step[-1] for step in made])
    if inner is not None:
        set_bias(model, layer, inner + shift)
    elif added is not None:
        stored = added.value.const_value.numpy()  # type: ignore[union-attr]  # it is constant
        own_weights(model, added, np.broadcast_to(stored, (*stored.shape[:-1], outputs)) + shift)
    power = sum(one.power for one in sums) or 1.0
    after = sum(_left(one, step) for one, step in zip(sums, made, strict=True))
    before = sum(one.residual for one in sums)
    return Fit(layer=name_of(layer.node), before=(before / power) ** 0.5, after=(max(after, 0.0) / power) ** 0.5)


def _pairs(model: "ir.Model", layer: Weights, wanted: Wanted) -> Iterator[tuple[list[Reals], Reals]]:
    """Yield the rows a layer takes now, a matrix a group, and what it gave for them [n, outputs]."""
    rng = np.random.default_rng(wanted.seed)
    samples = max((len(array) for array in wanted.samples.values()), default=1)
    taken, given = str(layer.node.inputs[0].name), str(layer.node.outputs[0].name)  # type: ignore[union-attr]
    now = observe(model, [taken], wanted.samples, wanted.folder / "now.onnx")
    before = observe(wanted.original, [given], wanted.samples, wanted.folder / "before.onnx")
    for here, there in zip(now, before, strict=True):
        rows, outcome = rows_in(layer.node, here[taken]), _outputs(layer.node, there[given])
        most = max(1, MOST_ROWS * len(here[taken]) // max(samples, 1))
        some = rng.choice(len(outcome), most, replace=False) if len(outcome) > most else slice(None)
        yield [one[some].astype(np.float64) for one in rows], outcome[some].astype(np.float64)


def _outputs(node: "ir.Node", array: Array) -> Array:
    """Return what a layer gives as [n, outputs], in the order of its rows."""
    last = np.moveaxis(array, 1, -1) if node.op_type == "Conv" else array
    return last.reshape(-1, last.shape[-1])


def _count(sums: _Sums, x: Reals, residual: Reals, wanted: Reals) -> None:
    with_ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    sums.gram += with_ones.T @ with_ones
    sums.cross += with_ones.T @ residual
    sums.residual += float((residual**2).sum())
    sums.power += float((wanted**2).sum())


def _solved(sums: _Sums, *, fixed: bool) -> Reals:
    """Return the step [columns + 1, outputs] to take; with a fixed bias its last row is zero."""
    step = np.zeros_like(sums.cross)
    columns = len(step) - 1 if fixed else len(step)
    gram = sums.gram[:columns, :columns]
    ridge = RIDGE * max(float(np.trace(gram)) / max(columns, 1), 1e-12)
    step[:columns] = np.linalg.solve(gram + ridge * np.eye(columns), sums.cross[:columns])
    return step


def _left(sums: _Sums, step: Reals) -> float:
    """Return the squared residual behind a step."""
    return sums.residual - 2 * float((step * sums.cross).sum()) + float((step * (sums.gram @ step)).sum())


def _matrices(layer: Weights) -> list[Reals]:
    """Return what multiplies the rows, [columns, outputs] a group."""
    node, array = layer.node, layer.array
    if node.op_type == "Conv":
        groups = node.attributes.get_int("group", 1) or 1
        return [one.reshape(len(one), -1).T for one in np.split(array, groups)]
    alpha = node.attributes.get_float("alpha", 1.0) or 0.0 if node.op_type == "Gemm" else 1.0
    return [alpha * (array if layer.axis == 1 else array.T)]


def _store(model: "ir.Model", layer: Weights, matrices: Sequence[Reals]) -> None:
    node, like = layer.node, layer.array
    if node.op_type == "Conv":
        array = np.concatenate([one.T for one in matrices]).reshape(like.shape)
    else:
        array = matrices[0] if layer.axis == 1 else matrices[0].T
        if node.op_type == "Gemm":
            import onnx_ir as ir

            node.attributes["alpha"] = ir.AttrFloat32("alpha", 1.0)
    own_weights(model, layer, array)


def added_bias(node: "ir.Node") -> Weights | None:
    """Return the constant, a value a channel or a single one, that alone is added to what a MatMul gives."""
    user = only_user(node.outputs[0])
    if node.op_type != "MatMul" or user is None or user.op_type != "Add" or user.domain not in ONNX:
        return None
    place = 1 if user.inputs[0] is node.outputs[0] else 0
    value = user.inputs[place]
    if value is None or not is_constant(value):
        return None
    shape = value.const_value.shape.numpy()  # type: ignore[union-attr]  # it is constant
    plain = len(shape) > 0 and all(size == 1 for size in shape[:-1])
    return Weights(node=user, place=place, value=value, axis=len(shape) - 1) if plain else None


def own_weights(model: "ir.Model", layer: Weights, array: Reals) -> None:
    """Give a layer other weights, of any shape; stored ones that others use too stay theirs."""
    if len(tuple(layer.value.uses())) == 1 and layer.value.const_value.shape.numpy() == array.shape:  # type: ignore[union-attr]  # weights are stored
        replaced(layer.value, array)
        return
    value = constant(free_name(model, f"{layer.value.name}/fitted"), array, layer.value)
    model.graph.register_initializer(value)
    layer.node.replace_input_with(layer.place, value)
