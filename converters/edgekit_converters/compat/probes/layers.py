"""Probes of layers with weights: convolutions, dense layers, matrix products, recurrent layers."""

from collections.abc import Iterator
from dataclasses import replace

from edgekit_converters.compat.probes.one_op import SCALE, Case, Options, Value, constant, plain, weights

# (input, weights, bias, output); "-" is no bias. Plain, half, hybrid, full integer, 16 bit activations, packed weights.
_MIXES = (
    ("float32", "float32", "float32", "float32"),
    ("float32", "float32", "-", "float32"),
    ("float32", "float16", "float32", "float32"),
    ("float16", "float16", "float16", "float16"),
    ("float32", "qint8", "float32", "float32"),
    ("float32", "qint8", "-", "float32"),
    ("float32", "quint8", "float32", "float32"),
    ("float32", "qint4", "float32", "float32"),
    ("float32", "qint4", "-", "float32"),
    ("qint8", "qint8", "int32", "qint8"),
    ("qint8", "qint8", "-", "qint8"),
    ("qint8", "qint4", "int32", "qint8"),
    ("qint8", "qint4", "-", "qint8"),
    ("quint8", "quint8", "int32", "quint8"),
    ("quint8", "quint8", "-", "quint8"),
    ("qint16", "qint8", "int64", "qint16"),
    ("qint16", "qint8", "int32", "qint16"),
    ("qint16", "qint8", "-", "qint16"),
    ("qint16", "qint4", "int64", "qint16"),
    ("qint16", "qint16", "int64", "qint16"),
    ("int8", "int8", "-", "int32"),
    ("int32", "int32", "-", "int32"),
    ("float64", "float64", "-", "float64"),
)
_FUSED = (2, 4, 5)  # numbers of RELU_N1_TO_1, TANH, SIGN_BIT in the schema
_CHANNELS = 4


def cases() -> Iterator[Case]:
    """Yield every case."""
    for mix in _MIXES:
        yield from _layers(mix)
    for kind in ("float32", "qint8"):
        yield from _special(kind)
    yield from _products()
    yield from _recurrent()


def _layers(mix: tuple[str, str, str, str]) -> Iterator[Case]:
    conv = {"padding": 0, "strideW": 1, "strideH": 1}
    three = {**conv, "strideD": 1}
    image, cube = (1, 4, 4, _CHANNELS), (1, 3, 4, 4, _CHANNELS)
    yield from _variants("CONV_2D", mix, image, (4, 3, 3, 4), image, 0, ("Conv2DOptions", conv))
    yield from _variants("CONV_2D", mix, image, (4, 3, 3, 2), image, 0, ("Conv2DOptions", conv))  # grouped
    depthwise = ("DepthwiseConv2DOptions", {**conv, "depthMultiplier": 1})
    yield from _variants("DEPTHWISE_CONV_2D", mix, image, (1, 3, 3, 4), image, 3, depthwise)
    dense = plain("FullyConnectedOptions")
    for rows in (1, 3):  # one row and several take different paths
        yield from _variants("FULLY_CONNECTED", mix, (rows, 8), (4, 8), (rows, 4), 0, dense)
    yield from _variants("CONV_3D", mix, cube, (1, 3, 3, 4, 4), cube, 4, ("Conv3DOptions", three))
    for case in _variants("TRANSPOSE_CONV", mix, image, (4, 3, 3, 4), image, 0, ("TransposeConvOptions", conv)):
        data, kernel, bias = case.inputs
        inputs = (constant(image), kernel, data, *(() if bias is None else (bias,)))
        yield replace(case, inputs=inputs)
    for case in _variants("CONV_3D_TRANSPOSE", mix, cube, (1, 3, 3, 4, 4), cube, 3, ("Conv3DOptions", three)):
        data, kernel, bias = case.inputs
        inputs = (constant(cube), kernel, data, *(() if bias is None else (bias,)))
        yield replace(case, inputs=inputs)


