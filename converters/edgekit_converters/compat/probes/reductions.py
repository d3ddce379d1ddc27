"""Probes of ops that reduce, search, sort, normalise and transform."""

from collections.abc import Iterator

from edgekit_converters.compat.probes.elementwise import ALL, fixed_output
from edgekit_converters.compat.probes.one_op import Case, Value, constant, plain

_REDUCE = ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL")
_RANKS = (5, 6, 7, 8)


def cases() -> Iterator[Case]:
    """Yield every case."""
    for kind in ALL:
        yield from _reduce(kind)
        yield from _search(kind)
        yield from _normalise(kind)
        yield from _windows(kind)
    yield from _transforms()
    yield from _detection()


def _reduce(kind: str) -> Iterator[Case]:
    one = Value(type=kind)
    for op in _REDUCE:
        kept = ("ReducerOptions", {"keepDims": True})
        yield Case(op=op, inputs=(one, constant([1, 2])), outputs=(Value(type=kind, shape=(1, 1, 1, 4)),), options=kept)
        yield Case(op=op, inputs=(one, constant([3])), outputs=(Value(type=kind, shape=(1, 4, 4, 1)),), options=kept)
        if kind in {"float32", "qint8"}:
            for rank in _RANKS:
                many = Value(type=kind, shape=(*(2,) * (rank - 1), 3))
                less = Value(type=kind, shape=(*(2,) * (rank - 1), 1))
                yield Case(op=op, inputs=(many, constant([rank - 1])), outputs=(less,), options=kept)
    for exclusive in (False, True):
        options = ("CumsumOptions", {"exclusive": exclusive})
        yield Case(op="CUMSUM", inputs=(one, constant(1)), outputs=(one,), options=options)


def _search(kind: str) -> Iterator[Case]:
    one = Value(type=kind, shape=(3, 4))
    for op, name in (("ARG_MAX", "ArgMaxOptions"), ("ARG_MIN", "ArgMinOptions")):
        for index, number in (("int32", 2), ("int64", 4)):
            for axis in ("int32", "int64"):
                found = Value(type=index, shape=(3,))
                yield Case(
                    op=op, inputs=(one, constant([1], axis)), outputs=(found,), options=(name, {"outputType": number})
                )
    best = Value(type=kind, shape=(3, 2))
    for count in ("int32", "int16"):
        for index in ("int32", "int16"):
            outputs = (best, Value(type=index, shape=(3, 2)))
            yield Case(op="TOPK_V2", inputs=(one, constant(2, count)), outputs=outputs, options=plain("TopKV2Options"))


def _normalise(kind: str) -> Iterator[Case]:
    one = Value(type=kind)
    row = Value(type=kind, shape=(1, 4))
    yield Case(
        op="SOFTMAX",
        inputs=(row,),
        outputs=(fixed_output("SOFTMAX", kind, (1, 4)),),
        options=("SoftmaxOptions", {"beta": 1.0}),
    )
    if kind == "qint8":  # a wider output, as older converters write it
        wide = Value(type="qint16", shape=(1, 4), scale=(1 / 65536,), zero_point=-32768)
        yield Case(op="SOFTMAX", inputs=(row,), outputs=(wide,), options=("SoftmaxOptions", {"beta": 1.0}))
    out = fixed_output("LOG_SOFTMAX", kind, (1, 4))
    yield Case(op="LOG_SOFTMAX", inputs=(row,), outputs=(out,), options=plain("LogSoftmaxOptions"))
    out = fixed_output("L2_NORMALIZATION", kind, one.shape)
    yield Case(op="L2_NORMALIZATION", inputs=(one,), outputs=(out,), options=plain("L2NormOptions"))
    local = ("LocalResponseNormalizationOptions", {"radius": 2, "bias": 1.0, "alpha": 1.0, "beta": 0.5})
    yield Case(op="LOCAL_RESPONSE_NORMALIZATION", inputs=(one,), outputs=(one,), options=local)


def _windows(kind: str) -> Iterator[Case]:
    one, half = Value(type=kind), Value(type=kind, shape=(1, 2, 2, 4))
    pool = {"padding": 0, "strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
        for padding in (0, 1):
            yield Case(op=op, inputs=(one,), outputs=(half,), options=("Pool2DOptions", {**pool, "padding": padding}))


def _transforms() -> Iterator[Case]:
    for kind, out in (("float32", "complex64"), ("float64", "complex64"), ("qint8", "complex64")):
        spectrum = Value(type=out, shape=(1, 4, 3))
        signal = Value(type=kind, shape=(1, 4, 4))
        yield Case(op="RFFT2D", inputs=(signal, constant([4, 4])), outputs=(spectrum,), options=plain("Rfft2dOptions"))
    for op in ("REAL", "IMAG", "COMPLEX_ABS"):
        yield Case(op=op, inputs=(Value(type="complex64"),), outputs=(Value(type="float32"),))
    for op in ("RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"):
        for kind in ("float32", "int32"):
            options = ("RandomOptions", {"seed": 1, "seed2": 2})
            yield Case(op=op, inputs=(constant([2, 3]),), outputs=(Value(type=kind, shape=(2, 3)),), options=options)
    for kind in ("int32", "int64"):
        picked = Value(type=kind, shape=(1, 2))
        options = ("RandomOptions", {"seed": 1, "seed2": 2})
        yield Case(
            op="MULTINOMIAL",
            inputs=(Value(type="float32", shape=(1, 4)), constant(2)),
            outputs=(picked,),
            options=options,
        )


def _detection() -> Iterator[Case]:
    for kind in ("float32", "qint8"):
        boxes, scores = Value(type=kind, shape=(6, 4)), Value(type=kind, shape=(6,))
        limits = (constant(3), constant(0.5, "float32"), constant(0.0, "float32"))
        chosen, count = Value(type="int32", shape=(3,)), Value(type="int32", shape=())
        yield Case(
            op="NON_MAX_SUPPRESSION_V4",
            inputs=(boxes, scores, *limits),
            outputs=(chosen, count),
            options=plain("NonMaxSuppressionV4Options"),
        )
        yield Case(
            op="NON_MAX_SUPPRESSION_V5",
            inputs=(boxes, scores, *limits, constant(0.0, "float32")),
            outputs=(chosen, Value(type=kind, shape=(3,)), count),
            options=plain("NonMaxSuppressionV5Options"),
        )
