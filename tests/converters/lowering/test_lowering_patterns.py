"""Activations written out in small ops: every order is recognised, and what only looks like one is left alone."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

NUMBERS = {
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
    }.items()
}
TWO = {"x": "float[1, 2, 3, 4]", "z": "float[1, 2, 3, 4]"}


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
    "the gate divides": (
        net("a = Add(x, three)\n b = Clip(a, one, six)\n c = Div(x, b)\n y = Div(c, six)"),
        "HARD_SWISH",
    ),
}
TABLE = {name: case for name, (case, _) in {**RECOGNISED, **LEFT_ALONE}.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECOGNISED)
def test_every_way_to_write_it_becomes_the_one_op(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    answer = lowered(TABLE)[name]
    proven(answer)
    assert answer["ops"] == {RECOGNISED[name][1]: 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_only_looks_like_it_keeps_its_ops_and_its_numbers(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    answer = lowered(TABLE)[name]
    proven(answer)
    assert LEFT_ALONE[name][1] not in answer["ops"]