def _variants(  # noqa: PLR0913, PLR0917  # what a layer is made of
    op: str,
    mix: tuple[str, str, str, str],
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    out: tuple[int, ...],
    axis: int,
    options: Options,
) -> Iterator[Case]:
    given, kind, bias_kind, result = mix
    one, made = Value(type=given, shape=image), Value(type=result, shape=out, scale=(0.5,))

    def case(weight: Value) -> Case:
        bias = None if bias_kind == "-" else _bias(bias_kind, weight)
        return Case(op=op, inputs=(one, weight, bias), outputs=(made,), options=options)

    base = weights(kind, kernel)
    yield case(base)
    if kind.startswith("q"):
        yield case(weights(kind, kernel, channels=_CHANNELS, axis=axis))
        yield case(replace(base, zero_point=3))
    if kind != "qint4":
        yield case(replace(base, data=None))
    if given in {"float32", "qint8"} and bias_kind != "-" and given == kind:
        for number in _FUSED:
            yield replace(case(base), options=(options[0], {**options[1], "fusedActivationFunction": number}))


def _bias(kind: str, weight: Value) -> Value:
    """Return a bias; one of integers counts in steps of the input's scale times the weights'."""
    plain_one = constant([1, 2, 3, 4], kind)
    if not kind.startswith("int"):
        return plain_one
    return replace(plain_one, type=f"q{kind}", scale=tuple(SCALE * one for one in weight.scale))


def _special(kind: str) -> Iterator[Case]:
    """Yield forms of their own: dilated convolutions, dense layers that keep dimensions."""
    bias_kind = "float32" if kind == "float32" else "int32"
    image = Value(type=kind)
    apart = {"padding": 0, "strideW": 1, "strideH": 1, "dilationWFactor": 2, "dilationHFactor": 2}
    out = Value(type=kind, scale=(0.5,))
    kernel = weights(kind, (4, 3, 3, 4), channels=4)
    bias = _bias(bias_kind, kernel)
    yield Case(op="CONV_2D", inputs=(image, kernel, bias), outputs=(out,), options=("Conv2DOptions", apart))
    kernel = weights(kind, (1, 3, 3, 4), channels=4, axis=3)
    depthwise = ("DepthwiseConv2DOptions", {**apart, "depthMultiplier": 1})
    yield Case(op="DEPTHWISE_CONV_2D", inputs=(image, kernel, bias), outputs=(out,), options=depthwise)
    tall = Value(type=kind, shape=(1, 3, 8))
    kept = Value(type=kind, shape=(1, 3, 4), scale=(0.5,))
    dense = ("FullyConnectedOptions", {"keepNumDims": True})
    kernel = weights(kind, (4, 8))
    bias = _bias(bias_kind, kernel)
    yield Case(op="FULLY_CONNECTED", inputs=(tall, kernel, bias), outputs=(kept,), options=dense)


def _products() -> Iterator[Case]:
    for left, right, out in (
        ("float32", "float32", "float32"),
        ("float16", "float16", "float16"),
        ("float32", "qint8", "float32"),
        ("float32", "qint4", "float32"),
        ("qint8", "qint8", "qint8"),
        ("qint8", "qint4", "qint8"),
        ("quint8", "quint8", "quint8"),
        ("qint16", "qint16", "qint16"),
        ("qint16", "qint8", "qint16"),
        ("int8", "int8", "int32"),
        ("qint8", "qint8", "int32"),
        ("int32", "int32", "int32"),
    ):
        options = plain("BatchMatMulOptions")
        for batch in ((), (2,), (1, 2), (1, 1, 2), (1, 1, 1, 2)):
            first = Value(type=left, shape=(*batch, 3, 4))
            made = Value(type=out, shape=(*batch, 3, 4), scale=(0.5,))
            fixed = weights(right, (*batch, 4, 4))
            yield Case(op="BATCH_MATMUL", inputs=(first, fixed), outputs=(made,), options=options)
            if right != "qint4":
                yield Case(
                    op="BATCH_MATMUL", inputs=(first, replace(fixed, data=None)), outputs=(made,), options=options
                )
            if right.startswith("q"):
                scaled = weights(right, (*batch, 4, 4), channels=4, axis=len(batch) + 1)
                yield Case(op="BATCH_MATMUL", inputs=(first, scaled), outputs=(made,), options=options)


