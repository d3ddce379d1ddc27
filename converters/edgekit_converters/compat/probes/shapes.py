"""Probes of ops that move values: reshape, slice, gather, pad, split, join, and those that ask for a shape."""

from collections.abc import Iterator

import numpy as np

from edgekit_converters.compat.probes.elementwise import ALL, PLAIN
from edgekit_converters.compat.probes.one_op import Case, Value, constant, plain

_INDEX = ("int32", "int64", "int16")
_RANKS = (5, 6, 7, 8)


def cases() -> Iterator[Case]:
    """Yield every case."""
    for kind in ALL:
        yield from _moves(kind)
        yield from _joins(kind)
        yield from _gathers(kind)
        yield from _images(kind)
        yield from _fills(kind)
    yield from _ranks()
    yield from _odd()


def _moves(kind: str) -> Iterator[Case]:
    one = Value(type=kind)
    flat = Value(type=kind, shape=(16, 4))
    for options in (("ReshapeOptions", {"newShape": [16, 4]}), plain("ReshapeOptions")):
        yield Case(op="RESHAPE", inputs=(one, constant([16, 4])), outputs=(flat,), options=options)
    yield Case(op="RESHAPE", inputs=(one,), outputs=(flat,), options=("ReshapeOptions", {"newShape": [16, 4]}))
    yield Case(
        op="SQUEEZE",
        inputs=(one,),
        outputs=(Value(type=kind, shape=(4, 4, 4)),),
        options=("SqueezeOptions", {"squeezeDims": [0]}),
    )
    for index in ("int32", "int64"):
        flat, zero = Value(type=kind, shape=(4, 4)), constant(0, index)
        grown = Value(type=kind, shape=(1, 4, 4))
        yield Case(op="EXPAND_DIMS", inputs=(flat, zero), outputs=(grown,), options=plain("ExpandDimsOptions"))
        part = Value(type=kind, shape=(1, 2, 2, 4))
        cut = (constant([0, 1, 1, 0], index), constant([1, 2, 2, 4], index))
        yield Case(op="SLICE", inputs=(one, *cut), outputs=(part,), options=plain("SliceOptions"))
        tiled = Value(type=kind, shape=(1, 8, 4, 4))
        yield Case(
            op="TILE", inputs=(one, constant([1, 2, 1, 1], index)), outputs=(tiled,), options=plain("TileOptions")
        )
        wide = Value(type=kind, shape=(2, 4, 4, 4))
        to = constant([2, 4, 4, 4], index)
        yield Case(op="BROADCAST_TO", inputs=(one, to), outputs=(wide,), options=plain("BroadcastToOptions"))
        pads = constant([[0, 0], [1, 1], [1, 1], [0, 0]], index)
        padded = Value(type=kind, shape=(1, 6, 6, 4))
        yield Case(op="PAD", inputs=(one, pads), outputs=(padded,), options=plain("PadOptions"))
        fill = Value(type=kind, shape=(), data=constant(1, kind).data)
        yield Case(op="PADV2", inputs=(one, pads, fill), outputs=(padded,), options=plain("PadV2Options"))
        yield Case(op="MIRROR_PAD", inputs=(one, pads), outputs=(padded,), options=plain("MirrorPadOptions"))
    ends = (constant([0, 1, 1, 0]), constant([1, 3, 3, 4]), constant([1, 1, 1, 1]))
    part = Value(type=kind, shape=(1, 2, 2, 4))
    yield Case(op="STRIDED_SLICE", inputs=(one, *ends), outputs=(part,), options=plain("StridedSliceOptions"))
    yield Case(op="TRANSPOSE", inputs=(one, constant([0, 3, 1, 2])), outputs=(one,), options=plain("TransposeOptions"))
    yield Case(op="REVERSE_V2", inputs=(one, constant([1])), outputs=(one,), options=plain("ReverseV2Options"))
    yield Case(op="REVERSE_V2", inputs=(one, constant([1, 2])), outputs=(one,), options=plain("ReverseV2Options"))
    for index in ("int32", "int64"):
        lengths = Value(type=index, shape=(4,), data=np.array([1, 2, 3, 4], index))
        tall = Value(type=kind, shape=(4, 4, 4))
        reverse = ("ReverseSequenceOptions", {"seqDim": 1, "batchDim": 0})
        yield Case(op="REVERSE_SEQUENCE", inputs=(tall, lengths), outputs=(tall,), options=reverse)
    part = Value(type=kind, shape=(1, 2, 2, 4))
    for index in ("int32", "int64"):
        where = Value(type=index, shape=(4,), data=np.array([0, 1, 1, 0], index))
        update = plain("DynamicUpdateSliceOptions")
        yield Case(op="DYNAMIC_UPDATE_SLICE", inputs=(one, part, where), outputs=(one,), options=update)
    spread = (constant([2, 2, 1, 1]), constant([0], kind))
    wide = Value(type=kind, shape=(1, 7, 4, 4))
    dilations = constant([1, 2, 1, 1])
    yield Case(
        op="DILATE",
        inputs=(one, dilations, Value(type=kind, shape=(), data=spread[1].data)),
        outputs=(wide,),
        options=plain("DilateOptions"),
    )


