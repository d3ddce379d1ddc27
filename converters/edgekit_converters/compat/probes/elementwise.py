"""Probes of ops that work value by value: one and two operands, comparisons, logic, casts, choices."""

from collections.abc import Iterator, Mapping

from edgekit_converters.compat.probes.one_op import Case, Options, Value, constant, plain, weights

# Each type a kernel could be written for; the table then says which are.
PLAIN = ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool")
QUANTIZED = ("qint8", "quint8", "qint16")
ALL = (*PLAIN, *QUANTIZED)
_RANKS = (5, 6, 7, 8)


_UNARY: tuple[tuple[str, Options | None], ...] = (
    ("ABS", plain("AbsOptions")),
    ("CEIL", None),
    ("COS", plain("CosOptions")),
    ("ELU", None),
    ("EXP", plain("ExpOptions")),
    ("FLOOR", None),
    ("GELU", ("GeluOptions", {"approximate": False})),
    ("HARD_SWISH", plain("HardSwishOptions")),
    ("LEAKY_RELU", ("LeakyReluOptions", {"alpha": 0.1})),
    ("LOG", None),
    ("NEG", plain("NegOptions")),
    ("RELU", None),
    ("RELU6", None),
    ("RELU_0_TO_1", None),
    ("RELU_N1_TO_1", None),
    ("ROUND", None),
    ("RSQRT", None),
    ("SIGN", plain("SignOptions")),
    ("SIN", None),
    ("SQRT", None),
    ("SQUARE", plain("SquareOptions")),
    ("ZEROS_LIKE", plain("ZerosLikeOptions")),
    ("STABLEHLO_ABS", None),
    ("STABLEHLO_CBRT", None),
    ("STABLEHLO_COSINE", None),
    ("STABLEHLO_EXPONENTIAL", None),
    ("STABLEHLO_FLOOR", None),
    ("STABLEHLO_LOG", None),
    ("STABLEHLO_LOGISTIC", None),
    ("STABLEHLO_NEGATE", None),
    ("STABLEHLO_RSQRT", None),
    ("STABLEHLO_TANH", None),
)
# Quantized outputs whose scale and zero point the kernels fix: divisor of 8 bit types, of qint16, qint8's zero point.
_FIXED_SCALE: Mapping[str, tuple[float, float, int]] = {
    "LOGISTIC": (256.0, 32768.0, -128),
    "SOFTMAX": (256.0, 32768.0, -128),
    "TANH": (128.0, 32768.0, 0),
    "L2_NORMALIZATION": (128.0, 32768.0, 0),
    "LOG_SOFTMAX": (16.0, 32768.0, 127),
}
_BINARY: tuple[tuple[str, Options | None], ...] = (
    ("ADD", ("AddOptions", {"potScaleInt16": False})),
    ("SUB", ("SubOptions", {"potScaleInt16": False})),
    ("MUL", plain("MulOptions")),
    ("DIV", plain("DivOptions")),
    ("MAXIMUM", plain("MaximumMinimumOptions")),
    ("MINIMUM", plain("MaximumMinimumOptions")),
    ("POW", plain("PowOptions")),
    ("SQUARED_DIFFERENCE", plain("SquaredDifferenceOptions")),
    ("FLOOR_DIV", plain("FloorDivOptions")),
    ("FLOOR_MOD", plain("FloorModOptions")),
    ("ATAN2", plain("ATan2Options")),
    ("BITWISE_XOR", plain("BitwiseXorOptions")),
    ("RIGHT_SHIFT", plain("RightShiftOptions")),
    ("LOGICAL_AND", plain("LogicalAndOptions")),
    ("LOGICAL_OR", plain("LogicalOrOptions")),
    ("STABLEHLO_ADD", None),
    ("STABLEHLO_SUBTRACT", None),
    ("STABLEHLO_MULTIPLY", None),
    ("STABLEHLO_DIVIDE", None),
    ("STABLEHLO_MAXIMUM", None),
    ("STABLEHLO_MINIMUM", None),
    ("STABLEHLO_AND", None),
    ("STABLEHLO_OR", None),
    ("STABLEHLO_POWER", None),
    ("STABLEHLO_REMAINDER", None),
    ("STABLEHLO_SHIFT_LEFT", plain("StablehloShiftLeftOptions")),
)
_COMPARE: tuple[tuple[str, str], ...] = (
    ("EQUAL", "EqualOptions"),
    ("NOT_EQUAL", "NotEqualOptions"),
    ("LESS", "LessOptions"),
    ("LESS_EQUAL", "LessEqualOptions"),
    ("GREATER", "GreaterOptions"),
    ("GREATER_EQUAL", "GreaterEqualOptions"),
)
# Defined above zero only, or hardly so beside it.
_POSITIVE = frozenset({"DIV", "LOG", "POW", "RSQRT", "SQRT"})
_CAST_TYPES = (*PLAIN, "complex64", "qint8", "quint8", "qint16")
_FUSED = (2, 4, 5)  # numbers of RELU_N1_TO_1, TANH, SIGN_BIT in the schema