def _recurrent() -> Iterator[Case]:
    """Yield recurrent layers of 4 inputs and 4 units; hybrid ones have int8 weights."""
    for kind in ("float32", "qint8", "quint8"):
        tall, wide = Value(type="float32", shape=(1, 3, 4)), weights(kind, (4, 4))
        bias, state = weights("float32", (4,)), Value(type="float32", shape=(1, 4), variable=True)
        flat = Value(type="float32", shape=(1, 4))
        yield Case(
            op="RNN",
            inputs=(flat, wide, wide, bias, state),
            outputs=(flat,),
            options=("RNNOptions", {"fusedActivationFunction": 4}),
        )
        options = {"fusedActivationFunction": 4, "timeMajor": False}
        yield Case(
            op="UNIDIRECTIONAL_SEQUENCE_RNN",
            inputs=(tall, wide, wide, bias, state),
            outputs=(tall,),
            options=("SequenceRNNOptions", options),
        )
        lstm = (*(wide,) * 8, *(None,) * 3, *(bias,) * 4, None, None, state, state, *(None,) * 4)
        yield Case(
            op="UNIDIRECTIONAL_SEQUENCE_LSTM",
            inputs=(tall, *lstm),
            outputs=(tall,),
            options=("UnidirectionalSequenceLSTMOptions", options),
        )
        yield Case(
            op="LSTM",
            inputs=(flat, *lstm[:19]),
            outputs=(flat,),
            options=("LSTMOptions", {"fusedActivationFunction": 4}),
        )
        lane = (*(wide,) * 8, *(None,) * 3, *(bias,) * 4, None, None)
        both = (tall, *lane, *lane, state, state, state, state, *(None,) * 9)
        yield Case(
            op="BIDIRECTIONAL_SEQUENCE_LSTM",
            inputs=both,
            outputs=(Value(type="float32", shape=(1, 3, 8)),),
            options=("BidirectionalSequenceLSTMOptions", {**options, "mergeOutputs": True}),
        )
        memory = Value(type="float32", shape=(1, 12), variable=True)
        yield Case(
            op="SVDF",
            inputs=(
                flat,
                weights(kind, (4, 4)),
                weights("float32" if kind == "float32" else kind, (4, 3)),
                bias,
                memory,
            ),
            outputs=(flat,),
            options=("SVDFOptions", {"rank": 1}),
        )
    yield from _quantized_recurrent()


def _quantized_recurrent() -> Iterator[Case]:
    memory = Value(type="qint16", shape=(1, 12), variable=True)
    flat = Value(type="qint8", shape=(1, 4))
    parts = (weights("qint8", (4, 4)), weights("qint16", (4, 3)), constant([1, 2, 3, 4], "int32"), memory)
    yield Case(
        op="SVDF",
        inputs=(flat, *parts),
        outputs=(flat,),
        options=("SVDFOptions", {"rank": 1, "fusedActivationFunction": 1}),
    )
    for kind, state_kind in (("qint8", "qint8"), ("qint16", "qint16")):
        tall, wide, bias = Value(type=kind, shape=(1, 3, 4)), weights("qint8", (4, 4)), constant([1, 2, 3, 4], "int32")
        state = Value(type=state_kind, shape=(1, 4), variable=True)
        cell = Value(type="qint16", shape=(1, 4), variable=True, scale=(1 / 2048,))
        lstm = (*(wide,) * 8, *(None,) * 3, *(bias,) * 4, None, None, state, cell, *(None,) * 4)
        gate, hidden = Value(type="qint16", shape=(), scale=(1 / 4096,)), Value(type=kind, shape=())
        yield Case(
            op="UNIDIRECTIONAL_SEQUENCE_LSTM",
            inputs=(tall, *lstm),
            outputs=(tall,),
            options=("UnidirectionalSequenceLSTMOptions", {"fusedActivationFunction": 4, "timeMajor": False}),
            intermediates=(gate, gate, gate, gate, hidden),
        )
