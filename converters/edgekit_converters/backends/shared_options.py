"""Options of static precisions that mean the same for every target."""

from types import MappingProxyType

from edgekit_converters.precisions import Options, choice, flag, number
from edgekit_converters.ranges import METHODS

RANGES: Options = MappingProxyType(
    {
        "ranges": choice(*METHODS, text="how the ranges of activations are taken from calibration data"),
        "percentile": number(99.99, 50.0, 100.0, "share in percent kept inside, for ranges=percentile"),
    }
)
EQUALIZE: Options = MappingProxyType(
    {"equalize": flag("even out the ranges of channels before (cross-layer equalization)")}
)
MODEL: Options = MappingProxyType(
    {
        "model": choice(
            "auto", "plain", "transformer", text="transformer: sums and norms stay float; auto looks for attention"
        )
    }
)
CORRECT: Options = MappingProxyType(
    {"correct": flag("take the shift that rounded weights cause off the biases (bias correction)")}
)
