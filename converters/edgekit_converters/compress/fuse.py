"""Fusion: sequential (what follows each other), horizontal (what takes the same value), spatial (what is added)."""

from edgekit_converters.compress.rewriting import Rewriting
from edgekit_converters.compress.rules import FUSE, FUSE_BRANCHES, FUSE_SIBLINGS


class Fuse(Rewriting):
    """Scales, biases, norms, padding, bounds and linear layers in a row become one op; what does nothing goes."""

    name = "fuse"
    help = "fold scales, biases, norms, padding and linear layers in a row into one op"
    table = FUSE


class FuseSiblings(Rewriting):
    """Layers that take the same value become one with a Split behind it."""

    name = "fuse-siblings"
    help = "layers of one value (queries, keys, values; Inception branches) into one layer and a Split"
    table = FUSE_SIBLINGS


class FuseBranches(Rewriting):
    """Branches that are added become one kernel; strides, poolings and enlargements in a row one of them."""

    name = "fuse-branches"
    help = "branches of one value that are added (3x3 + 1x1 + skip) into one kernel; strides and poolings in a row"
    table = FUSE_BRANCHES
