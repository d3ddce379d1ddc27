"""Replacement and reordering: other ops, or another order, compute the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.rules import REPLACE
from tests.converters.compress import random_nets as r
from tests.converters.compress.rewritten import net, normal, rewritten

RULES = {rule.name: rule for rule in REPLACE}
W = {
    "half": np.float32(0.5),
    "one": np.float32(1),
    "two": np.float32(2),
    "three": np.float32(3),
    "six": np.float32(6),
    "sixth": np.float32(1 / 6),
    "zero": np.float32(0),
    "minus": np.float32(-1),
    "root": np.float32(np.sqrt(0.5)),
    "root2": np.float32(np.sqrt(2)),
    "pi": np.float32(np.sqrt(2 / np.pi)),
    "cubic": np.float32(0.044715),
    "eps": np.float32(1e-5),
    "odd": np.float32(1.7),
    "last": np.array([-1]),
    "first": np.array([1]),
    "sides": np.array([2, 3]),
    "g": np.abs(normal(0, 8)) + 0.5,
    "b": normal(1, 8),
    "p": normal(2, 2, 4, 1, 1),
    "wide": normal(3, 9, 4, 1, 1),
    "k3": normal(4, 4, 4, 3, 3),
    "k8": normal(5, 5, 4, 8, 8),
    "b5": normal(6, 5),
    "m": normal(7, 8, 3),
    "c": normal(8, 8, 8, 4),
    "scales": np.array([1, 1, 2, 3], np.float32),
    "less": np.array([1, 1, 0.5, 1], np.float32),
    "flat": np.array([0, -1]),
}
ROW, IMAGE = "x[N,3,8]", "x[N,4,8,8]"
ROOT = "s=Sqrt(e) y=Div(d,s)"
CENTRED = "m0=ReduceMean<keepdims=1>(x,last) d=Sub(x,m0)"
CASES = {
    "Gelu, divided": ("gelu-erf", f"{ROW} -> y: a=Div(x,root2) e=Erf(a) f=Add(e,one) h=Mul(x,f) y=Mul(h,half)", "Gelu"),
    "Gelu, halved first": (
        "gelu-erf",
        f"{ROW} -> y: a=Mul(root,x) e=Erf(a) f=Add(one,e) h=Div(x,two) y=Mul(f,h)",
        "Gelu",
    ),
    "Gelu, gate halved": (
        "gelu-erf",
        f"{ROW} -> y: a=Mul(root,x) e=Erf(a) f=Sub(e,minus) h=Mul(half,f) y=Mul(x,h)",
        "Gelu",
    ),
    "Gelu by Tanh": (
        "gelu-tanh",
        (
            f"{ROW} -> y: q=Pow(x,three) a=Mul(q,cubic) s=Add(x,a) t=Mul(s,pi) e=Tanh(t) f=Add(e,one)"
            " h=Mul(x,f) y=Mul(h,half)"
        ),
        "Gelu",
    ),
    "Gelu by Tanh, factored": (
        "gelu-tanh",
        (
            f"{ROW} -> y: q=Mul(x,x) a=Mul(cubic,q) s=Add(a,one) v=Mul(x,pi) t=Mul(v,s) e=Tanh(t) f=Add(e,one)"
            " h=Mul(x,half) y=Mul(h,f)"
        ),
        "Gelu",
    ),
    "HardSwish": ("hard-swish", f"{ROW} -> y: a=Add(x,three) e=Clip(a,zero,six) h=Mul(x,e) y=Div(h,six)", "HardSwish"),
    "HardSwish by its gate": (
        "hard-swish",
        f"{ROW} -> y: a=HardSigmoid<alpha=0.16666667,beta=0.5>(x) y=Mul(a,x)",
        "HardSwish",
    ),
    "HardSigmoid": ("hard-sigmoid", f"{ROW} -> y: a=Add(x,three) e=Clip(a,zero,six) y=Mul(e,sixth)", "HardSigmoid"),
    "HardSigmoid, a line": (
        "hard-sigmoid",
        f"{ROW} -> y: a=Mul(x,sixth) v=Add(a,half) y=Clip(v,zero,one)",
        "HardSigmoid",
    ),
    "Softplus": ("softplus", f"{ROW} -> y: e=Exp(x) a=Add(one,e) y=Log(a)", "Softplus"),
    "Mish": ("mish", f"{ROW} -> y: e=Softplus(x) a=Tanh(e) y=Mul(a,x)", "Mish"),
    "LeakyRelu": ("leaky-relu", f"{ROW} -> y: e=Mul(half,x) y=Max(e,x)", "LeakyRelu"),
    "Softmax": (
        "softmax",
        f"{ROW} -> y: m0=ReduceMax(x,last) d=Sub(x,m0) e=Exp(d) s=ReduceSum(e,last) y=Div(e,s)",
        "Softmax",
    ),
    "Softmax, another axis": ("softmax", f"{ROW} -> y: e=Exp(x) s=ReduceSum(e,first) y=Div(e,s)", "Softmax"),
    "LogSoftmax": ("log-softmax", f"{ROW} -> y: e=Softmax<axis=1>(x) y=Log(e)", "LogSoftmax"),
    "a norm of layers": (
        "layer-norm",
        f"{ROW} -> y: {CENTRED} q=Pow(d,two) v=ReduceMean(q,last) e=Add(v,eps) s=Sqrt(e) y=Div(d,s)",
        "LayerNormalization",
    ),
    "a norm of layers by a product": (
        "layer-norm",
        f"{ROW} -> y: {CENTRED} q=Mul(d,d) v=ReduceMean(q,last) e=Add(eps,v) s=Sqrt(e) y=Div(d,s)",
        "LayerNormalization",
    ),
    "a norm's scale": ("layer-norm-scale", f"{ROW} -> y: a=LayerNormalization(x,g) y=Mul(b,a)", "LayerNormalization"),
    "a norm's shift": ("layer-norm-scale", f"{ROW} -> y: a=LayerNormalization(x,g,b) y=Add(b,a)", "LayerNormalization"),
    "a division": ("div-to-mul", f"{ROW} -> y: y=Div(x,g)", "Mul"),
    "a square": ("pow-form", f"{ROW} -> y: y=Pow(x,two)", "Mul"),
    "an inverse": ("reciprocal-mul", "x[N,8]; z[N,8] -> y: a=Reciprocal(z) y=Mul(a,x)", "Div"),
    "a maximum with 0": ("clip-form", f"{ROW} -> y: y=Max(zero,x)", "Relu"),
    "a Clip from 0 on": ("clip-form", f"{ROW} -> y: y=Clip(x,zero)", "Relu"),
    "a minimum": ("clip-form", f"{ROW} -> y: y=Min(x,six)", "Clip"),
    "a mean over the image": ("global-mean", f"{IMAGE} -> y: y=ReduceMean(x,sides)", "GlobalAveragePool"),
    "a pooling over the image": (
        "global-mean",
        f"{IMAGE} -> y: y=AveragePool<kernel_shape=[8,8]>(x)",
        "GlobalAveragePool",
    ),
    "a mean to rows": ("mean-flatten", f"{IMAGE} -> y: a=GlobalAveragePool(x) y=Flatten(a)", "ReduceMean"),
    "a mean to rows by Reshape": (
        "mean-flatten",
        f"{IMAGE} -> y: a=GlobalAveragePool(x) y=Reshape(a,flat)",
        "ReduceMean",
    ),
}
SEVERAL = {
    "a Transpose past ops": (
        "transpose-down",
        (
            "x[N,4,8,8] -> y: a=Transpose<perm=[0,2,3,1]>(x) e=Relu(a) s=Mul(e,c) v=Softmax<axis=-1>(s)"
            " y=Transpose<perm=[0,3,1,2]>(v)"
        ),
        {"Relu": 1, "Mul": 1, "Softmax": 1, "Transpose": 1},
    ),
    "a Transpose of a sum": (
        "transpose-join",
        "x[N,4,8,8]; z[N,4,8,8] -> y: a=Transpose<perm=[0,2,3,1]>(x) e=Transpose<perm=[0,2,3,1]>(z) y=Add(e,a)",
        {"Add": 1, "Transpose": 1},
    ),
    "a Transpose of what is joined": (
        "transpose-join",
        (
            "x[N,4,8,8]; z[N,4,8,5] -> y: a=Transpose<perm=[0,2,3,1]>(x) e=Transpose<perm=[0,2,3,1]>(z)"
            " y=Concat<axis=-2>(a,e)"
        ),
        {"Concat": 1, "Transpose": 1},
    ),
    "a cube": ("pow-form", f"{ROW} -> y: y=Pow(x,three)", {"Mul": 2}),
    "a pooling before a convolution": (
        "pool-up",
        f"{IMAGE} -> y: a=Conv(x,p) y=AveragePool<kernel_shape=[2,2],strides=[2,2]>(a)",
        {"Conv": 1, "AveragePool": 1},
    ),
    "an enlargement behind a convolution": (
        "resize-down",
        f'{IMAGE} -> y: a=Resize<mode="linear">(x,,scales) y=Conv(a,p)',
        {"Conv": 1, "Resize": 1},
    ),
    "a kernel as large as the image": (
        "conv-to-dense",
        f"{IMAGE} -> y: y=Conv(x,k8,b5)",
        {"Flatten": 1, "Gemm": 1, "Reshape": 1},
    ),
    "rows as images": ("dense-to-conv", "x[N,8] -> y: y=Gemm<alpha=0.5>(x,m)", {"Reshape": 1, "Conv": 1, "Flatten": 1}),
}
NEAR = {
    "an old opset": (
        "gelu-erf",
        f"{ROW} -> y: a=Div(x,root2) e=Erf(a) f=Add(e,one) h=Mul(x,f) y=Mul(h,half)",
        "gelu-erf: Gelu is of opset 20, and the model's is 18",
    ),
    "another factor": (
        "gelu-erf",
        f"{ROW} -> y: a=Div(x,root2) e=Erf(a) f=Add(e,one) h=Mul(x,f) y=Mul(h,root)",
        "its constant 'root' is 0.707107, not 0.5",
    ),
    "a gate that goes elsewhere": (
        "gelu-erf",
        f"{ROW} -> y; f: a=Div(x,root2) e=Erf(a) f=Add(e,one) h=Mul(x,f) y=Mul(h,half)",
        "its result 'f' is an output of the model",
    ),
    "another gate": (
        "hard-swish",
        f"{ROW} -> y: a=HardSigmoid(x) y=Mul(a,x)",
        "its gate is 0.2 x + 0.5, not x / 6 + 0.5",
    ),
    "other bounds": (
        "hard-sigmoid",
        f"{ROW} -> y: a=Add(x,three) e=Clip(a,zero,three) y=Mul(e,sixth)",
        "it lies between 0 and 0.5, not 0 and 1",
    ),
    "a slope above 1": ("leaky-relu", f"{ROW} -> y: e=Mul(two,x) y=Max(e,x)", "is not between 0 and 1"),
    "a sum along two axes": (
        "softmax",
        f"{ROW} -> y: e=Exp(x) s=ReduceSum(e,both) y=Div(e,s)",
        "it goes along several axes",
    ),
    "a norm along another axis": (
        "layer-norm",
        f"{ROW} -> y: m0=ReduceMean(x,first) d=Sub(x,m0) q=Mul(d,d) v=ReduceMean(q,first) e=Add(v,eps) {ROOT}",
        "it does not go along the last axes",
    ),
    "a norm that is no square": (
        "layer-norm",
        f"{ROW} -> y: {CENTRED} q=Pow(d,three) v=ReduceMean(q,last) e=Add(v,eps) s=Sqrt(e) y=Div(d,s)",
        "it is no square",
    ),
    "a scale a row": (
        "layer-norm-scale",
        "x[N,8,8] -> y: a=LayerNormalization(x,g) y=Mul(a,square)",
        "its constant differs between what is normalized apart",
    ),
    "an exponent of no form": ("pow-form", f"{ROW} -> y: e=Abs(x) y=Pow(e,odd)", "x^1.7 has no cheaper form"),
    "a division by 0": ("div-to-mul", f"{ROW} -> y: y=Div(x,zero)", "it divides by 0"),
    "an axis that is no side": (
        "global-mean",
        f"{IMAGE} -> y: y=ReduceMean(x,first)",
        "it does not go along the sides of an image alone",
    ),
    "a window that is smaller": (
        "global-mean",
        f"{IMAGE} -> y: y=AveragePool<kernel_shape=[8,4]>(x)",
        "its window is not the image",
    ),
    "a sum before the second Transpose": (
        "transpose-down",
        "x[N,4,8,8] -> y; e: a=Transpose<perm=[0,2,3,1]>(x) e=Relu(a) y=Transpose<perm=[0,3,1,2]>(e)",
        "its result 'e' is an output of the model",
    ),
    "different orders": (
        "transpose-join",
        "x[N,8,8,8]; z[N,8,8,8] -> y: a=Transpose<perm=[0,2,3,1]>(x) e=Transpose<perm=[0,3,2,1]>(z) y=Add(e,a)",
        "its inputs are transposed differently",
    ),
    "fewer channels to pool": (
        "pool-up",
        "x[N,24,8,8] -> y: a=Conv(x,narrow) y=GlobalAveragePool(a)",
        "it would pool more than twice the channels",
    ),
    "a wide kernel": ("pool-up", f"{IMAGE} -> y: a=Conv(x,k3) y=GlobalAveragePool(a)", "it is no 1x1 convolution"),
    "more channels to enlarge": (
        "resize-down",
        f"{IMAGE} -> y: a=Resize(x,,scales) y=Conv(a,wide)",
        "the convolution makes more channels",
    ),
    "a reduction": ("resize-down", f"{IMAGE} -> y: a=Resize(x,,less) y=Conv(a,p)", "or makes a side smaller"),
    "no rows": ("dense-to-conv", f"{ROW} -> y: y=MatMul(x,m)", "it does not take rows [N, features]"),
}
MORE = {"both": np.array([1, 2]), "square": normal(9, 8, 8), "narrow": normal(10, 2, 24, 1, 1)}


@pytest.mark.parametrize(("rule", "text", "into"), CASES.values(), ids=CASES)
def test_ops_become_one_that_computes_the_same(rule: str, text: str, into: str, tmp_path: Path) -> None:
    found = rewritten(net(text, W, 20), [RULES[rule]], tmp_path)
    assert found.ops == {into: 1}, found.why


@pytest.mark.parametrize(("rule", "text", "ops"), SEVERAL.values(), ids=SEVERAL)
def test_ops_in_another_order_compute_the_same(rule: str, text: str, ops: dict[str, int], tmp_path: Path) -> None:
    found = rewritten(net(text, W, 20), [RULES[rule]], tmp_path)
    assert found.ops == ops, found.why
    assert found.effect.changes


@pytest.mark.parametrize(("rule", "text", "why"), NEAR.values(), ids=NEAR)
def test_near_misses_are_left_with_a_reason(rule: str, text: str, why: str, tmp_path: Path) -> None:
    found = rewritten(net(text, W | MORE), [RULES[rule]], tmp_path)
    assert not found.effect.changes, found.what
    assert why in found.why


def test_a_norm_with_scale_and_bias_is_one_op(tmp_path: Path) -> None:
    text = f"{ROW} -> y: {CENTRED} q=Pow(d,two) v=ReduceMean(q,last) e=Add(v,eps) s=Sqrt(e) i=Reciprocal(s) h=Mul(d,i)"
    found = rewritten(net(f"{text} j=Mul(h,g) y=Add(j,b)", W), REPLACE, tmp_path)
    assert found.ops == {"LayerNormalization": 1}


def test_numbers_of_half_precision_are_known(tmp_path: Path) -> None:
    weights = {name: one.astype(np.float16) for name, one in W.items() if one.dtype == np.float32}
    text = "float16 x[N,8] -> float16 y: a=Div(x,root2) e=Erf(a) f=Add(e,one) h=Mul(x,f) y=Mul(h,half)"
    assert rewritten(net(text, weights, 20), [RULES["gelu-erf"]], tmp_path).ops == {"Gelu": 1}


def _gate(net: r.Drawn, x: str) -> str:
    """An activation written out, or nearly one."""
    shape, kind = net.shapes[x], net.pick("gelu", "swish", "leaky", "softmax", "pow", "div")

    def number(*of: float) -> str:
        return net.store(np.float32(net.pick(*of)))

    if kind == "gelu":
        gate = net.add("Erf", [net.add("Div", [x, number(np.sqrt(2))], shape)], shape)
        gate = net.add("Add", [gate, number(1, 1, 2)], shape)
        return net.add("Mul", [net.add("Mul", [x, gate], shape), number(0.5)], shape)
    if kind == "swish":
        gate = net.add("Clip", [net.add("Add", [x, number(3)], shape), number(0), number(6, 6, 1)], shape)
        return net.add("Div", [net.add("Mul", [gate, x], shape), number(6)], shape)
    if kind == "leaky":
        return net.add("Max", [x, net.add("Mul", [x, number(0.25, 2)], shape)], shape)
    if kind == "softmax":
        each = net.add("Exp", [x], shape)
        axis = net.pick(*range(1, len(shape)))
        kept = tuple(1 if at == axis else size for at, size in enumerate(shape))
        return net.add("Div", [each, net.add("ReduceSum", [each, net.store(np.array([axis]))], kept)], shape)
    takes = [x, number(2, 3)] if kind == "pow" else [x, net.floats(shape[-1], positive=True)]
    return net.add({"pow": "Pow", "div": "Div"}[kind], takes, shape)


def _swapped(net: r.Drawn, x: str) -> str:
    """A Transpose there, an op, and a Transpose back."""
    shape = net.shapes[x]
    order = [0, *range(2, len(shape)), 1]
    there = net.add("Transpose", [x], tuple(shape[at] for at in order), perm=order)
    between = net.pick(r.bound, r.affine, _gate)(net, there)
    return net.add("Transpose", [between], shape, perm=[int(one) for one in np.argsort(order)])


def _mean(net: r.Drawn, x: str) -> str | None:
    """A mean over the image, or something near it."""
    shape = net.shapes[x]
    if len(shape) != 4 or min(shape[2:]) < 2:
        return None
    kind = net.pick("GlobalAveragePool", "ReduceMean", "AveragePool")
    if kind == "AveragePool":
        return net.add(kind, [x], (*shape[:2], 1, 1), kernel_shape=shape[2:])
    more = [net.store(np.array([2, 3]))] if kind == "ReduceMean" else []
    return net.add(kind, [x, *more], (*shape[:2], 1, 1))


STEPS = {
    "activations": (_gate, _gate, r.bound, r.affine),
    "transposes": (_swapped, _swapped, r.affine, r.moved),
    "images": (r.conv, r.conv, _mean, r.pooled, r.reshaped, r.dense),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_nets_compute_the_same(steps: tuple[r.Step, ...], data: Any, tmp_path: Path) -> None:
    opset = data.draw(st.sampled_from([18, 20]))
    rewritten(data.draw(r.nets(steps, (2, 4, 6, 6), opset, 5)), REPLACE, tmp_path)
