"""Attention heads taken out of an encoder or decoder, columns and rows and all."""

import contextlib
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.calibration import random_calibration
from edgekit_converters.compress.attention.head_cutting import cut
from edgekit_converters.compress.attention.head_scores import Losses, taken
from edgekit_converters.compress.attention.heads import Heads, heads_of, shared_layers
from edgekit_converters.compress.attention.layer_weights import own_weights
from edgekit_converters.compress.attention.opening import open_attention
from edgekit_converters.compress.attention.pattern import Attention, NotMatchedError, attentions_of
from edgekit_converters.compress.attention.settled import settle, two_batches
from edgekit_converters.compress.attention.tracing import Shapes
from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.compress.blocks import shapes_seen
from edgekit_converters.compress.channel_refit import Refitted, refit
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.moments import moments_of
from edgekit_converters.compress.walk import affordable
from edgekit_converters.errors import CalibrationError, UnsupportedError
from edgekit_converters.graph.model import dimensions, inputs_of, specs
from edgekit_converters.graph.proof import outputs, prove
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import outputs_of
from edgekit_converters.graph.weights import weights_of
from edgekit_converters.model import Arrays
from edgekit_converters.precisions import Options, choice, number

if TYPE_CHECKING:
    import onnx_ir as ir

_PROVED_ON = 8  # samples
_ALL = 0.99


