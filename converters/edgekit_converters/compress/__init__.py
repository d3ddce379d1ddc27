"""Techniques that make a model smaller or faster, on the canonical float graph: one table."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from edgekit_converters.compress.base import Change, Effect, Left, Setting, Technique
from edgekit_converters.errors import PrecisionError
from edgekit_converters.precisions import Precisions

__all__ = ["TECHNIQUES", "Change", "Effect", "Left", "Setting", "Technique", "options_of", "technique_for"]

# name -> "module:Class", imported on use; in the order people are told of them
TECHNIQUES: Mapping[str, str] = MappingProxyType(
    {
        "prune-channels": "edgekit_converters.compress.prune_channels:PruneChannels",
        "snap": "edgekit_converters.compress.snap:Snap",
    }
)


def technique_for(name: str) -> Technique:
    """Return a technique.

    Raises:
        PrecisionError: if there is none of that name; names those there are.
    """
    if name not in TECHNIQUES:
        raise PrecisionError(f"there is no technique '{name}': the techniques are {', '.join(TECHNIQUES)}")
    module, kind = TECHNIQUES[name].split(":")
    made: Technique = getattr(importlib.import_module(module), kind)()
    return made


def options_of(name: str) -> Precisions:
    """Return a technique's options under its name, as `precisions.parse` takes them."""
    return {name: technique_for(name).options}
