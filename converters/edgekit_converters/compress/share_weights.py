"""Weight sharing: the weights of a layer take few values, the centres of their clusters."""

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Effect, Setting, Values
from edgekit_converters.compress.snap import WEIGHTED, needed, snapped, why_not
from edgekit_converters.grids import parse_grid
from edgekit_converters.grids.levels import KMeans
from edgekit_converters.precisions import Options, choice, number

if TYPE_CHECKING:
    import onnx_ir as ir


class ShareWeights:
    """k-means of each layer's weights (Han et al. 2016, "Deep Compression"): `snap` to a grid that is made for them."""

    name = "share-weights"
    help = "let the weights of a layer share few values (k-means)"
    exact = False
    options: Options = MappingProxyType(
        {
            "clusters": number(16, 2, 256, "how many values; at most 16 are stored in four bits where targets can"),
            "per": choice("tensor", "channel", text="what shares the values"),
            **WEIGHTED,
        }
    )

    def needs(self, values: Values) -> frozenset[str]:
        """Calibration data, where errors count by it."""
        return needed(values)

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:  # noqa: ARG002  # the port's
        """Refuse a model without weights."""
        return why_not(model, setting)

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Share the weights of every layer, those of tied layers once."""
        clusters = int(values["clusters"])
        bits = max(2, (clusters - 1).bit_length())
        grid = KMeans(bits=bits, clusters=clusters, seed=setting.seed)
        asked = parse_grid(f"kmeans:bits={bits},per={values['per']}")
        return snapped(model, setting, asked, grid, weighted=bool(values["weighted"]))
