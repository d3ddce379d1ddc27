"""Numeric grids of 2 to 8 bits, and how they are asked for: `kmeans:bits=4`, `linear:bits=4,group=64`."""

from types import MappingProxyType

from edgekit_converters.grids.base import Grid, Sharing
from edgekit_converters.grids.levels import KMeans, Logarithmic, NormalFloat
from edgekit_converters.grids.linear import Linear, PowerOfTwo
from edgekit_converters.precisions import Option, Precision, Precisions, choice, flag, number, parse

__all__ = ["GRIDS", "Grid", "Sharing", "grid_of", "parse_grid", "sharing_of"]

_FEWEST, _MOST, _LARGEST_GROUP = 2, 8, 2**20


def _bits(default: int) -> Option:
    return number(default, _FEWEST, _MOST, "bits of a code")


def _group(default: int) -> Option:
    return number(default, 0, _LARGEST_GROUP, "values that share a table; 0: as `per` says")


_PER_CHANNEL = choice("channel", "tensor", text="what shares a table")
_PER_TENSOR = choice("tensor", "channel", text="what shares a table")

GRIDS: Precisions = MappingProxyType(
    {
        "linear": {
            "bits": _bits(8),
            "asymmetric": flag("codes from 0, with a zero point"),
            "per": _PER_CHANNEL,
            "group": _group(0),
        },
        "power-of-two": {"bits": _bits(8), "per": _PER_TENSOR, "group": _group(0)},
        "log": {"bits": _bits(4), "per": _PER_TENSOR, "group": _group(0)},
        "kmeans": {
            "bits": _bits(4),
            "per": _PER_TENSOR,
            "group": _group(0),
            "seed": number(0, 0, 2**31, "of the random start"),
        },
        "nf4": {"per": _PER_TENSOR, "group": _group(64)},
    }
)
"""The grids with their options."""


def parse_grid(text: str) -> Precision:
    """Read a grid as people write it.

    Raises:
        PrecisionError: if there is no such grid, option or value; names those there are.
    """
    return parse(text, "EdgeKit", GRIDS, "grid")


def grid_of(asked: Precision) -> Grid:
    """Return the grid that is asked for."""
    given = {key: value for key, value in asked.values.items() if key not in {"per", "group"}}
    kinds = {"linear": Linear, "power-of-two": PowerOfTwo, "log": Logarithmic, "kmeans": KMeans, "nf4": NormalFloat}
    made: Grid = kinds[asked.name](**given)
    return made


def sharing_of(asked: Precision) -> Sharing:
    """Return what shares tables in the grid that is asked for."""
    return Sharing(per_channel=asked.values["per"] == "channel", group=int(asked.values["group"]))
