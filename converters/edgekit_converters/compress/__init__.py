"""Techniques that make a model smaller or faster, on the canonical float graph: one table."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from edgekit_converters.compress.base import Change, Effect, Left, Setting, Technique
from edgekit_converters.errors import PrecisionError

__all__ = ["TECHNIQUES", "Change", "Effect", "Left", "Setting", "Technique", "technique_for"]

# name -> "module:Class", imported on use; in the order people are told of them
TECHNIQUES: Mapping[str, str] = MappingProxyType(
    {
        "prune-channels": "edgekit_converters.compress.prune_channels:PruneChannels",
        "prune-layers": "edgekit_converters.compress.prune_layers:PruneLayers",
        "prune-heads": "edgekit_converters.compress.attention.prune_heads:PruneHeads",
        "prune-weights": "edgekit_converters.compress.prune_weights:PruneWeights",
        "factorize": "edgekit_converters.compress.factorize:Factorize",
        "share-weights": "edgekit_converters.compress.share_weights:ShareWeights",
        "snap": "edgekit_converters.compress.snap:Snap",
        "fuse": "edgekit_converters.compress.fuse:Fuse",
        "fuse-siblings": "edgekit_converters.compress.fuse:FuseSiblings",
        "fuse-branches": "edgekit_converters.compress.fuse:FuseBranches",
        "replace": "edgekit_converters.compress.replace:Replace",
        "approximate": "edgekit_converters.compress.approximate:Approximate",
        "tile": "edgekit_converters.compress.tile:Tile",
        "split-channels": "edgekit_converters.compress.split_channels:SplitChannels",
        "attention": "edgekit_converters.compress.attention.narrow:NarrowAttention",
        "pool-tokens": "edgekit_converters.compress.attention.pool_tokens:PoolTokens",
        "kv-cache": "edgekit_converters.compress.attention.kv_cache:KVCache",
        "distill": "edgekit_converters.compress.distill:Distill",
        "finetune": "edgekit_converters.compress.finetune:Finetune",
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
