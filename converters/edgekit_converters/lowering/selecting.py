"""Values picked by a condition, whose number only the run tells: NonZero, Compress, NonMaxSuppression."""

import math
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free, unknown
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered
from edgekit_converters.lowering.slicing import as_int32

_MOST_ROUNDS = 256


def non_zero(b: Builder, node: Node) -> None:
    """WHERE gives a row for each value found; ONNX wants a column."""
    x, out = b.plain(b.input(node)), b.shape_of(node.outputs[0])
    if x.dtype != "bool":
        x = b.module.op("not_equal", [x, b.scalar(0, x.dtype)], "", x.shape, "bool")
    found = unknown(out[1], f"found by {node.outputs[0]}")
    rows = b.module.op("where", [x], "", (found, out[0]), "int64")
    b.set(node.outputs[0], Tensor(rows, (1, 0)))


def compress(b: Builder, node: Node) -> None:
    """The places where the condition holds, then a GATHER."""
    x, axis = b.input(node), node.attributes.get("axis")
    if axis is None:
        x = Tensor(b.reshaped(b.plain(x), [math.prod(x.shape)]), (0,))
    stored = x.stored_axis(axis or 0)
    if b.is_constant(node.inputs[1]):
        places = b.module.constant(np.flatnonzero(b.graph.constants[node.inputs[1]]).astype(np.int32))
    else:
        found = unknown(b.shape_of(node.outputs[0])[axis or 0], f"found by {node.outputs[0]}")
        rows = b.module.op("where", [b.plain(b.input(node, 1))], "", (found, 1), "int64")
        places = b.reshaped(rows, (found,))
    b.set(node.outputs[0], Tensor(gathered(b, x.ref, places, stored), x.perm))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Boxes:
    """What the rounds share: boxes [images, count, 4], scores [images, classes, count], and limits as scalars."""

    boxes: Ref
    scores: Ref
    most: Ref
    overlap: Ref
    score: Ref
    found: str


def non_max_suppression(b: Builder, node: Node) -> None:
    """A NON_MAX_SUPPRESSION_V4 for each image and class; what it fills up behind its results is cut off."""
    given = _given(b, node)
    images, classes, _ = given.scores.shape
    if any(map(is_free, given.scores.shape)) or images * classes > _MOST_ROUNDS:
        raise b.refuse(node, f"{images} images of {classes} classes; up to {_MOST_ROUNDS} rounds are written")
    rounds = [_round(b, given, image, kind) for image in range(images) for kind in range(classes)]
    total = unknown(b.shape_of(node.outputs[0])[0], given.found)
    rows = b.module.op("concatenation", rounds, f"axis = 0 : i32, {NO_ACTIVATION}", (total, 3), "int32")
    b.set(node.outputs[0], Tensor(b.module.op("cast", [rows], "", (total, 3), "int64"), identity(2)))


def _given(b: Builder, node: Node) -> _Boxes:
    boxes, scores = b.plain(b.input(node)), b.plain(b.input(node, 1))
    if node.attributes.get("center_point_box", 0):
        boxes = _corners(b, boxes)
    names = [*node.inputs[2:], "", "", ""]
    if not names[0]:
        raise b.refuse(node, "without a largest number of boxes it selects none")
    most = b.reshaped(as_int32(b, b.plain(b.tensor(names[0]))), ())
    count = b.scalar(scores.shape[2], "int32")
    return _Boxes(
        boxes=boxes,
        scores=scores,
        most=b.binary("maximum", b.binary("minimum", most, count), b.scalar(0, "int32")),
        overlap=_next_above(b, names[1]),
        score=b.reshaped(b.plain(b.tensor(names[2])), ()) if names[2] else b.scalar(-np.inf),
        found=f"found by {node.outputs[0]}",
    )


def _corners(b: Builder, boxes: Ref) -> Ref:
    """Make two corners of centre and size; x and y stay exchanged, which changes no overlap."""
    middle, sizes = (_block(b, boxes, (0, 0, one), (*boxes.shape[:2], 2)) for one in (0, 2))
    half = b.binary("mul", sizes, b.scalar(0.5))
    corners = [b.binary("sub", middle, half), b.binary("add", middle, half)]
    return b.module.op("concatenation", corners, f"axis = 2 : i32, {NO_ACTIVATION}", boxes.shape, boxes.dtype)


def _next_above(b: Builder, name: str) -> Ref:
    """Return the next larger float: ONNX drops a box that overlaps more than this, TFLite one that does as much."""
    if not name or b.is_constant(name):
        given = b.graph.constants[name].reshape(()) if name else np.float32(0)
        return b.module.constant(np.nextafter(given, np.float32(np.inf)))
    bits = b.module.op("bitcast", [b.reshaped(b.plain(b.tensor(name)), ())], "", (), "int32")
    return b.module.op("bitcast", [b.binary("add", bits, b.scalar(1, "int32"))], "", (), "float32")


def _round(b: Builder, given: _Boxes, image: int, kind: int) -> Ref:
    """Return rows (image, class, box) for one image and class."""
    count = given.scores.shape[2]
    boxes = _block(b, given.boxes, (image, 0, 0), (1, count, 4))
    scores = _block(b, given.scores, (image, kind, 0), (1, 1, count))
    operands = [b.reshaped(boxes, (count, 4)), b.reshaped(scores, (count,)), given.most, given.overlap, given.score]
    most, some = unknown(count, f"most {given.found}"), unknown(count, f"{given.found} {image} {kind}")
    indices, number = b.module.ops("non_max_suppression_v4", operands, "", [(most,), ()], "int32")
    real = b.module.op("slice", [indices, b.module.ints([0]), b.reshaped(number, (1,))], "", (some,), "int32")
    padded = [b.reshaped(real, (some, 1)), b.module.ints([[0, 0], [2, 0]])]
    rows = b.module.op("pad", padded, "", (some, 3), "int32")
    return b.binary("add", rows, b.module.ints([[image, kind, 0]]))


def _block(b: Builder, x: Ref, begin: tuple[int, ...], shape: tuple[int, ...]) -> Ref:
    return b.module.op("slice", [x, b.module.ints(begin), b.module.ints(shape)], "", shape, x.dtype)


SELECTING = {"NonZero": non_zero, "Compress": compress, "NonMaxSuppression": non_max_suppression}