def _joins(kind: str) -> Iterator[Case]:
    one = Value(type=kind)
    both = Value(type=kind, shape=(1, 4, 4, 8))
    yield Case(op="CONCATENATION", inputs=(one, one), outputs=(both,), options=("ConcatenationOptions", {"axis": 3}))
    pack = ("PackOptions", {"valuesCount": 2, "axis": 0})
    part = Value(type=kind, shape=(4, 4, 4))
    yield Case(op="PACK", inputs=(part, part), outputs=(Value(type=kind, shape=(2, 4, 4, 4)),), options=pack)
    yield Case(op="UNPACK", inputs=(one,), outputs=(part,), options=("UnpackOptions", {"num": 1, "axis": 0}))
    row = Value(type=kind, shape=(4,))
    tall = Value(type=kind, shape=(3, 4))
    yield Case(op="UNPACK", inputs=(tall,), outputs=(row, row, row), options=("UnpackOptions", {"num": 3, "axis": 0}))
    half = Value(type=kind, shape=(1, 4, 4, 2))
    yield Case(op="SPLIT", inputs=(constant(3), one), outputs=(half, half), options=("SplitOptions", {"numSplits": 2}))
    sizes = constant([2, 2])
    split = ("SplitVOptions", {"numSplits": 2})
    yield Case(op="SPLIT_V", inputs=(one, sizes, constant(3)), outputs=(half, half), options=split)


def _gathers(kind: str) -> Iterator[Case]:
    one = Value(type=kind, shape=(4, 4))
    for index in _INDEX:
        two = Value(type=kind, shape=(2, 4))
        yield Case(
            op="GATHER", inputs=(one, constant([1, 2], index)), outputs=(two,), options=("GatherOptions", {"axis": 0})
        )
        pairs, picked = constant([[1, 2], [0, 3]], index), Value(type=kind, shape=(2,))
        yield Case(op="GATHER_ND", inputs=(one, pairs), outputs=(picked,), options=plain("GatherNdOptions"))
        rows = constant([[0], [2]], index)
        scatter = plain("ScatterNdOptions")
        yield Case(op="SCATTER_ND", inputs=(rows, two, constant([4, 4], index)), outputs=(one,), options=scatter)
        hot = Value(type=kind, shape=(2, 4))
        on_off = (constant(1, kind), constant(0, kind))
        depth = ("OneHotOptions", {"axis": -1})
        yield Case(op="ONE_HOT", inputs=(constant([1, 2], index), constant(4), *on_off), outputs=(hot,), options=depth)
        sparse = plain("SparseToDenseOptions")
        dense = (
            constant([[0, 1], [2, 3]], index),
            constant([4, 4], index),
            picked,
            Value(type=kind, shape=(), data=on_off[1].data),
        )
        yield Case(op="SPARSE_TO_DENSE", inputs=dense, outputs=(one,), options=sparse)
    yield Case(op="EMBEDDING_LOOKUP", inputs=(constant([1, 2]), one), outputs=(Value(type=kind, shape=(2, 4)),))
    ids = constant([0, 0, 1, 2])
    for name in ("PROD", "MAX", "MIN", "SUM"):
        options = plain(f"UnsortedSegment{name.capitalize()}Options")
        three = Value(type=kind, shape=(3, 4))
        yield Case(op=f"UNSORTED_SEGMENT_{name}", inputs=(one, ids, constant(3)), outputs=(three,), options=options)
    yield Case(
        op="SEGMENT_SUM",
        inputs=(one, ids),
        outputs=(Value(type=kind, shape=(3, 4)),),
        options=plain("SegmentSumOptions"),
    )


