"""Activations written out in small ops: every order is recognised, and what only looks like one is left alone."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

NUMBERS: dict[str, dict[str, Any]] = {
    name: {"float": value}
    for name, value in {
        "root": 1.4142135,
        "inverse": 0.70710677,
        "half": 0.5,
        "one": 1.0,
        "two": 2.0,
        "three": 3.0,
        "six": 6.0,
        "sixth": 1 / 6,
        "zero": 0.0,
        "cubic": 0.044715,
        "slope": 0.7978846,
        "tenth": 0.1,
    }.items()
}
TWO = {"x": "float[1, 2, 3, 4]", "z": "float[1, 2, 3, 4]"}
NUMBERS |= {"last": {"int64": [3]}, "both": {"int64": [2, 3]}}


def net(body: str, **more: Any) -> dict[str, Any]:
    """Return ops on an image, with all the numbers they may name."""
    return {"inputs": {"x": "float[1, 2, 3, 4]"}, "body": body, "weights": NUMBERS, "range": [-5, 5], **more}


RECOGNISED: dict[str, tuple[dict[str, Any], str]] = {
    "gelu, half last": (
        net("a = Div(x, root)\n b = Erf(a)\n c = Add(b, one)\n d = Mul(x, c)\n y = Mul(d, half)"),
        "GELU",
    ),
    "gelu, half first": (
        net("h = Mul(x, half)\n a = Mul(x, inverse)\n b = Erf(a)\n c = Add(one, b)\n y = Mul(h, c)"),
        "GELU",
    ),
    "gelu, half in the middle": (
        net("a = Mul(inverse, x)\n b = Erf(a)\n c = Add(b, one)\n h = Div(c, two)\n y = Mul(h, x)"),
        "GELU",
    ),
    "hard-swish, divided before": (
        net("a = Add(x, three)\n b = Clip(a, zero, six)\n c = Div(b, six)\n y = Mul(x, c)"),
        "HARD_SWISH",
    ),
    "hard-swish, multiplied after": (
        net("a = Add(three, x)\n b = Clip(a, zero, six)\n c = Mul(b, x)\n y = Mul(sixth, c)"),
        "HARD_SWISH",
    ),
    "hard-swish of opset 9": (
        net("a = Add(x, three)\n b = Clip<min = 0.0, max = 6.0>(a)\n c = Mul(x, b)\n y = Div(c, six)", opset=9),
        "HARD_SWISH",
    ),
}
for _inner, _name in {
    "p = Pow(x, three)\n q = Mul(p, cubic)\n r = Add(x, q)\n s = Mul(r, slope)": "a power",
    "o = Mul(x, x)\n p = Mul(o, x)\n q = Mul(cubic, p)\n r = Add(q, x)\n s = Mul(slope, r)": "products",
    "o = Mul(x, x)\n p = Mul(o, cubic)\n q = Add(p, one)\n r = Mul(x, q)\n s = Mul(r, slope)": "x outside",
}.items():
    RECOGNISED[f"gelu by tanh, {_name}"] = (
        net(f"{_inner}\n t = Tanh(s)\n u = Add(t, one)\n v = Mul(x, u)\n y = Mul(v, half)"),
        "GELU",
    )
RECOGNISED |= {
    "relu6 as maximum and minimum": (net("a = Max(x, zero)\n y = Min(six, a)"), "RELU6"),
    "relu6 as a bounded relu": (net("a = Relu(x)\n y = Clip(a, , six)"), "RELU6"),
    "relu6 as a clip in a clip": (net("a = Clip(x, zero, )\n y = Clip(a, , six)"), "RELU6"),
    "relu as a maximum": (net("y = Max(zero, x)"), "RELU"),
    "leaky relu as a maximum": (net("a = Mul(tenth, x)\n y = Max(x, a)"), "LEAKY_RELU"),
    "softmax, its highest value first": (
        net("h = ReduceMax<axes = [-1]>(x)\n d = Sub(x, h)\n e = Exp(d)\n s = ReduceSum(e, last)\n y = Div(e, s)"),
        "SOFTMAX",
    ),
    "softmax": (net("e = Exp(x)\n s = ReduceSum(e, last)\n y = Div(e, s)"), "SOFTMAX"),
}
WRITTEN_OUT: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "mish": (
        net("a = Softplus(x)\n b = Tanh(a)\n y = Mul(x, b)"),
        {"MINIMUM": 1, "EXP": 1, "ADD": 2, "MUL": 2, "DIV": 1},
    ),
    "mish with its softplus written out": (
        net("a = Exp(x)\n b = Add(a, one)\n c = Log(b)\n d = Tanh(c)\n y = Mul(x, d)"),
        {"MINIMUM": 1, "EXP": 1, "ADD": 2, "MUL": 2, "DIV": 1},
    ),
}
LEFT_ALONE: dict[str, tuple[dict[str, Any], str]] = {
    "gelu without its half": (net("a = Div(x, root)\n b = Erf(a)\n c = Add(b, one)\n y = Mul(x, c)"), "GELU"),
    "gelu with another root": (
        net("a = Div(x, two)\n b = Erf(a)\n c = Add(b, one)\n d = Mul(x, c)\n y = Mul(d, half)"),
        "GELU",
    ),
    "gelu of another value": (
        net("a = Div(z, root)\n b = Erf(a)\n c = Add(b, one)\n d = Mul(x, c)\n y = Mul(d, half)", inputs=TWO),
        "GELU",
    ),
    "hard-swish of another value": (
        net("a = Add(z, three)\n b = Clip(a, zero, six)\n c = Mul(x, b)\n y = Div(c, six)", inputs=TWO),
        "HARD_SWISH",
    ),
    "hard-swish with ONNX's default slope": (net("a = HardSigmoid(x)\n y = Mul(x, a)"), "HARD_SWISH"),
    "hard-swish without the division": (
        net("a = Add(x, three)\n b = Clip(a, zero, six)\n y = Mul(x, b)"),
        "HARD_SWISH",
    ),
    "gelu by tanh with another slope": (
        net(
            "p = Pow(x, three)\n q = Mul(p, cubic)\n r = Add(x, q)\n s = Mul(r, half)\n t = Tanh(s)\n"
            " u = Add(t, one)\n v = Mul(x, u)\n y = Mul(v, half)"
        ),
        "GELU",
    ),
    "bounds the wrong way round": (net("a = Max(x, six)\n y = Min(a, zero)"), "RELU6"),
    "a maximum with a larger multiple": (net("a = Mul(x, three)\n y = Max(x, a)"), "LEAKY_RELU"),
    "softmax over two axes": (net("e = Exp(x)\n s = ReduceSum(e, both)\n y = Div(e, s)"), "SOFTMAX"),
    "the gate divides": (
        net("a = Add(x, three)\n b = Clip(a, one, six)\n c = Div(x, b)\n y = Div(c, six)"),
        "HARD_SWISH",
    ),
}
TABLE = {name: case for name, (case, _) in {**RECOGNISED, **WRITTEN_OUT, **LEFT_ALONE}.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECOGNISED)
def test_every_way_to_write_it_becomes_the_one_op(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    answer = lowered(TABLE)[name]
    proven(answer)
    assert answer["ops"] == {RECOGNISED[name][1]: 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_what_tflite_has_no_op_for_gets_its_short_form(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    answer = lowered(TABLE)[name]
    proven(answer)
    assert answer["ops"] == WRITTEN_OUT[name][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_only_looks_like_it_keeps_its_ops_and_its_numbers(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    answer = lowered(TABLE)[name]
    proven(answer)
    assert LEFT_ALONE[name][1] not in answer["ops"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gelu with another root", "an a of 1 / sqrt 2"),
        ("gelu without its half", "a factor of 1/2; it has 1"),
        ("gelu by tanh with another slope", "sqrt(2 / pi)"),
        ("hard-swish with ONNX's default slope", "it has 0.2 and 0.5"),
        ("hard-swish without the division", "a HardSwish with 3, 0, 6 and 1/6"),
        ("a maximum with a larger multiple", "it is 3"),
        ("softmax over two axes", "over one axis"),
    ],
)
def test_a_near_miss_says_why(name: str, why: str, lowered: Callable[..., Mapping[str, Any]]) -> None:
    assert any(why in note for note in lowered(TABLE)[name]["notes"])
