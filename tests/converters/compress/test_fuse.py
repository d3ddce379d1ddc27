"""Sequential fusion: what follows each other becomes one op that computes the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.rules import FUSE
from tests.converters.compress import random_nets as r
from tests.converters.compress.rewritten import net, normal, rewritten

RULES = {rule.name: rule for rule in FUSE}
W = {
    "w": normal(0, 4, 3, 3, 3),
    "b": normal(1, 4),
    "point": normal(2, 5, 4, 1, 1),
    "point3": normal(3, 3, 3, 1, 1),
    "deep": normal(4, 4, 1, 3, 3),
    "s4": np.abs(normal(5, 4, 1, 1)) + 0.5,
    "s3": np.abs(normal(6, 3, 1, 1)) + 0.5,
    "g3": np.abs(normal(7, 3)) + 0.5,
    "m": normal(8, 6, 4),
    "mt": normal(9, 4, 6),
    "k": normal(10, 4, 3),
    "c6": normal(11, 6),
    "c4": normal(12, 4),
    "row": normal(13, 8),
    "two": np.float32(2),
    "one": np.float32(1),
    "zero": np.float32(0),
    "six": np.float32(6),
    "low": np.float32(-np.inf),
    "ring": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "ring2": np.array([1, 1, 1, 1]),
    "sides": np.array([2, 3]),
    "thick": np.array([0, 1, 1, 1, 0, 0, 1, 1]),
    "flat": np.array([0, -1]),
    "cube": np.array([2, 4, 2, 1]),
}
CASES = {
    "a scale behind a convolution": ("affine-after", "x[N,3,8,8] -> y: a=Conv(x,w,b) y=Mul(s4,a)", "Conv"),
    "a division and a sign": ("affine-after", "x[N,3,8,8] -> y: a=Conv(x,w) c=Div(a,two) y=Neg(c)", "Conv"),
    "what is taken from a constant": ("affine-after", "x[N,3,8,8] -> y: a=Conv(x,w) y=Sub(s4,a)", "Conv"),
    "a bias behind a product becomes a Gemm": ("affine-after", "x[N,6] -> y: a=MatMul(x,m) y=Add(a,c4)", "Gemm"),
    "a scale behind a product of three dimensions": (
        "affine-after",
        "x[N,5,6] -> y: a=MatMul(x,m) y=Mul(a,c4)",
        "MatMul",
    ),
    "a scale behind a depthwise convolution": (
        "affine-after",
        "x[N,4,8,8] -> y: a=Conv<group=4>(x,deep) y=Mul(a,s4)",
        "Conv",
    ),
    "a scale before a padded convolution": (
        "affine-before",
        "x[N,3,8,8] -> y: a=Mul(x,s3) y=Conv<pads=[1,1,1,1]>(a,w,b)",
        "Conv",
    ),
    "a norm before a convolution": (
        "affine-before",
        "x[N,3,8,8] -> y: a=BatchNormalization(x,g3,g3,g3,g3) y=Conv(a,w,b)",
        "Conv",
    ),
    "a shift before a Gemm with a factor": (
        "affine-before",
        "x[N,6] -> y: a=Sub(x,c6) y=Gemm<transB=1,alpha=0.5,beta=2.0>(a,mt,c4)",
        "Gemm",
    ),
    "two scales": ("affine-pair", "x[N,3,8,8] -> y: a=Mul(x,s3) y=Div(a,two)", "Mul"),
    "two shifts": ("affine-pair", "x[N,3,8,8] -> y: a=Sub(x,s3) y=Add(two,a)", "Add"),
    "a ring of zeros before a convolution": ("pad-into", "x[N,3,8,8] -> y: a=Pad(x,ring) y=Conv(a,w,b)", "Conv"),
    "a ring on named axes": ("pad-into", "x[N,3,8,8] -> y: a=Pad(x,ring2,zero,sides) y=Conv(a,w)", "Conv"),
    "a ring of zeros before an average": (
        "pad-into",
        "x[N,3,8,8] -> y: a=Pad(x,ring) y=AveragePool<kernel_shape=[3,3]>(a)",
        "AveragePool",
    ),
    "a ring below all before a maximum": (
        "pad-into",
        "x[N,3,8,8] -> y: a=Pad(x,ring,low) y=MaxPool<kernel_shape=[3,3]>(a)",
        "MaxPool",
    ),
    "two dense layers": ("dense-pair", "x[N,6] -> y: a=Gemm(x,m,c4) y=MatMul(a,k)", "Gemm"),
    "two products of three dimensions": ("dense-pair", "x[N,5,6] -> y: a=MatMul(x,m) y=MatMul(a,k)", "MatMul"),
    "a point convolution behind another": (
        "conv-pair",
        "x[N,3,8,8] -> y: a=Conv(x,point43,b) y=Conv<strides=[2,2]>(a,point)",
        "Conv",
    ),
    "a point convolution before another": ("conv-pair", "x[N,3,8,8] -> y: a=Conv(x,point3,g3) y=Conv(a,w,b)", "Conv"),
    "two transposes": (
        "transpose-pair",
        "x[N,3,8,8] -> y: a=Transpose<perm=[0,2,3,1]>(x) y=Transpose<perm=[1,3,0,2]>(a)",
        "Transpose",
    ),
    "two reshapes": ("reshape-pair", "x[2,2,4] -> y: a=Flatten(x) y=Reshape(a,cube)", "Reshape"),
    "a free batch": ("reshape-pair", "x[N,2,1,4] -> y: a=Squeeze(x,ax) y=Reshape(a,flat)", "Reshape"),
    "a Relu of a Clip": ("clip-pair", "x[N,3,8,8] -> y: a=Clip(x,low,six) y=Relu(a)", "Clip"),
    "a Relu of a Max": ("clip-pair", "x[N,3,8,8] -> y: a=Max(x,zero) y=Relu(a)", "Relu"),
    "a Relu of a Sigmoid": ("clip-known", "x[N,3,8,8] -> y: a=Sigmoid(x) y=Relu(a)", "Sigmoid"),
    "a Split joined again": (
        "split-concat",
        "x[N,4,8,8] -> y: h=Relu(x) a,b0=Split<axis=1,num_outputs=2>(h) y=Concat<axis=-3>(a,b0)",
        "Relu",
    ),
    "times one": ("no-op", "x[N,3,8,8] -> y: h=Relu(x) y=Mul(one,h)", "Relu"),
    "plus nothing inside": ("no-op", "x[N,3,8,8] -> y: h=Add(x,zero) y=Relu(h)", "Relu"),
}
MORE = {"point43": normal(14, 4, 3, 1, 1), "ax": np.array([2])}


@pytest.mark.parametrize(("rule", "text", "ops"), CASES.values(), ids=CASES)
def test_what_follows_each_other_becomes_one(rule: str, text: str, ops: str, tmp_path: Path) -> None:
    found = rewritten(net(text, W | MORE), [RULES[rule]], tmp_path)
    assert found.ops == {ops: 1}, found.why
    assert all(one.what.startswith(f"{rule}: ") for one in found.effect.changes)


SCORES = "c=MatMul(x,m) d=Add(c,c4) e=MatMul(x,m2) f=Transpose<perm=[0,2,1]>(e) h=MatMul(d,f) y=Div(h,two)"


def test_scores_are_scaled_by_the_weights_of_queries(tmp_path: Path) -> None:
    found = rewritten(net(f"x[N,5,6] -> y: {SCORES}", W | MORE), [RULES["scale-up"]], tmp_path)
    assert found.ops == {"MatMul": 3, "Add": 1, "Transpose": 1}
    assert found.what == "div5: scale-up: 0.5 into the weights of 'matmul0'"


def test_a_scale_passes_a_shift_into_a_layer_that_pads(tmp_path: Path) -> None:
    text = "x[N,3,8,8] -> y: c=Mul(x,s3) d=Sub(c,g31) y=Conv<pads=[1,1,1,1]>(d,w,b)"
    assert rewritten(net(text, W | MORE), [RULES["scale-down"]], tmp_path).ops == {"Add": 1, "Conv": 1}


NEAR = {
    "a result that is an output": (
        "affine-after",
        "x[N,3,8,8] -> a; y: a=Conv(x,w) y=Mul(a,s4)",
        "conv0: affine-after: its result 'a' is an output of the model",
    ),
    "a result that is used twice": (
        "affine-after",
        "x[N,3,8,8] -> y: a=Conv(x,w) c=Mul(a,s4) y=Add(a,c)",
        "its result 'a' is used elsewhere too",
    ),
    "weights that are used twice": (
        "affine-after",
        "x[N,3,8,8] -> y; z: a=Conv(x,w) y=Mul(a,s4) z=Conv(x,w)",
        "its weights 'w' are used elsewhere too",
    ),
    "weights that are computed": (
        "affine-after",
        "x[N,3,8,8]; v[4,3,3,3] -> y: a=Conv(x,v) y=Mul(a,s4)",
        "its weights are computed",
    ),
    "a constant a column": (
        "affine-after",
        "x[N,3,10,10] -> y: a=Conv(x,w) y=Mul(a,row)",
        "its constant differs between places of a channel",
    ),
    "a bias without a place": (
        "affine-after",
        "x[N,5,6] -> y: a=MatMul(x,m) y=Add(a,c4)",
        "a MatMul of 3 dimensions has no place for a bias",
    ),
    "a constant that makes it larger": (
        "affine-after",
        "x[1,3,8,8] -> y: a=Conv(x,w) y=Mul(a,twice)",
        "its constant makes the value larger",
    ),
    "a shift before padding": (
        "affine-before",
        "x[N,3,8,8] -> y: a=Add(x,s3) y=Conv<pads=[1,1,1,1]>(a,w)",
        "it is shifted, and the layer pads with zeros that are not",
    ),
    "a scale that is used twice": (
        "affine-before",
        "x[N,3,8,8] -> y; z: a=Mul(x,s3) y=Conv(a,w) z=Relu(a)",
        "its result 'a' is used elsewhere too",
    ),
    "constants that grow": (
        "affine-pair",
        "x[N,3,8,8] -> y: a=Mul(x,s3) y=Mul(a,row)",
        "the constants together are larger than each",
    ),
    "a ring of ones": (
        "pad-into",
        "x[N,3,8,8] -> y: a=Pad(x,ring,one) y=Conv(a,w)",
        "it pads with 1, and a convolution with 0",
    ),
    "a ring of mirrors": (
        "pad-into",
        'x[N,3,8,8] -> y: a=Pad<mode="reflect">(x,ring) y=Conv(a,w)',
        "it pads with the image (reflect)",
    ),
    "a ring around the channels": (
        "pad-into",
        "x[N,2,8,8] -> y: a=Pad(x,thick) y=Conv(a,w)",
        "it pads the batch or the channels",
    ),
    "zeros that may be the greatest": (
        "pad-into",
        "x[N,3,8,8] -> y: a=Pad(x,ring) y=MaxPool<kernel_shape=[3,3]>(a)",
        "it pads with 0, which may be the greatest",
    ),
    "an average that does not count": (
        "pad-into",
        "x[N,3,8,8] -> y: a=Pad(x,ring) y=AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>(a)",
        "it does not count its own padding",
    ),
    "a padding of its own": (
        "pad-into",
        'x[N,3,8,8] -> y: a=Pad(x,ring) y=Conv<auto_pad="SAME_UPPER">(a,w)',
        "its padding follows from the size",
    ),
    "a product that is larger": (
        "dense-pair",
        "x[N,6] -> y: a=Gemm<transB=1>(x,thin) y=Gemm(a,thin2)",
        "one layer would have 36 weights, the two have 6 and 6",
    ),
    "two wide kernels": (
        "conv-pair",
        "x[N,3,8,8] -> y: a=Conv(x,w) y=Conv(a,w44)",
        "neither of the two is a 1x1 convolution",
    ),
    "groups": ("conv-pair", "x[N,4,8,8] -> y: a=Conv<group=4>(x,deep) y=Conv(a,point)", "it has groups"),
    "a bias that is padded": (
        "conv-pair",
        "x[N,3,8,8] -> y: a=Conv(x,point3,g3) y=Conv<pads=[1,1,1,1]>(a,w)",
        "the first's bias would be missing where the second pads",
    ),
    "several free sizes": (
        "reshape-pair",
        "x[N,1,M,4] -> y: a=Squeeze(x,unit) y=Unsqueeze(a,ax)",
        "more than one size of its result is not known",
    ),
    "bounds the wrong way round": (
        "clip-pair",
        "x[N,3,8,8] -> y: a=Clip(x,six,zero) y=Relu(a)",
        "its lower bound is above its upper one",
    ),
    "bounds that are computed": ("clip-pair", "x[N,3,8,8]; l -> y: a=Clip(x,l) y=Relu(a)", "its bounds are computed"),
    "bounds that are reached": ("clip-known", "x[N,3,8,8] -> y: a=Tanh(x) y=Relu(a)", "Tanh reaches its bounds"),
    "scores of what is an activation": (
        "scale-up",
        "x[N,5,6] -> y: c=MatMul(x,m) d=Tanh(c) e=MatMul(x,m2) f=Sigmoid(e) y0=Add(d,f) y=Mul(y0,two)",
        "scale-up: Add is between, which is not linear",
    ),
    "a scale of 0": (
        "scale-down",
        "x[N,3,8,8] -> y: c=Mul(x,s30) d=Sub(c,g31) y=Conv<pads=[1,1,1,1]>(d,w)",
        "mul0: scale-down: its scale is 0 somewhere",
    ),
    "a shift that turns the sign": (
        "scale-down",
        "x[N,3,8,8] -> y: c=Mul(x,s3) d=Sub(g31,c) y=Conv<pads=[1,1,1,1]>(d,w)",
        "sub1: scale-down: it turns the sign",
    ),
    "scores that are an output": ("scale-up", f"x[N,5,6] -> d; e; y: {SCORES}", "its result 'd' is an output"),
    "parts in another order": (
        "split-concat",
        "x[N,4,8,8] -> y: a,b0=Split<axis=1,num_outputs=2>(x) y=Concat<axis=1>(b0,a)",
        "its parts are joined in another order",
    ),
    "an input handed on": ("no-op", "x[N,3,8,8] -> y: y=Identity(x)", "it hands 'x' on to the output 'y'"),
    "a mask that is used": ("no-op", "x[N,3,8,8] -> y; bool z: h=Relu(x) y,z=Dropout(h)", "its other results are used"),
}
MORE |= {
    "twice": np.ones((2, 1, 1, 1), np.float32),
    "g31": np.abs(normal(18, 3, 1, 1)),
    "s30": np.array([1, 0, 1], np.float32).reshape(3, 1, 1),
    "m2": normal(17, 6, 4),
    "thin": normal(15, 1, 6),
    "thin2": normal(15, 1, 6),
    "w44": normal(16, 4, 4, 3, 3),
    "unit": np.array([1]),
}


@pytest.mark.parametrize(("rule", "text", "why"), NEAR.values(), ids=NEAR)
def test_near_misses_are_left_with_a_reason(rule: str, text: str, why: str, tmp_path: Path) -> None:
    found = rewritten(net(text, W | MORE), [RULES[rule]], tmp_path)
    assert not found.effect.changes
    assert why in found.why


NETS = {
    "convolutions and scales": (r.conv, r.transposed, r.affine, r.norm, r.padded, r.nothing),
    "poolings and padding": (r.padded, r.pooled, r.bound, r.conv),
    "shapes": (r.moved, r.reshaped, r.nothing, r.bound),
    "dense layers": (r.dense, r.dense, r.affine, r.nothing),
}


@pytest.mark.parametrize("steps", NETS.values(), ids=NETS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_nets_compute_the_same(steps: tuple[r.Step, ...], data: Any, tmp_path: Path) -> None:
    shape = data.draw(st.sampled_from([(2, 4, 8, 8), (1, 3, 7, 6)]))
    if steps == NETS["dense layers"]:
        shape = shape[:2] if data.draw(st.booleans()) else shape[:3]
    rewritten(data.draw(r.nets(steps, shape)), FUSE, tmp_path)