def cases() -> Iterator[Case]:
    """Yield every case."""
    yield from _unary()
    yield from _binary()
    yield from _compare()
    yield from _casts()
    yield from _choices()


def fixed_output(op: str, kind: str, shape: tuple[int, ...]) -> Value:
    """Return an output of a type, with the scale and zero point the op demands of quantized ones."""
    if not kind.startswith("q") or op not in _FIXED_SCALE:
        return Value(type=kind, shape=shape)
    eight, sixteen, zero = _FIXED_SCALE[op]
    if kind == "qint16":
        return Value(type=kind, shape=shape, scale=(1 / sixteen,), zero_point=0)
    return Value(type=kind, shape=shape, scale=(1 / eight,), zero_point=zero + (128 if kind == "quint8" else 0))


def _unary() -> Iterator[Case]:
    for op, options in (*_UNARY, ("LOGISTIC", None), ("TANH", None)):
        for kind in ALL:
            one = Value(type=kind, positive=op in _POSITIVE)
            yield Case(op=op, inputs=(one,), outputs=(fixed_output(op, kind, one.shape),), options=options)
        for rank in _RANKS:
            one = Value(type="float32", shape=(*(1,) * (rank - 2), 3, 4))
            yield Case(op=op, inputs=(one,), outputs=(one,), options=options)
    yield Case(
        op="LOGICAL_NOT",
        inputs=(Value(type="bool"),),
        outputs=(Value(type="bool"),),
        options=plain("LogicalNotOptions"),
    )
    for kind in ALL:
        slope = Value(type=kind, shape=(1, 1, 4)) if kind == "bool" else weights(kind, (1, 1, 4))
        yield Case(op="PRELU", inputs=(Value(type=kind), slope), outputs=(Value(type=kind),))


def _binary() -> Iterator[Case]:
    for op, options in _BINARY:
        for kind in ALL:
            one = Value(type=kind, positive=op in _POSITIVE)
            yield Case(op=op, inputs=(one, one), outputs=(one,), options=options)
        for kind in ("float32", "int32", "qint8"):
            for rank in _RANKS:
                one, row = (
                    Value(type=kind, shape=shape, positive=op in _POSITIVE)
                    for shape in ((*(2,) * (rank - 2), 3, 4), (4,))
                )
                yield Case(op=op, inputs=(one, one), outputs=(one,), options=options)
                yield Case(op=op, inputs=(one, row), outputs=(one,), options=options)
        if options is not None and op in {"ADD", "SUB", "MUL", "DIV"}:
            for kind in ("float32", "qint8"):
                for number in _FUSED:
                    fused = (options[0], {**options[1], "fusedActivationFunction": number})
                    one = Value(type=kind, positive=op in _POSITIVE)
                    yield Case(op=op, inputs=(one, one), outputs=(one,), options=fused)
    for kind in ALL:
        one = Value(type=kind)
        yield Case(op="ADD_N", inputs=(one, one, one), outputs=(one,), options=plain("AddNOptions"))


