"""Spatial fusion: branches that are added become one kernel; strides, poolings and enlargements in a row are one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.rules import FUSE_BRANCHES
from tests.converters.compress import random_nets as r
from tests.converters.compress.rewritten import net, normal, rewritten

RULES = {rule.name: rule for rule in FUSE_BRANCHES}
POSITIVE = np.abs(normal(20, 4)) + 0.5
W = {
    "w": normal(0, 4, 4, 3, 3),
    "w5": normal(1, 4, 4, 5, 5),
    "p": normal(2, 4, 4, 1, 1),
    "b": normal(3, 4),
    "wide": normal(4, 4, 4, 1, 3),
    "tall": normal(5, 4, 4, 3, 1),
    "deep": normal(6, 4, 1, 3, 3),
    "deep1": normal(7, 4, 1, 1, 1),
    "half": normal(8, 4, 2, 3, 3),
    "g": POSITIVE,
    "m": normal(9, 4, 4),
    "m2": normal(10, 4, 4),
    "s": np.abs(normal(11, 4, 1, 1)),
    "place": normal(12, 8, 8),
    "stem": normal(13, 4, 3, 3, 3),
    "double": np.array([1, 1, 2, 2], np.float32),
    "triple": np.array([1, 1, 3, 1], np.float32),
    "none": np.array([], np.float32),
    "sizes": np.array([2, 4, 16, 24]),
    "broken": np.array([1, 1, 1.5, 2], np.float32),
}
CASES = {
    "a RepVGG block": (
        "added-branches",
        (
            "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1]>(x,w,b) c=Conv(x,p) d=BatchNormalization(x,g,b,b,g)"
            " e=Add(a,c) y=Add(e,d)"
        ),
        {"Conv": 1},
    ),
    "a sum of many with a skip": (
        "added-branches",
        "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1]>(x,w) b0=Conv<pads=[2,2,2,2]>(x,w5) y=Sum(x,a,b0,x)",
        {"Conv": 1},
    ),
    "depthwise branches": (
        "added-branches",
        "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1],group=4>(x,deep) c=Conv<group=4>(x,deep1,b) e=Add(a,c) y=Add(e,x)",
        {"Conv": 1},
    ),
    "groups and a scale": (
        "added-branches",
        "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1],group=2>(x,half,b) c=Mul(s,x) y=Add(c,a)",
        {"Conv": 1},
    ),
    "strided branches": (
        "added-branches",
        "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1],strides=[2,2]>(x,w,b) c=Conv<strides=[2,2]>(x,p) y=Add(a,c)",
        {"Conv": 1},
    ),
    "dilated branches": (
        "added-branches",
        "x[N,4,8,8] -> y: a=Conv<pads=[2,2,2,2],dilations=[2,2]>(x,w) c=Conv(x,p) y=Add(a,c)",
        {"Conv": 1},
    ),
    "what is no branch is still added": (
        "added-branches",
        "x[N,4,8,8]; z[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1]>(x,w) c=Add(a,z) d=Conv(x,p) y=Add(c,d)",
        {"Conv": 1, "Add": 1},
    ),
    "products and a skip": (
        "added-branches",
        "x[N,5,4] -> y: a=MatMul(x,m) c=MatMul(x,m2) d=Add(a,c) y=Add(d,x)",
        {"MatMul": 1},
    ),
    "dense layers": (
        "added-branches",
        "x[N,4] -> y: a=Gemm<transB=1,alpha=2.0>(x,m,b) c=MatMul(x,m2) y=Add(a,c)",
        {"Gemm": 1},
    ),
    "the stride of a point convolution": (
        "stride-up",
        "x[N,3,8,8] -> y: a=Conv<pads=[1,1,1,1]>(x,stem,b) d=Mul(a,s) e=Relu(d) y=Conv<strides=[2,2]>(e,p)",
        {"Conv": 2, "Mul": 1, "Relu": 1},
    ),
    "the stride of two": (
        "stride-up",
        (
            "x[N,3,8,8] -> y; z: a=Conv<pads=[1,1,1,1],strides=[2,1]>(x,stem) e=Relu(a)"
            " y=Conv<strides=[2,2]>(e,p) z=Conv<strides=[2,2]>(e,p2)"
        ),
        {"Conv": 3, "Relu": 1},
    ),
    "two maxima": (
        "pool-pair",
        (
            "x[N,3,17,16] -> y: a=MaxPool<kernel_shape=[3,2],strides=[2,1]>(x)"
            " y=MaxPool<kernel_shape=[2,3],strides=[2,3]>(a)"
        ),
        {"MaxPool": 1},
    ),
    "two means": (
        "pool-pair",
        (
            "x[N,3,17,16] -> y: a=AveragePool<kernel_shape=[3,2],strides=[3,2]>(x)"
            " y=AveragePool<kernel_shape=[2,3],strides=[1,2]>(a)"
        ),
        {"AveragePool": 1},
    ),
    "a mean of means": (
        "pool-pair",
        "x[N,3,6,8] -> y: a=AveragePool<kernel_shape=[3,2],strides=[3,2]>(x) y=GlobalAveragePool(a)",
        {"GlobalAveragePool": 1},
    ),
    "two enlargements": (
        "resize-pair",
        (
            'x[2,4,8,8] -> y: a=Resize<mode="nearest",coordinate_transformation_mode="asymmetric",nearest_mode="floor">'
            '(x,,double) y=Resize<mode="nearest">(a,,triple)'
        ),
        {"Resize": 1},
    ),
    "an enlargement to a size": (
        "resize-pair",
        'x[2,4,4,6] -> y: a=Resize<mode="nearest">(x,,double) y=Resize<mode="nearest">(a,,,sizes)',
        {"Resize": 1},
    ),
}
MORE = {"p2": normal(14, 2, 4, 1, 1)}
NEAR = {
    "other strides": (
        "added-branches",
        "x[N,4,1,1] -> y: a=Conv<pads=[1,1,1,1],strides=[2,2]>(x,w) c=Conv(x,p) y=Add(a,c)",
        "add2: added-branches: their strides differ",
    ),
    "other groups": (
        "added-branches",
        "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1]>(x,w) c=Conv<group=4>(x,deep1) y=Add(a,c)",
        "its branches have different groups",
    ),
    "a branch that is an output": (
        "added-branches",
        "x[N,4,8,8] -> a; y: a=Conv<pads=[1,1,1,1]>(x,w) c=Conv(x,p) y=Add(a,c)",
        "its result 'a' is an output of the model",
    ),
    "a branch that is used twice": (
        "added-branches",
        "x[N,4,8,8] -> y; z: a=Conv<pads=[1,1,1,1]>(x,w) z=Relu(a) y=Add(a,x)",
        "its result 'a' is used elsewhere too",
    ),
    "more weights than before": (
        "added-branches",
        "x[N,4,8,8] -> y: a=Conv<pads=[0,1,0,1]>(x,wide) c=Conv<pads=[1,0,1,0]>(x,tall) y=Add(a,c)",
        "one layer would have 144 weights, the branches have 96",
    ),
    "a padding that follows": (
        "added-branches",
        'x[N,4,8,8] -> y: a=Conv<auto_pad="SAME_UPPER">(x,w) y=Add(a,x)',
        "its padding follows from the size",
    ),
    "what goes elsewhere": (
        "stride-up",
        "x[N,3,8,8] -> y; z: a=Conv(x,stem) y=Conv<strides=[2,2]>(a,p) z=Relu(a)",
        "what it takes goes elsewhere too, with another stride",
    ),
    "a sum between": (
        "stride-up",
        "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1]>(x,w) e=Add(a,x) y=Conv<strides=[2,2]>(e,p)",
        "Add takes several computed values",
    ),
    "a pooling between": (
        "stride-up",
        "x[N,4,8,8] -> y: a=Conv(x,w) e=MaxPool<kernel_shape=[2,2]>(a) y=Conv<strides=[2,2]>(e,p)",
        "MaxPool is between, which does not work on every element by itself",
    ),
    "a constant a place": (
        "stride-up",
        "x[N,4,8,8] -> y: a=Conv<pads=[1,1,1,1]>(x,w) e=Mul(a,place) y=Conv<strides=[2,2]>(e,p)",
        "its constant differs between places of a channel",
    ),
    "means that overlap": (
        "pool-pair",
        "x[N,3,17,16] -> y: a=AveragePool<kernel_shape=[3,2]>(x) y=AveragePool<kernel_shape=[2,3]>(a)",
        "the windows overlap or leave gaps, and weigh places differently",
    ),
    "maxima with gaps": (
        "pool-pair",
        "x[N,3,17,16] -> y: a=MaxPool<kernel_shape=[1,1],strides=[2,2]>(x) y=MaxPool<kernel_shape=[2,3]>(a)",
        "the windows leave gaps",
    ),
    "a mean that leaves out an edge": (
        "pool-pair",
        "x[N,3,7,8] -> y: a=AveragePool<kernel_shape=[3,2],strides=[3,2]>(x) y=GlobalAveragePool(a)",
        "the windows leave out an edge",
    ),
    "a mixture of neighbours": (
        "resize-pair",
        'x[2,4,8,8] -> y: a=Resize<mode="linear">(x,,double) y=Resize<mode="nearest">(a,,double)',
        "it mixes neighbours",
    ),
    "a broken factor": (
        "resize-pair",
        'x[2,4,8,8] -> y: a=Resize<mode="nearest">(x,,broken) y=Resize<mode="nearest">(a,,double)',
        "its factors are not whole numbers from 1 on",
    ),
    "corners that are aligned": (
        "resize-pair",
        (
            'x[2,4,8,8] -> y: a=Resize<mode="nearest",coordinate_transformation_mode="align_corners">(x,,double)'
            ' y=Resize<mode="nearest">(a,,double)'
        ),
        "with align_corners and round_prefer_floor elements are repeated differently often",
    ),
}


@pytest.mark.parametrize(("rule", "text", "ops"), CASES.values(), ids=CASES)
def test_what_is_added_or_follows_becomes_one(rule: str, text: str, ops: dict[str, int], tmp_path: Path) -> None:
    found = rewritten(net(text, W | MORE), [RULES[rule]], tmp_path)
    assert found.ops == ops, found.why


@pytest.mark.parametrize(("rule", "text", "why"), NEAR.values(), ids=NEAR)
def test_near_misses_are_left_with_a_reason(rule: str, text: str, why: str, tmp_path: Path) -> None:
    found = rewritten(net(text, W | MORE), [RULES[rule]], tmp_path)
    assert not found.effect.changes, found.what
    assert why in found.why


def test_a_stride_moves_to_where_fewer_places_are_computed(tmp_path: Path) -> None:
    rule, text, _ = CASES["the stride of a point convolution"]
    found = rewritten(net(text, W), [RULES[rule]], tmp_path)
    assert [node.attributes.get_ints("strides", ()) for node in found.model.graph if node.op_type == "Conv"] == [
        (2, 2),
        (1, 1),
    ]


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_branches_compute_the_same(data: Any, tmp_path: Path) -> None:
    rewritten(data.draw(_blocks()), FUSE_BRANCHES, tmp_path)


@st.composite
def _blocks(draw: Any) -> Any:
    """Draw branches of one value that have the same shape, added in some order, behind a strided or pooled one."""
    channels = draw(st.sampled_from([2, 4, 6]))
    groups = draw(st.sampled_from([1, 1, 2, channels]))
    net = r.Drawn(draw, (2, channels, 8, 8))
    shape, ends = net.shapes["x"], []
    for _ in range(draw(st.integers(2, 4))):
        kind = net.pick("conv", "conv", "norm", "scale", "skip", "other")
        if kind == "conv":
            kernel, step = net.pick((1, 1), (3, 3), (3, 1), (5, 5)), net.pick(1, 1, 2)
            pads = [size // 2 * step for size in kernel] * 2
            takes = [
                "x",
                net.floats(channels, channels // groups, *kernel),
                *([net.floats(channels)] if net.flip() else []),
            ]
            ends.append(net.add("Conv", takes, shape, group=groups, pads=pads, dilations=[step, step]))
        elif kind == "other":
            ends.append(net.add("Tanh", ["x"], shape))
        else:
            ends.append({"norm": r.norm, "scale": r.affine}.get(kind, lambda _, x: x)(net, "x"))
    last = ends[0]
    for one in ends[1:]:
        last = net.add("Add", [last, one] if net.flip() else [one, last], shape)
    return net.made(last if last != "x" else net.add("Neg", ["x"], shape), 18)


@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_strides_and_poolings_compute_the_same(data: Any, tmp_path: Path) -> None:
    steps = (r.conv, r.conv, r.pooled, r.bound, r.affine)
    rewritten(data.draw(r.nets(steps, (2, 4, 13, 12), longest=9)), FUSE_BRANCHES, tmp_path)
