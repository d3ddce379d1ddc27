"""What a layer's error does to the model's outputs: each layer changed alone, on a few samples."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Setting
from edgekit_converters.compress.lowrank.calibrating import Task
from edgekit_converters.compress.lowrank.ranks import Candidate
from edgekit_converters.compress.lowrank.rewriting import rewrite
from edgekit_converters.compress.lowrank.sites import Site
from edgekit_converters.graph.proof import outputs
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

_SAMPLES = 32
_LEAST = 1e-9
"""Of the outputs' power: damage below it is rounding."""


def damaged(
    model: "ir.Model", given: Mapping[Site, Task], found: Mapping[Site, list[Candidate]], setting: Setting
) -> dict[Site, list[Candidate]]:
    """Return each layer's candidates with the share of the model's output power that they lose.

    It is measured at the one in the middle, so that a budget compares what ranks really do, and grows with the layer's
    error. Without data all layers are worth the same.

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    if setting.calibration is None:
        return dict(found)
    count = min(map(len, setting.calibration.values()))
    some = np.unique(np.linspace(0, count - 1, min(_SAMPLES, count)).astype(int))
    arrays = {name: array[some] for name, array in setting.calibration.items()}
    whole = outputs(model, arrays, setting.work / "damage.onnx")
    made = dict[Site, list[Candidate]]()
    for site, ones in found.items():
        middle = sorted(ones, key=lambda one: one.parameters)[len(ones) // 2 :][:1]
        price = sum(_price(model, one, given[site], arrays, whole, setting) for one in middle)
        made[site] = [replace(one, damage=price * one.error) for one in ones]
    return made


def _price(  # noqa: PLR0913, PLR0917  # a layer, and what it is run on
    model: "ir.Model",
    one: Candidate,
    task: Task,
    arrays: Arrays,
    whole: Sequence[Arrays],
    setting: Setting,
) -> float:
    changed = model.clone()
    names = {str(node.outputs[0].name): node for node in changed.graph}
    old = one.site.weights
    node = names[str(old.node.outputs[0].name)]
    value = node.inputs[old.place]
    if value is None:
        raise AssertionError("a clone has the weights too")
    rewrite(changed, replace(one.site, weights=replace(old, node=node, value=value)), one.form.factors(one.ranks), task)
    after = outputs(changed, arrays, setting.work / "damage.onnx")
    shares = [_share(after, whole, name) for name, array in whole[0].items() if array.dtype.kind == "f"]
    return max(sum(shares), _LEAST) / max(one.error, _LEAST)


def _share(after: Sequence[Arrays], whole: Sequence[Arrays], name: str) -> float:
    """Return the power of an output's change as a share of what it varies by."""
    wanted, got = (np.concatenate([one[name].ravel() for one in runs]).astype(np.float64) for runs in (whole, after))
    power = float(np.var(wanted))
    return float(np.mean((got - wanted) ** 2)) / power if power > 0 else 0.0
