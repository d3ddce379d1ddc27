"""Rewrite rules, in the order they are tried: what each technique takes from here."""

from edgekit_converters.compress.rules.affine import AffineAfter, AffineBefore, AffinePair
from edgekit_converters.compress.rules.base import AnyRule, Refusal
from edgekit_converters.compress.rules.bounds import ClipKnown, ClipPair
from edgekit_converters.compress.rules.branches import AddedBranches
from edgekit_converters.compress.rules.linear import ConvPair, DensePair
from edgekit_converters.compress.rules.noop import NoOp
from edgekit_converters.compress.rules.pads import PadInto
from edgekit_converters.compress.rules.shapes import ReshapePair, SplitConcat, TransposePair
from edgekit_converters.compress.rules.siblings import ConvSiblings, DenseSiblings, PaddedSiblings, SplitActivation
from edgekit_converters.compress.rules.strides import PoolPair, ResizePair, StrideUp

__all__ = ["FUSE", "FUSE_BRANCHES", "FUSE_SIBLINGS", "AnyRule", "Refusal"]

FUSE: tuple[AnyRule, ...] = (
    NoOp(),
    TransposePair(),
    ReshapePair(),
    SplitConcat(),
    ClipPair(),
    ClipKnown(),
    PadInto(),
    AffinePair(),
    AffineAfter(),
    AffineBefore(),
    DensePair(),
    ConvPair(),
)
FUSE_SIBLINGS: tuple[AnyRule, ...] = (
    DenseSiblings(),
    ConvSiblings(),
    PaddedSiblings(),
    SplitActivation(),
    SplitConcat(),
)
FUSE_BRANCHES: tuple[AnyRule, ...] = (
    AddedBranches(),
    StrideUp(),
    PoolPair(),
    ResizePair(),
)