def _compare() -> Iterator[Case]:
    for op, options in _COMPARE:
        for kind in ALL:
            one = Value(type=kind)
            yield Case(op=op, inputs=(one, one), outputs=(Value(type="bool"),), options=plain(options))
        for rank in _RANKS:
            one, row = Value(type="float32", shape=(*(2,) * (rank - 2), 3, 4)), Value(type="float32", shape=(4,))
            out = Value(type="bool", shape=one.shape)
            yield Case(op=op, inputs=(one, one), outputs=(out,), options=plain(options))
            yield Case(op=op, inputs=(one, row), outputs=(out,), options=plain(options))
    for kind in PLAIN:
        one = Value(type=kind)
        yield Case(
            op="STABLEHLO_COMPARE",
            inputs=(one, one),
            outputs=(Value(type="bool"),),
            options=("StablehloCompareOptions", {"comparisonDirection": 5}),
        )


def _casts() -> Iterator[Case]:
    from ai_edge_litert.schema_py_generated import TensorType

    for source in _CAST_TYPES:
        for target in _CAST_TYPES:
            numbers = [getattr(TensorType, kind.removeprefix("q").upper()) for kind in (source, target)]
            options = ("CastOptions", {"inDataType": numbers[0], "outDataType": numbers[1]})
            yield Case(op="CAST", inputs=(Value(type=source),), outputs=(Value(type=target),), options=options)
            if source != target:
                yield Case(op="STABLEHLO_CONVERT", inputs=(Value(type=source),), outputs=(Value(type=target),))
    for source in (*ALL, "qint4"):
        one = Value(type=source) if source != "qint4" else weights("qint4", (1, 4, 4, 4))
        for target in ("float32", "float16", *QUANTIZED, "int32"):
            yield Case(op="QUANTIZE", inputs=(one,), outputs=(Value(type=target),), options=plain("QuantizeOptions"))
        yield Case(op="DEQUANTIZE", inputs=(one,), outputs=(Value(type="float32"),), options=plain("DequantizeOptions"))
    half = constant([[1.5, -2.0, 0.25, 3.0]], "float16")
    yield Case(
        op="DEQUANTIZE",
        inputs=(half,),
        outputs=(Value(type="float32", shape=(1, 4)),),
        options=plain("DequantizeOptions"),
    )
    for source, target in (("float32", "int32"), ("int32", "float32"), ("int16", "uint16"), ("uint8", "int8")):
        yield Case(
            op="BITCAST", inputs=(Value(type=source),), outputs=(Value(type=target),), options=plain("BitcastOptions")
        )
    fake = ("FakeQuantOptions", {"min": -1.0, "max": 1.0, "numBits": 8})
    for kind in ("float32", "qint8"):
        yield Case(op="FAKE_QUANT", inputs=(Value(type=kind),), outputs=(Value(type=kind),), options=fake)


def _choices() -> Iterator[Case]:
    for op, options in (("SELECT", "SelectOptions"), ("SELECT_V2", "SelectV2Options"), ("STABLEHLO_SELECT", None)):
        for kind in ALL:
            one = Value(type=kind)
            wanted = plain(options) if options else None
            yield Case(op=op, inputs=(Value(type="bool"), one, one), outputs=(one,), options=wanted)
        for rank in _RANKS:
            one, row = Value(type="float32", shape=(*(2,) * (rank - 2), 3, 4)), Value(type="float32", shape=(4,))
            choice = Value(type="bool", shape=one.shape)
            wanted = plain(options) if options else None
            yield Case(op=op, inputs=(choice, one, one), outputs=(one,), options=wanted)
            yield Case(op=op, inputs=(choice, one, row), outputs=(one,), options=wanted)
    for kind in PLAIN:
        one = Value(type=kind)
        yield Case(
            op="STABLEHLO_CLAMP", inputs=(Value(type=kind, shape=()), one, Value(type=kind, shape=())), outputs=(one,)
        )
