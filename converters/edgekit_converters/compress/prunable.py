"""The weights that single zeros can be put into, taken together where layers share them, and why others cannot."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress import matrices
from edgekit_converters.compress.base import Left, Setting
from edgekit_converters.compress.moments import Moments, moments_of
from edgekit_converters.compress.sparse_patterns import Pattern
from edgekit_converters.graph.biases import WITH_BIAS, bias_refusal
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Reals, Weights, is_constant, only_user, weights_of

if TYPE_CHECKING:
    import onnx_ir as ir

_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})
_WIDEST = 8192  # columns whose XᵀX is inverted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prunable:
    """Weights of a layer, or of several that share them."""

    users: tuple[Weights, ...]
    values: Reals
    """[groups, outputs, columns]; all in one row where they are no matrices."""
    form: matrices.Matrices | None
    moments: tuple[tuple[Moments, ...], ...] = field(default=())
    """Of what every user takes, one a group."""

    @property
    def name(self) -> str:
        """The first layer's."""
        return name_of(self.users[0].node)

    @property
    def has_biases(self) -> bool:
        """Whether every layer has a bias that a shift of its mean can go into."""
        return all(map(_has_bias, self.users))

    def array(self, values: Reals) -> Reals:
        """Return other values as an array of the stored weights' shape."""
        return self.form.array(values) if self.form else values.reshape(self.users[0].array.shape)

    def gram(self, *, centred: bool) -> Reals:
        """Return XᵀX [groups, columns, columns] of all layers' inputs, or of their differences from their means."""
        every = [np.stack([_gram(one, centred=centred) for one in own]) for own in self.moments]
        order = self._order()
        return np.asarray(sum(every), np.float64)[:, order[:, None], order]

    def means(self) -> list[Reals]:
        """Return the means [groups, columns] of what each layer takes."""
        return [np.stack([one.total / max(one.count, 1) for one in own])[:, self._order()] for own in self.moments]

    def _order(self) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        if self.form is None:
            raise AssertionError("moments are of matrices")
        return self.form.order


def found(
    model: "ir.Model", pattern: Pattern, setting: Setting, *, observed: bool
) -> tuple[list[Prunable], list[Left]]:
    """Return the weights that a pattern can be put into, and why others cannot.

    Args:
        model: with inferred shapes; it is not changed.
        pattern: how zeros will lie.
        setting: with the layers that may be changed.
        observed: whether it must be known what layers take.
    """
    by_value: dict[int, list[Weights]] = {}
    for one in weights_of(model, _OPS):
        by_value.setdefault(id(one.value), []).append(one)
    layers, left = [], []
    for users in by_value.values():
        if not any(setting.may_change(one.node) for one in users):
            continue
        free = pattern.text == "none" and not observed
        why = _taken(users, setting) or ("" if free else _formless(model, users, pattern, observed=observed))
        if why:
            left.append(Left(layer=name_of(users[0].node), why=why))
            continue
        form = None if free else matrices.matrices_of(users[0])
        values = form.values if form else users[0].array.reshape(1, 1, -1)
        layers.append(Prunable(users=tuple(users), values=values, form=form))
    return layers, left


def with_moments(model: "ir.Model", layers: Iterable[Prunable], setting: Setting) -> list[Prunable]:
    """Return the layers with the moments of what they take on the calibration data.

    Raises:
        CalibrationError: if the model stops on it.
    """
    these = list(layers)
    users = [user for one in these for user in one.users]
    seen = moments_of(model, users, setting.calibration or {}, setting.work / "moments.onnx", setting.seed)
    return [
        Prunable(
            users=one.users,
            values=one.values,
            form=one.form,
            moments=tuple(tuple(seen[name_of(user.node)]) for user in one.users),
        )
        for one in these
    ]


def _taken(users: list[Weights], setting: Setting) -> str:
    value = users[0].value
    other = next((use.node for use in value.uses() if all(use.node is not one.node for one in users)), None)
    if other is not None:
        return f"its weights are taken by '{name_of(other)}' too"
    if value.is_graph_output():
        return "its weights are an output of the model"
    if not all(setting.may_change(one.node) for one in users):
        return "its weights are shared with a layer that is not to be changed"
    if not np.isfinite(users[0].array).all():
        return "its weights hold values that are no numbers"
    return ""


def _formless(model: "ir.Model", users: list[Weights], pattern: Pattern, *, observed: bool) -> str:
    why = next((why for why in map(matrices.why_not, users) if why), "")
    if why:
        return why
    first, *others = map(matrices.matrices_of, users)
    if any(one.values.shape != first.values.shape or one.layer.axis != first.layer.axis for one in others):
        return "its weights are shared with a layer that takes them in another form"
    _, outputs, columns = first.values.shape
    if observed and any(one.node.graph is not model.graph for one in users):
        return "it is inside a branch or loop"
    if observed and columns > _WIDEST:
        return f"it takes {columns} values: the damage is computed for at most {_WIDEST}"
    return pattern.why_not(outputs, first.channels)


def _has_bias(weights: Weights) -> bool:
    if weights.node.op_type in WITH_BIAS:
        return not bias_refusal(weights)
    if weights.place != 1:
        return False
    user = only_user(weights.node.outputs[0])
    width = (weights.array.shape[1 if weights.axis else 0],)
    added = user.inputs if user is not None and user.op_type == "Add" else ()
    return any(one is not None and is_constant(one) and one.const_value.shape[-1:] == width for one in added)  # type: ignore[union-attr]


def _gram(moments: Moments, *, centred: bool) -> Reals:
    if not centred or not moments.count:
        return moments.gram
    return np.asarray(moments.gram - np.outer(moments.total, moments.total) / moments.count, np.float64)
