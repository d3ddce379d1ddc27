"""Whole blocks of a net left out: those that the outputs miss least."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.compress.blocks import Block, blocks_of, layers_of, shapes_seen
from edgekit_converters.compress.channel_refit import refit
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.output_damage import bypass, relative_error
from edgekit_converters.compress.walk import affordable
from edgekit_converters.errors import CalibrationError
from edgekit_converters.graph.proof import outputs
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import outputs_of
from edgekit_converters.graph.weights import weights_of
from edgekit_converters.model import Arrays
from edgekit_converters.precisions import Options, choice, flag, number

if TYPE_CHECKING:
    import onnx_ir as ir

LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_NONE = "it has no block that begins and ends with the same shape and that all paths lead through"


class PruneLayers:
    """Blocks are tried one by one on calibration data; the least missed is left out, and the others tried again.

    Gromov et al., "The unreasonable ineffectiveness of the deeper layers" (2024) and Men et al., "ShortGPT" (2024)
    leave out transformer layers by what they do to hidden states; here the outputs decide, so that residual blocks of
    convolutional nets are the same case.
    """

    name = "prune-layers"
    help = "leave out residual blocks or encoder layers that the outputs miss least"
    exact = False
    options: Options = MappingProxyType(
        {
            "count": number(0, 0, 10_000, "how many blocks go; 0: as many as ratio or error say"),
            "ratio": number(0.0, 0.0, 1.0, "share of the blocks that go"),
            "error": number(0.0, 0.0, 10.0, "the largest relative error of the outputs; 0: any"),
            "unit": choice("block", "layer", text="a block, or what repeats: attention and feed-forward net together"),
            "samples": number(64, 1, 1_000_000, "calibration samples that blocks are tried on"),
            "refit": flag("fit the layers behind a gap by least squares"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Samples to measure the outputs on."""
        return frozenset({"calibration"})

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse a step that says no number, and models without blocks."""
        if not (values["count"] or values["ratio"] or values["error"]):
            return "it does not say how many blocks go: give count=, ratio= or error="
        blocks = _blocks(model, values, setting)
        allowed = _allowed(blocks, setting)
        if not blocks:
            return _NONE
        if not allowed:
            return f"the layers named are in none of its blocks: {', '.join(one.name for one in blocks[:8])}"
        wanted = int(values["count"])
        return f"it has {len(allowed)} blocks, not {wanted}" if wanted > len(allowed) else None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Leave out blocks, greedily; report the outputs' error behind each."""
        search = _Search(model, setting, int(values["samples"]))
        bound = float(values["error"])
        total = len(_allowed(_blocks(model, values, setting), setting))
        wanted = max(int(values["count"]), int(float(values["ratio"]) * total)) or total
        changes, behind, left = list[Change](), list[str](), list[Left]()
        while len(changes) < wanted:
            blocks = _blocks(model, values, setting)
            best = min(search.trials(_allowed(blocks, setting)), key=lambda one: one.error, default=None)
            if best is None or (bound and best.error > bound):
                why = f"without it the outputs would change by more than error={bound:g}"
                left = [Left(layer=one.name, why=why) for one in _allowed(blocks, setting)]
                break
            behind += _following(model, best, blocks)
            changes.append(_left_out(model, best))
        figures = {"blocks": total, "output_error": search.error(model)}
        if values["refit"] and changes:
            fitted, kept = search.refitted(model, behind, setting)
            changes, left = changes + fitted, left + kept
            figures["output_error_refitted"] = search.error(model)
        return Effect(changes=tuple(changes), left=tuple(left), figures=figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    block: Block
    left: str
    error: float


def _left_out(model: "ir.Model", trial: _Trial) -> Change:
    gone = sum(int(one.array.size) for one in weights_of(model) if one.node in trial.block.nodes)
    bypass(model, trial.block.entry, trial.left)
    infer_shapes(model)
    figures = {"output_error": trial.error, "parameters": gone}
    return Change(layer=trial.block.name, what=f"left out up to '{trial.left}'", figures=figures)


class _Search:
    """Tries what a model gives without a block."""

    def __init__(self, model: "ir.Model", setting: Setting, samples: int) -> None:
        self._samples: Arrays = _first(setting, samples)
        self._work = setting.work
        self._original = model.clone()
        self._wanted = outputs(model, self._samples, self._work / "wanted.onnx")
        self._model = model

    def error(self, model: "ir.Model") -> float:
        return relative_error(outputs(model, self._samples, self._work / "tried.onnx"), self._wanted)

    def trials(self, blocks: Sequence[Block]) -> list[_Trial]:
        return [
            _Trial(block=block, left=left, error=self._without(block.entry, left))
            for block in blocks
            for left in block.exits
        ]

    def _without(self, entry: str, left: str) -> float:
        tried = self._model.clone()
        bypass(tried, entry, left)
        return self.error(tried)

    def refitted(self, model: "ir.Model", names: Sequence[str], setting: Setting) -> tuple[list[Change], list[Left]]:
        """Fit the layers of these names that are left."""
        layers = {
            one: np.ones(outputs_of(one), bool)
            for one in weights_of(model, LAYERS)
            if one.place == 1 and name_of(one.node) in names
        }
        samples = affordable(model, _samples(setting))
        fitted, left = refit(model, self._original, layers, samples, setting.seed)
        done = [
            Change(layer=one.layer, what="re-fitted", figures={"error_before": one.before, "error": one.after})
            for one in fitted
        ]
        return done, left


def _following(model: "ir.Model", trial: _Trial, blocks: Sequence[Block]) -> list[str]:
    """Return the names of the first layers behind a block, those of the next block only: what they take changes."""
    layers = {id(one.node): one for one in weights_of(model, LAYERS) if one.place == 1}
    inside = {id(node) for one in blocks if one.entry in trial.block.exits for node in one.nodes}
    inside |= {id(node) for node in trial.block.nodes} if inside else set()
    (value,) = (one for node in model.graph for one in node.outputs if one.name == trial.left)
    found, seen, waiting = list[str](), set[int](), [value]
    while waiting:
        for use in waiting.pop().uses():
            if id(use.node) in seen or (inside and id(use.node) not in inside):
                continue
            seen.add(id(use.node))
            if id(use.node) in layers:
                found.append(name_of(use.node))
            else:
                waiting += use.node.outputs
    return found


def _blocks(model: "ir.Model", values: Values, setting: Setting) -> list[Block]:
    shapes = shapes_seen(model, _samples(setting), setting.work / "shapes.onnx")
    found = blocks_of(model, shapes)
    return layers_of(found) if values["unit"] == "layer" else found


def _allowed(blocks: Sequence[Block], setting: Setting) -> list[Block]:
    may: Callable[[Block], bool] = lambda block: any(map(setting.may_change, block.nodes))  # noqa: E731
    return [one for one in blocks if may(one)]


def _first(setting: Setting, count: int) -> Arrays:
    return {name: array[:count] for name, array in _samples(setting).items()}


def _samples(setting: Setting) -> Arrays:
    if setting.calibration is None:
        raise CalibrationError("blocks are chosen on calibration data, and there is none")
    return setting.calibration
