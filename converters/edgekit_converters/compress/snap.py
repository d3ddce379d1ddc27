"""Weights moved to a numeric grid: linear, power of two, logarithmic, k-means or NF4."""

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Change, Effect, Setting, Values, name_of
from edgekit_converters.graph.weights import Weights, replaced, weights_of
from edgekit_converters.grids import GRIDS, grid_of, parse_grid, sharing_of
from edgekit_converters.grids.fitting import fit, snr_db
from edgekit_converters.precisions import Options, Precision, choice, number

if TYPE_CHECKING:
    import onnx_ir as ir


class Snap:
    """Every weight becomes the nearest value of a grid; the file is no smaller before it is packed or stored so."""

    name = "snap"
    help = "move weights to a numeric grid"
    exact = False
    options: Options = MappingProxyType(
        {
            "grid": choice(*GRIDS, text="which values there are"),
            "bits": number(0, 0, 8, "bits of a code; 0: as the grid has them"),
            "group": number(-1, -1, 2**20, "values that share a table; -1: as the grid has them"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Nothing but the weights."""
        return frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse a grid that has no such option, and a model without weights."""
        _grid(values)
        return None if _found(model, setting) else "it has no weights a grid is for"

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Snap the weights of all layers, those that are shared once."""
        asked = _grid(values)
        grid, sharing = grid_of(asked), sharing_of(asked)
        changes = []
        for one in _found(model, setting):
            before = one.array
            fitted = fit(grid, before, one.axis, sharing)
            after = fitted.snap(before)
            replaced(one.value, after)
            figures = {"snr_db": snr_db(before, after), "values": int(np.unique(after).size)}
            changes.append(Change(layer=name_of(one.node), what=f"moved to {asked.text}", figures=figures))
        return Effect(changes=tuple(changes))


def _found(model: "ir.Model", setting: Setting) -> list[Weights]:
    return list({id(one.value): one for one in weights_of(model) if setting.may_change(one.node)}.values())


def _grid(values: Values) -> Precision:
    given = [f"{key}={values[key]}" for key, none in (("bits", 0), ("group", -1)) if values[key] != none]
    return parse_grid(f"{values['grid']}:{','.join(given)}" if given else str(values["grid"]))
