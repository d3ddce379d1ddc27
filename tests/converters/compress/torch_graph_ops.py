"""Operators in every form a PyTorch function knows, as ONNX text; no PyTorch in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class OpCase:
    """A graph of a few nodes: `body` computes `y`; `given` are shapes of inputs, `stored` of weights, or arrays."""

    body: str
    given: Mapping[str, Any]
    stored: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18
    flat: bool = False
    """Whether its gradient is zero or none."""

    def model(self) -> Any:
        """Return the model as an `onnx.ModelProto`."""
        from onnx import numpy_helper, parser, shape_inference

        heads = ", ".join(f"{_type(one)} {name}" for name, one in self.given.items())
        outputs = ", ".join(
            f"float {name}" for name in ("y", "z") if f"{name} =" in self.body or f"{name}," in self.body
        )
        text = f'<ir_version: 10, opset_import: ["": {self.opset}]>\ng ({heads}) => ({outputs}) {{ {self.body} }}'
        proto = parser.parse_model(text)
        for name, array in self.arrays(self.stored, 1).items():
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
        for one in proto.graph.output:  # whatever they are
            one.type.Clear()
        inferred = shape_inference.infer_shapes(proto, data_prop=True)
        known = {one.name: one for one in inferred.graph.output}
        for one in proto.graph.output:
            one.CopyFrom(known[one.name])
            if not one.type.tensor_type.elem_type:  # some functions' types are not inferred
                one.type.tensor_type.elem_type = 1
        return proto

    def arrays(self, shapes: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
        """Return arrays of shapes, normal floats; arrays stay."""
        rng = np.random.default_rng(seed)
        return {
            name: rng.normal(size=one).astype(np.float32) if isinstance(one, tuple) else one
            for name, one in shapes.items()
        }


def _type(one: Any) -> str:
    sizes = ",".join(map(str, one if isinstance(one, tuple) else one.shape))
    kind = "float" if isinstance(one, tuple) else {"float32": "float"}.get(one.dtype.name, one.dtype.name)
    return f"{kind}[{sizes}]"


def _ints(*values: int) -> Any:
    return np.array(values, np.int64)


def _unary(op: str, low: float = -2.0, high: float = 2.0, **more: Any) -> OpCase:
    x = np.random.default_rng(3).uniform(low, high, (3, 4)).astype(np.float32)
    return OpCase(body=f"y = {op}(x)", given={"x": x}, **more)


def _plain(op: str, shape: tuple[int, ...] = (2, 3, 4), **more: Any) -> OpCase:
    return OpCase(body=f"y = {op}(x)", given={"x": shape}, **more)


UNARY = {
    **{op: _unary(op) for op in (
        "Abs", "Neg", "Exp", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Sigmoid", "Relu",
        "Softplus", "Softsign", "Mish", "Identity", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu",
        "HardSigmoid", "HardSwish", "Shrink", "Clip",
    )},
    **{op: _unary(op, flat=True) for op in ("Sign", "Floor", "Ceil", "Round")},
    **{op: _unary(op, 0.1, 3.0) for op in ("Log", "Sqrt", "Reciprocal")},
    **{op: _unary(op, -0.9, 0.9) for op in ("Asin", "Acos", "Tan", "Atanh")},
    "Acosh": _unary("Acosh", 1.1, 3.0),
    "LeakyRelu of a slope": _unary("LeakyRelu<alpha=0.3>"),
    "Elu of an alpha": _unary("Elu<alpha=0.3>"),
    "Selu of an alpha": _unary("Selu<alpha=1.1,gamma=0.7>"),
    "Celu of an alpha": _unary("Celu<alpha=0.4>"),
    "HardSigmoid of a slope": _unary("HardSigmoid<alpha=0.4,beta=0.3>"),
    "ThresholdedRelu of a limit": _unary("ThresholdedRelu<alpha=0.3>"),
    "Shrink with a bias": _unary("Shrink<bias=0.2,lambd=0.3>"),
    "Gelu": _unary("Gelu", opset=20),
    "Gelu of tanh": _unary('Gelu<approximate="tanh">', opset=20),
    "Swish": _unary("Swish<alpha=1.5>", opset=24),
    "Clip of attributes": _unary("Clip<min=-0.5,max=0.7>", opset=6),
    "Clip of inputs": OpCase(
        body="y = Clip(x, a, b)", given={"x": (3, 4)}, stored={"a": np.float32(-0.5), "b": np.float32(0.5)}
    ),
    "Clip from above": OpCase(body="y = Clip(x, , b)", given={"x": (3, 4)}, stored={"b": np.float32(0.5)}),
    "PRelu": OpCase(body="y = PRelu(x, s)", given={"x": (2, 3, 4, 4)}, stored={"s": (3, 1, 1)}),
    "Dropout": _plain("Dropout"),
    "Cast": OpCase(body="a = Cast<to=7>(x) y = Cast<to=1>(a)", given={"x": (3, 4)}, flat=True),
    "CastLike": OpCase(body="y = CastLike(x, w)", given={"x": (3, 4)}, stored={"w": np.zeros(1, np.float64)}),
    "Not": OpCase(body="a = Greater(x, w) b = Not(a) y = Where(b, x, w)", given={"x": (3, 4)}, stored={"w": (4,)}),
    "IsNaN": OpCase(body="a = Div(x, w) b = IsNaN(a) c = IsInf(a) d = Or(b, c) y = Where(d, w, x)",
                    given={"x": (3, 2)}, stored={"w": np.array([0.0, 2.0], np.float32)}),
}  # fmt: skip
BINARY = {
    **{op: OpCase(body=f"y = {op}(x, w)", given={"x": (2, 3, 4)}, stored={"w": (3, 1)})
       for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean")},
    **{op: OpCase(body=f"a = {op}(x, w) y = Where(a, x, v)", given={"x": (2, 3)}, stored={"w": (3,), "v": (3,)})
       for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
    "Equal": OpCase(body="a = Equal(x, w) y = Where(a, w, x)", given={"x": (2, 3)}, stored={"w": (3,)}),
    **{op: OpCase(body=f"a = Greater(x, w) b = Less(x, v) c = {op}(a, b) y = Where(c, x, v)", given={"x": (4, 3)},
                  stored={"w": (3,), "v": (3,)}) for op in ("And", "Or", "Xor")},
    "Pow": OpCase(body="a = Abs(x) y = Pow(a, w)", given={"x": (2, 3)}, stored={"w": np.float32(1.5)}),
    "Pow of whole numbers": OpCase(body="y = Pow(x, w)", given={"x": (2, 3)}, stored={"w": np.int64(2)}),
    "Div of whole numbers": OpCase(body="a = Div(x, w) y = Cast<to=1>(a)", flat=True,
                                   given={"x": np.array([7, -7, 5])}, stored={"w": _ints(2)}),
    "Mod": OpCase(body="y = Mod<fmod=1>(x, w)", given={"x": (2, 3)}, stored={"w": (3,)}),
    "Mod of whole numbers": OpCase(body="a = Mod(x, w) y = Cast<to=1>(a)", flat=True,
                                   given={"x": np.array([7, -7, 5])}, stored={"w": _ints(3)}),
    "Sum of three": OpCase(body="y = Sum(x, w, v)", given={"x": (2, 3)}, stored={"w": (3,), "v": (2, 1)}),
    "Max of three": OpCase(body="y = Max(x, w, v)", given={"x": (2, 3)}, stored={"w": (3,), "v": (2, 1)}),
}  # fmt: skip


def _conv(
    kernel: tuple[int, ...], how: str = "", shape: tuple[int, ...] = (2, 4, 9, 8), *, bias: bool = True
) -> OpCase:
    stored = {"w": kernel, **({"b": (kernel[0],)} if bias else {})}
    return OpCase(body=f"y = Conv{how}(x, w{', b' if bias else ''})", given={"x": shape}, stored=stored)


def _transposed(kernel: tuple[int, ...], how: str = "", shape: tuple[int, ...] = (2, 4, 5, 6)) -> OpCase:
    return OpCase(body=f"y = ConvTranspose{how}(x, w)", given={"x": shape}, stored={"w": kernel})


WINDOWS = {
    "Conv": _conv((5, 4, 3, 3)),
    "Conv without bias": _conv((5, 4, 3, 3), bias=False),
    "Conv padded": _conv((5, 4, 3, 2), "<pads=[1,0,2,1]>"),
    "Conv padded alike": _conv((5, 4, 3, 3), "<pads=[1,1,1,1]>"),
    "Conv strided and dilated": _conv((5, 4, 3, 3), "<strides=[2,1],dilations=[1,2],pads=[1,2,1,2]>"),
    "Conv of groups": _conv((6, 2, 3, 3), "<group=2>"),
    "Conv depthwise": _conv((4, 1, 3, 3), '<group=4,auto_pad="SAME_UPPER",strides=[2,2]>'),
    "Conv SAME_LOWER": _conv((3, 4, 4, 2), '<auto_pad="SAME_LOWER",strides=[3,2]>'),
    "Conv VALID": _conv((3, 4, 2, 2), '<auto_pad="VALID">'),
    "Conv of one dimension": _conv((5, 4, 3), "<strides=[2]>", (2, 4, 15)),
    "Conv of three dimensions": _conv((3, 4, 3, 2, 2), "", (1, 4, 5, 4, 3)),
    "ConvTranspose": _transposed((4, 3, 3, 3)),
    "ConvTranspose strided": _transposed((4, 3, 3, 3), "<strides=[2,2],pads=[1,1,0,1],output_padding=[1,0]>"),
    "ConvTranspose of groups": _transposed((4, 2, 2, 3), "<group=2,dilations=[2,1]>"),
    "ConvTranspose of a shape": _transposed((4, 3, 3, 3), "<strides=[2,2],output_shape=[10,12]>"),
    "ConvTranspose SAME_UPPER": _transposed((4, 3, 3, 4), '<strides=[2,2],auto_pad="SAME_UPPER">'),
    "ConvTranspose SAME_LOWER": _transposed((4, 3, 4, 3), '<strides=[2,2],auto_pad="SAME_LOWER">'),
    "ConvTranspose of one dimension": _transposed((4, 3, 3), "<strides=[2]>", (2, 4, 6)),
    "ConvTranspose with bias": OpCase(
        body="y = ConvTranspose(x, w, b)", given={"x": (2, 4, 5, 5)}, stored={"w": (4, 3, 3, 3), "b": (3,)}
    ),
    **{
        f"{op} {name}": OpCase(body=f"y = {op}<{how}>(x)", given={"x": shape})
        for op in ("MaxPool", "AveragePool")
        for name, (how, shape) in {
            "plain": ("kernel_shape=[2,2],strides=[2,2]", (2, 3, 8, 8)),
            "padded": ("kernel_shape=[3,3],strides=[2,2],pads=[1,0,1,1]", (2, 3, 8, 9)),
            "ceiled": ("kernel_shape=[3,2],strides=[2,2],ceil_mode=1", (2, 3, 8, 7)),
            "ceiled and padded": ("kernel_shape=[3,3],strides=[3,3],pads=[1,1,1,1],ceil_mode=1", (2, 3, 9, 8)),
            "SAME_UPPER": ('kernel_shape=[3,2],strides=[2,2],auto_pad="SAME_UPPER"', (2, 3, 8, 7)),
            "SAME_LOWER": ('kernel_shape=[2,2],strides=[1,1],auto_pad="SAME_LOWER"', (2, 3, 5, 5)),
            "of one dimension": ("kernel_shape=[3],strides=[2],pads=[1,1]", (2, 3, 9)),
            "of three dimensions": ("kernel_shape=[2,2,1]", (1, 2, 4, 3, 3)),
        }.items()
    },
    "MaxPool dilated": _plain("MaxPool<kernel_shape=[2,2],dilations=[2,3]>", (2, 3, 9, 9)),
    "AveragePool with padding": _plain(
        "AveragePool<kernel_shape=[3,3],pads=[1,1,0,1],count_include_pad=1>", (2, 3, 7, 6)
    ),
    "AveragePool dilated": _plain("AveragePool<kernel_shape=[2,2],dilations=[2,1]>", (2, 3, 7, 6), opset=19),
    "LpPool": _plain("LpPool<kernel_shape=[2,2],strides=[2,2],p=2>", (2, 3, 6, 6)),
    "GlobalAveragePool": _plain("GlobalAveragePool", (2, 3, 5, 4)),
    "GlobalMaxPool": _plain("GlobalMaxPool", (2, 3, 5, 4)),
}
_RESIZED: Mapping[str, tuple[str, tuple[float, ...]]] = {
    f"{mode} {kind}": (f'mode="{mode}",coordinate_transformation_mode="{kind}"', scales)
    for mode in ("nearest", "linear", "cubic")
    for kind, scales in {
        "half_pixel": (1, 1, 2.0, 1.5), "asymmetric": (1, 1, 2.0, 0.5), "align_corners": (1, 1, 2.0, 2.0),
        "pytorch_half_pixel": (1, 1, 0.5, 2.0),
    }.items()
}  # fmt: skip


def _norm(body: str, shape: tuple[int, ...], count: int, opset: int = 18) -> OpCase:
    return OpCase(body=body, given={"x": shape}, stored={"s": (count,), "b": (count,)}, opset=opset)


_AXES = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSumExp",
)  # fmt: skip
PRODUCTS = {
    "MatMul": OpCase(body="y = MatMul(x, w)", given={"x": (2, 3, 4)}, stored={"w": (4, 5)}),
    "MatMul of many": OpCase(body="y = MatMul(x, v)", given={"x": (2, 3, 4), "v": (2, 4, 5)}),
    "MatMul of a vector": OpCase(body="y = MatMul(x, w)", given={"x": (2, 3, 4)}, stored={"w": (4,)}),
    "Gemm": OpCase(body="y = Gemm(x, w, b)", given={"x": (3, 4)}, stored={"w": (4, 5), "b": (5,)}),
    "Gemm turned and scaled": OpCase(
        body="y = Gemm<transA=1,transB=1,alpha=0.5,beta=2.0>(x, w, b)", given={"x": (4, 3)},
        stored={"w": (5, 4), "b": (5,)},
    ),
    "Gemm without bias": OpCase(body="y = Gemm<transB=1>(x, w)", given={"x": (3, 4)}, stored={"w": (5, 4)}),
    "Einsum": OpCase(body='y = Einsum<equation="bij, jk -> bik">(x, w)', given={"x": (2, 3, 4)}, stored={"w": (4, 5)}),
    "Einsum with an ellipsis": OpCase(
        body='y = Einsum<equation="...ij,...jk->...ik">(x, w)', given={"x": (2, 3, 4)}, stored={"w": (2, 4, 5)}
    ),
    "BatchNormalization": OpCase(
        body="y = BatchNormalization<epsilon=0.01>(x, s, b, m, v)", given={"x": (2, 3, 4, 4)},
        stored={"s": (3,), "b": (3,), "m": (3,), "v": np.array([0.5, 1.5, 2.0], np.float32)},
    ),
    "InstanceNormalization": _norm("y = InstanceNormalization(x, s, b)", (2, 3, 4, 5), 3),
    "LayerNormalization": _norm("y = LayerNormalization(x, s, b)", (2, 3, 4), 4),
    "LayerNormalization of two axes": OpCase(
        body="y = LayerNormalization<axis=1,epsilon=0.1>(x, s)", given={"x": (2, 3, 4)}, stored={"s": (3, 4)}
    ),
    "GroupNormalization": _norm("y = GroupNormalization<num_groups=2>(x, s, b)", (2, 4, 3, 3), 4, 21),
    "GroupNormalization a group": _norm("y = GroupNormalization<num_groups=2>(x, s, b)", (2, 4, 3, 3), 2),
    "RMSNormalization": OpCase(
        body="y = RMSNormalization(x, s)", given={"x": (2, 3, 4)}, stored={"s": (4,)}, opset=23
    ),
    "MeanVarianceNormalization": _plain("MeanVarianceNormalization", (2, 3, 4, 4)),
    "LpNormalization": _plain("LpNormalization<axis=1>"),
    "LpNormalization of one": _plain("LpNormalization<axis=-1,p=1>"),
    "LRN": _plain("LRN<size=3,alpha=0.1>", (2, 5, 3, 3)),
    "LRN of a size of five": _plain("LRN<size=5,alpha=0.1,bias=2.0,beta=0.5>", (2, 6, 3, 3)),
    "Softmax": _plain("Softmax"), "Softmax of an axis": _plain("Softmax<axis=1>"),
    "Softmax of old": _plain("Softmax", opset=11), "LogSoftmax": _plain("LogSoftmax"),
    "LogSoftmax of old": _plain("LogSoftmax<axis=2>", opset=11),
    **{f"{op} of all": _plain(op) for op in _AXES},
    **{f"{op} of axes, old": _plain(f"{op}<axes=[-1,1],keepdims=0>", opset=11) for op in _AXES},
    **{f"{op} of axes": OpCase(body=f"y = {op}(x, a)", given={"x": (2, 3, 4)}, stored={"a": _ints(1)}) for op in _AXES},
    "ReduceLogSum": OpCase(body="a = Exp(x) y = ReduceLogSum(a, b)", given={"x": (2, 3)}, stored={"b": _ints(1)}),
    "ReduceSum of nothing": OpCase(body="y = ReduceSum<noop_with_empty_axes=1>(x)", given={"x": (2, 3)}),
    "CumSum": OpCase(body="y = CumSum(x, a)", given={"x": (2, 3)}, stored={"a": np.int64(1)}),
    "CumSum backwards": OpCase(
        body="y = CumSum<reverse=1,exclusive=1>(x, a)", given={"x": (2, 3)}, stored={"a": np.int64(-1)}
    ),
    "ArgMax": OpCase(body="a = ArgMax<axis=1>(x) y = Cast<to=1>(a)", given={"x": (2, 5)}, flat=True),
    "ArgMin of the last": OpCase(
        body="a = ArgMin<axis=1,select_last_index=1,keepdims=0>(x) y = Cast<to=1>(a)", flat=True,
        given={"x": np.array([[1, 0, 0, 2]], np.float32)},
    ),
    "TopK": OpCase(body="y, i = TopK<axis=1>(x, k)", given={"x": (2, 5)}, stored={"k": _ints(3)}),
}  # fmt: skip
SHAPES = {
    "Shape": OpCase(body="a = Shape<start=1>(x) b = Cast<to=1>(a) y = Add(w, b)", given={"x": (2, 3, 4)},
                    stored={"w": (2,)}),
    "Size": OpCase(body="a = Size(x) b = Cast<to=1>(a) y = Mul(x, b)", given={"x": (2, 3)}),
    "Reshape": OpCase(body="y = Reshape(x, s)", given={"x": (2, 3, 4)}, stored={"s": _ints(0, -1)}),
    "Flatten": _plain("Flatten"), "Flatten of an axis": _plain("Flatten<axis=-1>"),
    "Flatten to a row": _plain("Flatten<axis=0>"),
    "Transpose": _plain("Transpose"), "Transpose of an order": _plain("Transpose<perm=[0,2,1]>"),
    "Squeeze": OpCase(body="y = Squeeze(x, a)", given={"x": (1, 3, 1)}, stored={"a": _ints(-1)}),
    "Squeeze of all": _plain("Squeeze", (1, 3, 1)), "Squeeze of old": _plain("Squeeze<axes=[0]>", (1, 3, 1), opset=11),
    "Unsqueeze": OpCase(body="y = Unsqueeze(x, a)", given={"x": (2, 3)}, stored={"a": _ints(-1, 0)}),
    "Unsqueeze of old": _plain("Unsqueeze<axes=[0,2]>", (2, 3), opset=11),
    "Concat": OpCase(body="y = Concat<axis=1>(x, w)", given={"x": (2, 3)}, stored={"w": (2, 2)}),
    "Split": OpCase(body="y, z = Split<axis=1>(x, s)", given={"x": (2, 5)}, stored={"s": _ints(2, 3)}),
    "Split in parts": OpCase(body="y, z = Split<axis=1,num_outputs=2>(x)", given={"x": (2, 5)}),
    "Split of old": OpCase(body="y, z = Split<axis=1,split=[1,4]>(x)", given={"x": (2, 5)}, opset=11),
    "Slice": OpCase(body="y = Slice(x, s, e, a, t)", given={"x": (4, 6)},
                    stored={"s": _ints(1, -4), "e": _ints(9, 6), "a": _ints(0, -1), "t": _ints(1, 2)}),
    "Slice backwards": OpCase(body="y = Slice(x, s, e, a, t)", given={"x": (4, 6)},
                              stored={"s": _ints(-1), "e": _ints(-(2**62)), "a": _ints(1), "t": _ints(-2)}),
    "Slice of old": _plain("Slice<starts=[1],ends=[-1],axes=[1]>", (3, 5), opset=9),
    "Slice to nothing": OpCase(body="a = Slice(x, s, e) y = Concat<axis=0>(a, x)", given={"x": (3, 2)},
                               stored={"s": _ints(2), "e": _ints(1)}),
    "Gather of a table": OpCase(body="a = Cast<to=7>(i) y = Gather(w, a)", given={"i": np.array([[1, 0], [3, -1]])},
                                stored={"w": (4, 3)}),
    "Gather": OpCase(body="y = Gather<axis=1>(x, i)", given={"x": (2, 4, 3)}, stored={"i": _ints(2, -1, 2)}),
    "Gather of one": OpCase(body="y = Gather<axis=1>(x, i)", given={"x": (2, 4, 3)}, stored={"i": np.int64(-2)}),
    "GatherElements": OpCase(body="y = GatherElements<axis=1>(x, i)", given={"x": (2, 3)},
                             stored={"i": np.array([[0, -1], [2, 1]])}),
    "GatherND": OpCase(body="y = GatherND(x, i)", given={"x": (2, 3, 4)}, stored={"i": np.array([[0, 1], [1, 2]])}),
    "Pad": OpCase(body="y = Pad(x, p, v)", given={"x": (2, 3)},
                  stored={"p": _ints(0, 1, 2, -1), "v": np.float32(0.5)}),
    "Pad of axes": OpCase(body="y = Pad(x, p, , a)", given={"x": (2, 3)}, stored={"p": _ints(1, 2), "a": _ints(-1)}),
    "Pad of old": _plain("Pad<pads=[0,1,0,1],value=0.3>", (2, 3), opset=10),
    "Pad reflected": OpCase(body='y = Pad<mode="reflect">(x, p)', given={"x": (2, 5)}, stored={"p": _ints(0, 2, 0, 1)}),
    "Pad with edges": OpCase(body='y = Pad<mode="edge">(x, p)', given={"x": (2, 5)}, stored={"p": _ints(1, 2, 0, 1)}),
    "Pad wrapped": OpCase(body='y = Pad<mode="wrap">(x, p)', given={"x": (2, 5)}, stored={"p": _ints(0, 2, 0, 1)},
                          opset=19),
    "Expand": OpCase(body="y = Expand(x, s)", given={"x": (3, 1)}, stored={"s": _ints(2, 1, 4)}),
    "Tile": OpCase(body="y = Tile(x, r)", given={"x": (2, 3)}, stored={"r": _ints(2, 1)}),
    "ConstantOfShape": OpCase(body="s = Shape(x) a = ConstantOfShape<value=float[1] {2.0}>(s) y = Mul(x, a)",
                              given={"x": (2, 3)}),
    "Range": OpCase(body="a = Range(f, t, d) b = Cast<to=1>(a) y = Add(x, b)", given={"x": (2, 4)},
                    stored={"f": np.int64(1), "t": np.int64(9), "d": np.int64(2)}),
    "Trilu": _plain("Trilu", (3, 4)),
    "Trilu below": OpCase(body="y = Trilu<upper=0>(x, k)", given={"x": (4, 4)}, stored={"k": np.int64(1)}),
    "DepthToSpace": _plain("DepthToSpace<blocksize=2>", (1, 8, 2, 3)),
    "DepthToSpace CRD": _plain('DepthToSpace<blocksize=2,mode="CRD">', (1, 8, 2, 3)),
    "SpaceToDepth": _plain("SpaceToDepth<blocksize=2>", (1, 3, 4, 6)),
    **{f"Resize {name}": OpCase(body=f"y = Resize<{how}>(x, , s)", given={"x": (1, 2, 4, 6)},
                                stored={"s": np.array(scales, np.float32)})
       for name, (how, scales) in _RESIZED.items()},
    "Resize to a size": OpCase(body='y = Resize<mode="linear",axes=[2,3]>(x, , , s)', given={"x": (1, 2, 4, 6)},
                               stored={"s": _ints(7, 5)}),
    "Resize of old": OpCase(body='y = Resize<mode="linear">(x, s)', given={"x": (1, 2, 4, 6)}, opset=10,
                            stored={"s": np.array([1, 1, 2, 2], np.float32)}),
    "Upsample": OpCase(body='y = Upsample<mode="nearest">(x, s)', given={"x": (1, 2, 3, 3)}, opset=9,
                       stored={"s": np.array([1, 1, 2, 3], np.float32)}),
}  # fmt: skip


def _recurrent(op: str, gates: int, how: str = "", more: str = "", stored: Any = None) -> OpCase:
    ways = 2 if "bidirectional" in how else 1
    given = {"x": (3, 2, 4)}
    weights = {"w": (ways, gates * 5, 4), "r": (ways, gates * 5, 5), "b": (ways, 2 * gates * 5)}
    return OpCase(
        body=f"y, z = {op}<hidden_size=5{how}>(x, w, r, b{more})",
        given=given,
        stored={**weights, **(stored or {})},
        opset=14,
    )


RECURRENT = {
    "LSTM": _recurrent("LSTM", 4),
    "LSTM both ways": _recurrent("LSTM", 4, ',direction="bidirectional"'),
    "LSTM backwards": _recurrent("LSTM", 4, ',direction="reverse"'),
    "LSTM with peepholes": _recurrent("LSTM", 4, more=", , , , p", stored={"p": (1, 15)}),
    "LSTM with a state": _recurrent("LSTM", 4, more=", , h, c", stored={"h": (1, 2, 5), "c": (1, 2, 5)}),
    "GRU": _recurrent("GRU", 3),
    "GRU reset before": _recurrent("GRU", 3, ",linear_before_reset=1"),
    "RNN": _recurrent("RNN", 1),
    "RNN without bias": OpCase(
        body="y = RNN<hidden_size=5>(x, w, r)",
        given={"x": (3, 2, 4)},
        stored={"w": (1, 5, 4), "r": (1, 5, 5)},
        opset=14,
    ),
}
CASES: Mapping[str, OpCase] = {**UNARY, **BINARY, **WINDOWS, **PRODUCTS, **SHAPES, **RECURRENT}