def _images(kind: str) -> Iterator[Case]:
    one, folded = Value(type=kind), Value(type=kind, shape=(1, 2, 2, 16))
    yield Case(op="SPACE_TO_DEPTH", inputs=(one,), outputs=(folded,), options=("SpaceToDepthOptions", {"blockSize": 2}))
    wide = Value(type=kind, shape=(1, 8, 8, 1))
    yield Case(op="DEPTH_TO_SPACE", inputs=(one,), outputs=(wide,), options=("DepthToSpaceOptions", {"blockSize": 2}))
    batched = Value(type=kind, shape=(4, 2, 2, 4))
    block, none = constant([2, 2]), constant([[0, 0], [0, 0]])
    yield Case(
        op="SPACE_TO_BATCH_ND", inputs=(one, block, none), outputs=(batched,), options=plain("SpaceToBatchNDOptions")
    )
    yield Case(
        op="BATCH_TO_SPACE_ND", inputs=(batched, block, none), outputs=(one,), options=plain("BatchToSpaceNDOptions")
    )
    big = Value(type=kind, shape=(1, 8, 8, 4))
    for op, name in (
        ("RESIZE_BILINEAR", "ResizeBilinearOptions"),
        ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    ):
        yield Case(op=op, inputs=(one, constant([8, 8])), outputs=(big,), options=(name, {"halfPixelCenters": True}))


def _fills(kind: str) -> Iterator[Case]:
    one = Value(type=kind, shape=(2, 3))
    scalar = Value(type=kind, shape=())
    for index in ("int32", "int64"):
        yield Case(op="FILL", inputs=(constant([2, 3], index), scalar), outputs=(one,), options=plain("FillOptions"))
        number = {"int32": 2, "int64": 4}[index]
        shape = Value(type=index, shape=(2,))
        yield Case(op="SHAPE", inputs=(one,), outputs=(shape,), options=("ShapeOptions", {"outType": number}))
    yield Case(op="RANK", inputs=(one,), outputs=(Value(type="int32", shape=()),), options=plain("RankOptions"))
    limits = (constant(0, kind), constant(1 if kind == "bool" else 4, kind), constant(1, kind))
    yield Case(op="RANGE", inputs=limits, outputs=(Value(type=kind, shape=(4,)),), options=plain("RangeOptions"))
    yield Case(op="WHERE", inputs=(one,), outputs=(Value(type="int64", shape=(6, 2)),), options=plain("WhereOptions"))
    for index, number in (("int32", 2), ("int64", 4)):
        row = Value(type=kind, shape=(4,))
        outputs = (row, Value(type=index, shape=(4,)))
        yield Case(op="UNIQUE", inputs=(row,), outputs=outputs, options=("UniqueOptions", {"idxOutType": number}))
    square = Value(type=kind, shape=(3, 3))
    row = Value(type=kind, shape=(3,))
    yield Case(op="MATRIX_DIAG", inputs=(row,), outputs=(square,), options=plain("MatrixDiagOptions"))
    yield Case(op="MATRIX_SET_DIAG", inputs=(square, row), outputs=(square,), options=plain("MatrixSetDiagOptions"))