class PruneHeads:
    """Heads that the layer behind them misses least go; that layer is fitted to make up for them.

    Michel et al., "Are sixteen heads really better than one?" (2019) take heads out by the loss' gradients; here what
    the layer behind loses on calibration data decides, so that no training framework is needed.
    """

    name = "prune-heads"
    help = "take out attention heads that are missed least"
    exact = False
    options: Options = MappingProxyType(
        {
            "ratio": number(0.25, 0.0, _ALL, "share of the heads that go"),
            "scope": choice("global", "layer", text="of all heads together, or of each attention's"),
            "by": choice("obs", "activation", "l2", text="what a head is worth: behind a re-fit, by what it puts in"),
            "refit": choice("on", "off", text="whether the layers behind are fitted anew"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:
        """Samples, but for choosing by weights alone without a re-fit."""
        return frozenset({"calibration"} if values["by"] != "l2" or values["refit"] == "on" else set())

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse models without heads, and a ratio that means none of them."""
        found, left, _ = _found(model.clone(), setting)
        if not found:
            why = f"{left[0].why} (softmax '{left[0].layer}')" if left else "it has no softmax"
            return f"it has no attention whose heads can be taken out: {why}"
        counts = [one.count for one in found]
        most = max(counts) if values["scope"] == "layer" else sum(counts)
        none = int(float(values["ratio"]) * most) == 0
        return f"ratio={values['ratio']} of {most} heads is none" if none else None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Take heads out, prove that nothing else changed, and fit the layers behind."""
        found, left, shapes = _found(model, setting)
        losses = _losses(model, found, str(values["by"]), setting)
        chosen = taken(losses, float(values["ratio"]), everywhere=values["scope"] == "layer")
        original = model.clone()
        _cut_all(model, found, [gone for gone, _ in chosen], shapes, setting)
        fits: dict[str, Refitted] = {}
        if values["refit"] == "on":
            names = {name_of(one.out.node) for one, (gone, _) in zip(found, chosen, strict=True) if gone}
            layers = {
                one: np.ones(outputs_of(one), bool)
                for one in weights_of(model)
                if one.place == 1 and name_of(one.node) in names
            }
            samples = affordable(model, _samples(model, setting))
            fitted, kept = refit(model, original, layers, samples, setting.seed)
            fits = {one.layer: one for one in fitted}
            left += kept
        changes = [
            Change(
                layer=one.attention.name,
                what=f"{one.count - len(gone)} of {one.count} heads left",
                figures={"loss": cost, **_figures(fits.get(name_of(one.out.node)))},
            )
            for one, (gone, cost) in zip(found, chosen, strict=True)
            if gone
        ]
        figures = {"heads": sum(one.count for one in found), "heads_gone": sum(len(gone) for gone, _ in chosen)}
        return Effect(changes=tuple(changes), left=tuple(left), figures=figures)


def _figures(fit: Refitted | None) -> dict[str, float]:
    return {} if fit is None else {"error_before_refit": fit.before, "error": fit.after}


def _found(model: "ir.Model", setting: Setting) -> tuple[list[Heads], list[Left], Shapes]:
    """Return the attentions whose heads can be taken out, why others cannot, and the shapes of a run.

    What they are written with is made simple first, in place.
    """
    samples = _samples(model, setting)
    open_attention(model)
    if all(None not in size[1:] for size in map(dimensions, inputs_of(model))):
        with contextlib.suppress(UnsupportedError):  # random inputs are nothing it can be run with: it stays as written
            settle(model, two_batches(model, setting.seed))
        infer_shapes(model)
    seen = shapes_seen(model, samples, setting.work / "shapes.onnx")
    shapes = {name: one[0] for name, one in seen.items()}
    found: list[Heads] = []
    left: list[Left] = []
    for one in attentions_of(model):
        if not isinstance(one, Attention):
            left.append(Left(layer=one.name, why=one.why))
            continue
        try:
            heads = heads_of(model, one, shapes)
        except NotMatchedError as exc:
            left.append(Left(layer=one.name, why=str(exc)))
            continue
        if any(map(setting.may_change, heads.nodes)):
            found.append(heads)
    shared = shared_layers(found)
    own = [one for one in found if not shared.keys() & {id(node) for node in one.nodes}]
    why = "it shares a layer with another attention"
    left += [Left(layer=one.attention.name, why=why) for one in found if one not in own]
    return own, left, shapes


def _losses(model: "ir.Model", found: Sequence[Heads], by: str, setting: Setting) -> list[Losses]:
    samples = _samples(model, setting)
    moments = moments_of(model, [one.out for one in found], samples, setting.work / "moments.onnx", setting.seed)
    losses = []
    for one in found:
        matrix = one.out.array if one.out.axis == 1 else one.out.array.T
        losses.append(Losses(matrix, one.rows, moments[name_of(one.out.node)][0], by))
    return losses


def _cut_all(
    model: "ir.Model", found: Sequence[Heads], gone: Sequence[list[int]], shapes: Shapes, setting: Setting
) -> None:
    """Take the heads out; the outputs are those of the model whose layers behind take nothing of these heads."""
    tried = {name: array[:_PROVED_ON] for name, array in _samples(model, setting).items()}
    silent = model.clone()
    behind = {name_of(one.node): one for one in weights_of(silent) if one.place == 1}
    for one, some in zip(found, gone, strict=True):
        layer = behind[name_of(one.out.node)]
        array = layer.array
        rows = one.rows[some].ravel().astype(int)
        array[rows if layer.axis == 1 else (slice(None), rows)] = 0.0
        own_weights(silent, layer, array)
    wanted = outputs(silent, tried, setting.work / "silent.onnx")
    try:
        for one, some in zip(found, gone, strict=True):
            if some:
                cut(model, one, some, shapes)
    except NotMatchedError as exc:
        raise UnsupportedError(f"no heads can be taken out of attention '{one.attention.name}': {exc}") from exc
    infer_shapes(model)
    try:
        got = outputs(model, tried, setting.work / "cut.onnx")
    except CalibrationError as exc:
        raise UnsupportedError("no heads can be taken out: the model counts them where it makes shapes") from exc
    prove("model with heads taken out", got, wanted)


def _samples(model: "ir.Model", setting: Setting) -> Arrays:
    """Return the calibration samples, or random ones where shapes alone are asked for."""
    if setting.calibration is not None:
        return setting.calibration
    return random_calibration(specs(inputs_of(model)), setting.seed, 2)
