"""Depth to space and back, which TFLite has for channels last."""

import numpy as np

from edgekit_converters.lowering.builder import Builder, Tensor, channels_last
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered


def depth_to_space(b: Builder, node: Node) -> None:
    """DCR is TFLite's own order; for CRD the channels are put into it first."""
    stored, block = b.spatial(b.input(node)), node.attributes["blocksize"]
    if _is_crd(node):
        stored = _reordered(b, stored, (-1, block * block))
    b.set(node.outputs[0], Tensor(_moved(b, node, "depth_to_space", stored), channels_last(4)))


def space_to_depth(b: Builder, node: Node) -> None:
    """The inverse; for CRD the channels are put into their order behind it."""
    stored, block = b.spatial(b.input(node)), node.attributes["blocksize"]
    moved = _moved(b, node, "space_to_depth", stored)
    if _is_crd(node):
        moved = _reordered(b, moved, (block * block, -1))
    b.set(node.outputs[0], Tensor(moved, channels_last(4)))


def _is_crd(node: Node) -> bool:
    return bool(node.attributes.get("mode", "DCR") == "CRD")


def _moved(b: Builder, node: Node, op: str, stored: Ref) -> Ref:
    shape = [b.shape_of(node.outputs[0])[axis] for axis in channels_last(4)]
    return b.module.op(op, [stored], f"block_size = {node.attributes['blocksize']} : i32", shape, stored.dtype)


def _reordered(b: Builder, stored: Ref, groups: tuple[int, int]) -> Ref:
    """Turn the channels, seen as a table of this shape, around."""
    order = np.arange(stored.shape[3]).reshape(groups).T.ravel().astype(np.int32)
    if (order == np.arange(len(order))).all():  # of one channel the two orders are the same
        return stored
    return gathered(b, stored, b.module.constant(order), 3)


BLOCKS = {"DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth}