def _ranks() -> Iterator[Case]:
    """Yield cases of more than four dimensions, which many kernels lack."""
    for kind in ("float32", "qint8", "int32"):
        for rank in _RANKS:
            one = Value(type=kind, shape=(*(2,) * (rank - 1), 3))
            backwards = Value(type=kind, shape=one.shape[::-1])
            order = constant(list(range(rank))[::-1])
            yield Case(op="TRANSPOSE", inputs=(one, order), outputs=(backwards,), options=plain("TransposeOptions"))
            flat = Value(type=kind, shape=(2 ** (rank - 1), 3))
            yield Case(
                op="RESHAPE", inputs=(one, constant(flat.shape)), outputs=(flat,), options=plain("ReshapeOptions")
            )
            both = Value(type=kind, shape=(*one.shape[:-1], 6))
            join = ("ConcatenationOptions", {"axis": rank - 1})
            yield Case(op="CONCATENATION", inputs=(one, one), outputs=(both,), options=join)
            part = Value(type=kind, shape=(1, *one.shape[1:]))
            cut = (constant([0] * rank), constant(part.shape))
            yield Case(op="SLICE", inputs=(one, *cut), outputs=(part,), options=plain("SliceOptions"))
            ends = (constant([0] * rank), constant(part.shape), constant([1] * rank))
            yield Case(op="STRIDED_SLICE", inputs=(one, *ends), outputs=(part,), options=plain("StridedSliceOptions"))
            pads = constant([[1, 0]] + [[0, 0]] * (rank - 1))
            padded = Value(type=kind, shape=(3, *one.shape[1:]))
            yield Case(op="PAD", inputs=(one, pads), outputs=(padded,), options=plain("PadOptions"))
            tiled = Value(type=kind, shape=(4, *one.shape[1:]))
            yield Case(
                op="TILE",
                inputs=(one, constant([2] + [1] * (rank - 1))),
                outputs=(tiled,),
                options=plain("TileOptions"),
            )
            wide = constant(one.shape)
            yield Case(op="BROADCAST_TO", inputs=(part, wide), outputs=(one,), options=plain("BroadcastToOptions"))
            picked = Value(type=kind, shape=(1, *one.shape[1:]))
            yield Case(
                op="GATHER", inputs=(one, constant([1])), outputs=(picked,), options=("GatherOptions", {"axis": 0})
            )
            less = Value(type=kind, shape=one.shape[1:])
            yield Case(
                op="EXPAND_DIMS", inputs=(less, constant(0)), outputs=(part,), options=plain("ExpandDimsOptions")
            )
            yield Case(op="SQUEEZE", inputs=(part,), outputs=(less,), options=("SqueezeOptions", {"squeezeDims": [0]}))
            yield Case(op="REVERSE_V2", inputs=(one, constant([1])), outputs=(one,), options=plain("ReverseV2Options"))
            pack = ("PackOptions", {"valuesCount": 1, "axis": 0})
            yield Case(op="PACK", inputs=(less,), outputs=(part,), options=pack)
            yield Case(op="UNPACK", inputs=(part,), outputs=(less,), options=("UnpackOptions", {"num": 1, "axis": 0}))
            half = (constant(0), one)
            yield Case(op="SPLIT", inputs=half, outputs=(part, part), options=("SplitOptions", {"numSplits": 2}))


def _odd() -> Iterator[Case]:
    for kind in PLAIN:
        one = Value(type=kind, shape=(4,))
        yield Case(op="BROADCAST_ARGS", inputs=(one, one), outputs=(one,))
    yield Case(
        op="BUCKETIZE",
        inputs=(Value(type="float32", shape=(4,)),),
        outputs=(Value(type="int32", shape=(4,)),),
        options=("BucketizeOptions", {"boundaries": [0.0, 0.5]}),
    )
    for kind, index in (("float32", "int32"), ("int32", "int32"), ("int64", "int32"), ("float64", "int32")):
        bucket = ("BucketizeOptions", {"boundaries": [0.0, 2.0]})
        yield Case(op="BUCKETIZE", inputs=(Value(type=kind),), outputs=(Value(type=index),), options=bucket)
