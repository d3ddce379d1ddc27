"""Horizontal fusion: layers of one value become one layer and a Split."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.rules import FUSE_SIBLINGS
from tests.converters.compress import random_nets as r
from tests.converters.compress.rewritten import net, normal, rewritten

RULES = {rule.name: rule for rule in FUSE_SIBLINGS}
W = {
    "q": normal(0, 6, 4),
    "k": normal(1, 6, 4),
    "v": normal(2, 6, 5),
    "vt": normal(2, 5, 6),
    "bq": normal(3, 4),
    "bk": normal(4, 1, 1, 4),
    "bv": normal(5, 5),
    "p": normal(6, 4, 3, 1, 1),
    "p5": normal(7, 5, 3, 1, 1),
    "b5": normal(8, 5),
    "w": normal(9, 4, 3, 3, 3),
    "deep": normal(10, 3, 1, 1, 1),
    "row": normal(11, 5, 1),
}
CASES = {
    "queries, keys and values": (
        "dense-siblings",
        "x[N,5,6] -> a; b; c: d=MatMul(x,q) e=MatMul(x,k) f=MatMul(x,v) a=Add(bq,d) b=Add(e,bk) c=Add(f,bv)",
        {"MatMul": 1, "Add": 1, "Split": 1},
    ),
    "one of them without a bias": (
        "dense-siblings",
        "x[N,5,6] -> a; b: a=MatMul(x,q) d=MatMul(x,k) b=Add(d,bk)",
        {"MatMul": 1, "Add": 1, "Split": 1},
    ),
    "a bias that is none stays behind": (
        "dense-siblings",
        "x[N,5,6] -> a; b: a=MatMul(x,q) d=MatMul(x,k) b=Add(d,row)",
        {"MatMul": 1, "Add": 1, "Split": 1},
    ),
    "Gemm of both ways to store": (
        "dense-siblings",
        "x[N,6] -> a; b; c: a=Gemm(x,q,bq) b=Gemm<transB=1,alpha=0.5,beta=3.0>(x,vt,bv) c=Gemm(x,k)",
        {"Gemm": 1, "Split": 1},
    ),
    "point convolutions": (
        "conv-siblings",
        "x[N,3,8,8] -> a; b: a=Conv(x,p) c=Conv(x,p5,b5) b=Relu(c)",
        {"Conv": 1, "Split": 1, "Relu": 1},
    ),
    "two kinds of them": (
        "conv-siblings",
        "x[N,3,8,8] -> a; b; c; d: a=Conv(x,p) b=Conv<pads=[1,1,1,1]>(x,w) c=Conv(x,p5) d=Conv<pads=[1,1,1,1]>(x,w2)",
        {"Conv": 2, "Split": 2},
    ),
    "kernels of two sizes": (
        "conv-siblings-padded",
        "x[N,3,8,8] -> a; b: a=Conv<strides=[2,2]>(x,p) b=Conv<pads=[1,1,1,1],strides=[2,2]>(x,w)",
        {"Conv": 1, "Split": 1},
    ),
    "an activation behind every part": (
        "split-activation",
        "x[N,4,8] -> a; b: c,d=Split<axis=1,num_outputs=2>(x) a=LeakyRelu<alpha=0.5>(c) b=LeakyRelu<alpha=0.5>(d)",
        {"LeakyRelu": 1, "Split": 1},
    ),
}
MORE = {"w2": normal(12, 2, 3, 3, 3)}
NEAR = {
    "other strides": (
        "conv-siblings",
        "x[N,3,8,8] -> a; b: a=Conv(x,p) b=Conv<strides=[2,2]>(x,p5)",
        "conv0: conv-siblings: its siblings have other kernel sizes, strides, dilations or padding",
    ),
    "groups": ("conv-siblings", "x[N,3,8,8] -> a; b: a=Conv(x,p) b=Conv<group=3>(x,deep)", "it has groups"),
    "shared weights": ("dense-siblings", "x[N,6] -> a; b: a=MatMul(x,q) b=MatMul(x,q)", "'q' are used elsewhere too"),
    "computed weights": ("dense-siblings", "x[6,6] -> a; b: a=MatMul(x,q) b=MatMul(x,x)", "its weights are computed"),
    "other sizes": (
        "conv-siblings-padded",
        "x[N,3,8,8] -> a; b: a=Conv(x,p) b=Conv(x,w)",
        "their outputs are of different sizes",
    ),
    "other dilations": (
        "conv-siblings-padded",
        "x[N,3,8,8] -> a; b: a=Conv<pads=[1,1,1,1]>(x,w) b=Conv<pads=[2,2,2,2],dilations=[2,2]>(x,w2)",
        "their dilations differ",
    ),
    "a part that goes elsewhere too": (
        "split-activation",
        "x[N,4,8] -> a; b; d: c,d=Split<axis=1,num_outputs=2>(x) a=Relu(c) b=Relu(d)",
        "its parts do not all go into the same activation alone",
    ),
}


@pytest.mark.parametrize("opset", [11, 12, 13, 18, 22])
@pytest.mark.parametrize(("rule", "text", "ops"), CASES.values(), ids=CASES)
def test_siblings_become_one(rule: str, text: str, ops: dict[str, int], opset: int, tmp_path: Path) -> None:
    text = text if opset > 17 else text.replace(",num_outputs=2", "")
    found = rewritten(net(text, W | MORE, opset), [RULES[rule]], tmp_path)
    assert found.ops == ops, found.why


@pytest.mark.parametrize(("rule", "text", "why"), NEAR.values(), ids=NEAR)
def test_near_misses_are_left_with_a_reason(rule: str, text: str, why: str, tmp_path: Path) -> None:
    found = rewritten(net(text, W | MORE), [RULES[rule]], tmp_path)
    assert not found.effect.changes
    assert why in found.why


def test_a_fire_module_is_one_convolution(tmp_path: Path) -> None:
    """SqueezeNet: two convolutions, each with its activation, joined again."""
    text = "x[N,3,8,8] -> y: a=Conv(x,p) b=Conv<pads=[1,1,1,1]>(x,w) c=Relu(a) d=Relu(b) y=Concat<axis=1>(c,d)"
    found = rewritten(net(text, W), [rule for rule in FUSE_SIBLINGS if rule.name != "conv-siblings"], tmp_path)
    assert found.ops == {"Conv": 1, "Relu": 1}


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_siblings_compute_the_same(data: Any, tmp_path: Path) -> None:
    images = data.draw(st.booleans())
    shape = (2, 4, 6, 6) if images else data.draw(st.sampled_from([(3, 6), (2, 5, 6)]))
    opset = data.draw(st.sampled_from([9, 11, 13, 18, 21]))
    rewritten(data.draw(_families(shape, opset)), FUSE_SIBLINGS, tmp_path)


@st.composite
def _families(draw: Any, shape: r.Shape, opset: int) -> Any:
    """Draw layers on one value, some with more behind them, joined or not."""
    net = r.Drawn(draw, shape)
    make = r.conv if len(shape) == 4 else r.dense
    ends = []
    for _ in range(draw(st.integers(2, 4))):
        made = make(net, "x")
        if made is None:
            continue
        behind = net.pick(None, r.bound, r.affine) if opset > 11 else None
        ends.append(behind(net, made) if behind else made)
    if not ends:
        ends.append(net.add("Neg", ["x"], shape))
    joined = [one for one in ends if net.shapes[one][2:] == net.shapes[ends[0]][2:]]
    if len(shape) == 4 and net.flip():
        whole = sum(net.shapes[one][1] for one in joined)
        ends.append(net.add("Concat", joined, (shape[0], whole, *net.shapes[ends[0]][2:]), axis=1))
    return net.made(ends[-1], opset)


def test_the_table_has_padded_siblings_only_by_name() -> None:
    from edgekit_converters.compress import technique_for
    from edgekit_converters.compress.steps import parse_step

    technique = technique_for("fuse-siblings")
    assert [rule.name for rule in FUSE_SIBLINGS if not rule.default] == ["conv-siblings-padded"]
    assert "all has all but conv-siblings-padded" in technique.options["rules"].help
    step = parse_step("fuse-siblings:rules=conv-siblings-padded+split-concat")
    assert step.text == "fuse-siblings:rules=conv-siblings-padded+split-concat"
    assert np.all([rule.help for rule in FUSE_SIBLINGS])
