"""Probes of control flow and of StableHLO builtins with options, each as small as its kernel allows."""

from collections.abc import Iterator
from dataclasses import replace

from edgekit_converters.compat.probes.elementwise import PLAIN
from edgekit_converters.compat.probes.one_op import Case, Value, constant, plain

_ADD = plain("AddOptions")
_NO_ATTRIBUTES = b"\x00\x01\x00\x24\x01"  # an empty map in FlexBuffers


def cases() -> Iterator[Case]:
    """Yield every case."""
    one, flag = Value(type="float32", shape=(2,)), Value(type="bool", shape=())
    double = Case(op="ADD", inputs=(one, one), outputs=(one,), options=_ADD)
    # a graph takes what the op gives: here one operand, read twice by the case's builder as two
    single = Case(op="ABS", inputs=(one,), outputs=(one,), options=plain("AbsOptions"))
    branch = ("IfOptions", {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2})
    yield Case(op="IF", inputs=(flag, one), outputs=(one,), options=branch, graphs=(single, single))
    yield Case(op="IF", inputs=(flag, one, one), outputs=(one,), options=branch, graphs=(double, double))
    scalar = Value(type="float32", shape=())
    never = Case(op="LESS", inputs=(scalar, constant(-9, "float32")), outputs=(flag,), options=plain("LessOptions"))
    body = Case(op="ABS", inputs=(scalar,), outputs=(scalar,), options=plain("AbsOptions"))
    loop = {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}
    yield Case(op="WHILE", inputs=(scalar,), outputs=(scalar,), options=("WhileOptions", loop), graphs=(never, body))
    yield Case(
        op="STABLEHLO_WHILE",
        inputs=(scalar,),
        outputs=(scalar,),
        options=("StablehloWhileOptions", loop),
        graphs=(never, body),
    )
    yield Case(
        op="STABLEHLO_CASE",
        inputs=(constant(0), one),
        outputs=(one,),
        options=("StablehloCaseOptions", {"branchSubgraphIndices": [1, 2]}),
        graphs=(single, single),
    )
    composite = (
        "StableHLOCompositeOptions",
        {"name": b"probe.abs", "decompositionSubgraphIndex": 1, "compositeAttributes": list(_NO_ATTRIBUTES)},
    )
    yield Case(op="STABLEHLO_COMPOSITE", inputs=(one,), outputs=(one,), options=composite, graphs=(single,))
    yield Case(op="CUSTOM", inputs=(one,), outputs=(one,), custom_code="EdgeKitProbe")
    yield Case(op="CUSTOM", inputs=(one,), outputs=(one,), custom_code="FlexErf")
    for kind in PLAIN:
        yield from _stablehlo(kind)


def _stablehlo(kind: str) -> Iterator[Case]:
    one = Value(type=kind, shape=(3, 4))
    scalar = Value(type=kind, shape=())

    def case(op: str, inputs: tuple[Value, ...], out: tuple[int, ...], **options: object) -> Case:
        name = f"Stablehlo{''.join(part.capitalize() for part in op.split('_'))}Options"
        made = Value(type=kind, shape=out)
        return Case(op=f"STABLEHLO_{op}", inputs=inputs, outputs=(made,), options=(name, options) if options else None)

    yield case("CONCATENATE", (one, one), (3, 8), dimension=1)
    yield case(
        "BROADCAST_IN_DIM", (Value(type=kind, shape=(4,)), constant([1], "int64")), (3, 4), broadcastDimensions=[1]
    )
    yield case("RESHAPE", (one,), (4, 3))
    yield case("SLICE", (one,), (2, 2), startIndices=[0, 1], limitIndices=[2, 3], strides=[1, 1])
    yield case("TRANSPOSE", (one,), (4, 3), permutation=[1, 0])
    yield case("IOTA", (), (3, 4), iotaDimension=0)
    pads = {"edgePaddingLow": [1, 0], "edgePaddingHigh": [0, 0], "interiorPadding": [0, 0]}
    yield case("PAD", (one, scalar), (4, 4), **pads)
    for index in ("int32", "int64"):
        at = Value(type=index, shape=(), data=constant(1, index).data)
        yield case("DYNAMIC_SLICE", (one, at, at), (2, 2), sliceSizes=[2, 2])
        yield case("DYNAMIC_UPDATE_SLICE", (one, Value(type=kind, shape=(2, 2)), at, at), (3, 4))
        yield case(
            "GATHER",
            (one, constant([[1], [2]], index)),
            (2, 4),
            offsetDims=[1],
            collapsedSliceDims=[0],
            startIndexMap=[0],
            indexVectorDim=1,
            sliceSizes=[1, 4],
        )
        scatter = case(
            "SCATTER",
            (one, constant([[1], [2]], index), Value(type=kind, shape=(2, 4))),
            (3, 4),
            updateWindowDims=[1],
            insertedWindowDims=[0],
            scatterDimsToOperandDims=[0],
            indexVectorDim=1,
            updateComputationSubgraphIndex=1,
        )
        for body in ("STABLEHLO_ADD", "STABLEHLO_MAXIMUM", "ADD"):
            yield replace(scatter, graphs=(_pairs(body, kind),))
    dims = {"lhsContractingDimensions": [1], "rhsContractingDimensions": [0]}
    yield case("DOT_GENERAL", (one, Value(type=kind, shape=(4, 2))), (3, 2), **dims)
    window = {"windowDimensions": [1, 2], "windowStrides": [1, 2], "baseDilations": [1, 1], "windowDilations": [1, 1]}
    for body in ("STABLEHLO_ADD", "STABLEHLO_MAXIMUM", "ADD", "MAXIMUM"):
        made = case("REDUCE_WINDOW", (one, scalar), (3, 2), padding=[0, 0, 0, 0], bodySubgraphIndex=1, **window)
        yield replace(made, graphs=(_pairs(body, kind),))
        made = case("REDUCE", (one, scalar), (3,), dimensions=[1], bodySubgraphIndex=1)
        yield replace(made, graphs=(_pairs(body, kind),))


def _pairs(op: str, kind: str) -> Case:
    """Return the graph of a reduction: one op on two values."""
    one = Value(type=kind, shape=())
    options = {"ADD": plain("AddOptions"), "MAXIMUM": plain("MaximumMinimumOptions")}
    return Case(op=op, inputs=(one, one), outputs=(one,), options=options.get(op))
