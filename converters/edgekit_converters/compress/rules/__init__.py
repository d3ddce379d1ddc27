"""Rewrite rules, in the order they are tried: what each technique takes from here."""

from edgekit_converters.compress.rules.activations import (
    GeluErf,
    GeluTanh,
    HardSigmoid,
    HardSwish,
    Leaky,
    Mish,
    Softplus,
)
from edgekit_converters.compress.rules.affine import AffineAfter, AffineBefore, AffinePair
from edgekit_converters.compress.rules.approximations import SigmoidToHard, SwishToHard
from edgekit_converters.compress.rules.arithmetic import DivToMul, PowForm, ReciprocalMul
from edgekit_converters.compress.rules.base import AnyRule, Refusal
from edgekit_converters.compress.rules.bounds import ClipForm, ClipKnown, ClipPair
from edgekit_converters.compress.rules.branches import AddedBranches
from edgekit_converters.compress.rules.dense import ConvToDense, DenseToConv
from edgekit_converters.compress.rules.linear import ConvPair, DensePair
from edgekit_converters.compress.rules.noop import NoOp
from edgekit_converters.compress.rules.normalisation import LayerNorm, LayerNormScale, LogSoftmax, Softmax
from edgekit_converters.compress.rules.pads import PadInto
from edgekit_converters.compress.rules.poolings import GlobalMean, MeanFlatten, PoolUp, ResizeDown
from edgekit_converters.compress.rules.scale import ScaleDown, ScaleUp
from edgekit_converters.compress.rules.shapes import ReshapePair, SplitConcat, TransposePair
from edgekit_converters.compress.rules.siblings import ConvSiblings, DenseSiblings, PaddedSiblings, SplitActivation
from edgekit_converters.compress.rules.stacked import StackedConv
from edgekit_converters.compress.rules.strides import PoolPair, ResizePair, StrideUp
from edgekit_converters.compress.rules.transposes import TransposeDown, TransposeJoin

__all__ = ["APPROXIMATE", "FUSE", "FUSE_BRANCHES", "FUSE_SIBLINGS", "REPLACE", "AnyRule", "Refusal"]

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
    ScaleDown(),
    ScaleUp(),
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
REPLACE: tuple[AnyRule, ...] = (
    NoOp(),
    TransposePair(),
    TransposeDown(),
    TransposeJoin(),
    ClipForm(),
    GeluErf(),
    GeluTanh(),
    HardSwish(),
    HardSigmoid(),
    Softplus(),
    Mish(),
    Leaky(),
    Softmax(),
    LogSoftmax(),
    ReciprocalMul(),
    LayerNorm(),
    LayerNormScale(),
    PowForm(),
    DivToMul(),
    GlobalMean(),
    MeanFlatten(),
    PoolUp(),
    ResizeDown(),
    ConvToDense(),
    DenseToConv(),
)
APPROXIMATE: tuple[AnyRule, ...] = (
    SwishToHard(),
    SigmoidToHard(),
    StackedConv(),
)
