"""Weights moved to a numeric grid: linear, power of two, logarithmic, k-means or NF4."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Change, Effect, Figures, Left, Setting, Values
from edgekit_converters.compress.importance import importance_of
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.weights import Weights, replaced, weights_of
from edgekit_converters.grids import GRIDS, Grid, Sharing, grid_of, parse_grid, sharing_of
from edgekit_converters.grids.fitting import fit, snr_db
from edgekit_converters.grids.natives import TARGETS, forms_for
from edgekit_converters.precisions import Option, Options, Precision, choice, flag, number

if TYPE_CHECKING:
    import onnx_ir as ir

WEIGHTED: Mapping[str, Option] = MappingProxyType(
    {"weighted": flag("errors count by what they are multiplied with on calibration data")}
)


class Snap:
    """Every weight becomes the nearest value of a grid; the file is no smaller before it is packed or stored so."""

    name = "snap"
    help = "move weights to a numeric grid"
    exact = False
    options: Options = MappingProxyType(
        {
            "grid": choice(*GRIDS, text="which values there are"),
            "bits": number(0, 0, 8, "bits of a code; 0: as the grid has them"),
            "per": choice("grid", "channel", "tensor", text="what shares a table; grid: as the grid has it"),
            "group": number(-1, -1, 2**20, "values that share a table; -1: as the grid has them"),
            **WEIGHTED,
        }
    )

    def needs(self, values: Values) -> frozenset[str]:
        """Calibration data, where errors count by it."""
        return needed(values)

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse a grid that has no such option, and a model without weights."""
        _grid(values)
        return why_not(model, setting)

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Snap the weights of all layers, those that are shared once."""
        asked = _grid(values)
        return snapped(model, setting, asked, grid_of(asked), weighted=bool(values["weighted"]))


def needed(values: Values) -> frozenset[str]:
    """Return what snapping cannot do without."""
    return frozenset({"calibration"}) if values["weighted"] else frozenset()


def why_not(model: "ir.Model", setting: Setting) -> str | None:
    """Return why a model's weights cannot be snapped, or None."""
    layers, left = _found(model, setting)
    return None if layers else left[0].why if left else "it has no weights a grid is for"


def snapped(model: "ir.Model", setting: Setting, asked: Precision, grid: Grid, *, weighted: bool) -> Effect:
    """Move all weights to a grid and say how far that is, what codes and tables take, and what targets store of them.

    Args:
        model: as a technique is given it.
        setting: as a technique is given it.
        asked: the grid as it is called, with what shares its tables.
        grid: the grid.
        weighted: whether errors count by what weights are multiplied with on the calibration data.
    """
    layers, left = _found(model, setting)
    importance = importance_of(model, layers, setting) if weighted else {}
    sharing = sharing_of(asked)
    changes = [_moved(one, asked.text, grid, sharing, importance.get(id(one.value))) for one in layers]
    bits, weights = (sum(int(one.figures[key] or 0) for one in changes) for key in ("stored_bits", "weights"))
    stored: Figures = {
        f"stored_{target}": f"{'as it is' if form.native else 'otherwise'}, {form.dtype}: {form.says}"
        for target, form in forms_for(asked).items()
        if target in (setting.targets or TARGETS)
    }
    figures: Figures = {"bits_per_weight": bits / max(weights, 1), **stored}
    return Effect(changes=tuple(changes), left=tuple(left), figures=figures)


def _moved(one: Weights, text: str, grid: Grid, sharing: Sharing, importance: "np.ndarray | None") -> Change:
    before = one.array
    fitted = fit(grid, before, one.axis, sharing, importance)
    after = fitted.snap(before)
    replaced(one.value, after)
    snr = snr_db(before, after)
    figures = {
        "snr_db": snr if np.isfinite(snr) else None,
        "values": int(np.unique(after).size),
        "weights": before.size,
        "stored_bits": fitted.stored_bits,
    }
    return Change(layer=name_of(one.node), what=f"moved to {text}", figures=figures)


def _found(model: "ir.Model", setting: Setting) -> tuple[list[Weights], list[Left]]:
    layers, left = [], []
    for one in {id(one.value): one for one in weights_of(model) if setting.may_change(one.node)}.values():
        why = ""
        if one.value.is_graph_output():
            why = "its weights are an output of the model"
        elif not np.isfinite(one.array).all():
            why = "its weights hold values that are no numbers"
        if why:
            left.append(Left(layer=name_of(one.node), why=why))
        else:
            layers.append(one)
    return layers, left


def _grid(values: Values) -> Precision:
    defaults = (("bits", 0), ("per", "grid"), ("group", -1))
    given = [f"{key}={values[key]}" for key, none in defaults if values[key] != none]
    return parse_grid(f"{values['grid']}:{','.join(given)}" if given else str(values["grid"]))
