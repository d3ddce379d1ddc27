"""Tokens put together behind a layer: what the formula gives, with masks and positions put together too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress import technique_for
from tests.converters.compress import attention_nets as nets


def _net(  # noqa: PLR0913  # what the nets differ in
    first: int, last: int, length: int, style: str, *, free: bool, head: bool
) -> Any:
    """Return layers first to last of an encoder of two, with the weights they have there; `x` is what they take."""
    net = nets.Net(7)
    far = net.op("Unsqueeze", net.op("Sub", net.number(1.0), "mask"), net.ints(1, 2))
    mask = net.op("Mul", far, net.number(-10000.0))
    x = "x"
    for number in range(2):
        before = len(net.nodes)
        given = "x" if number < first else x
        made = nets._fed(
            net, nets._attended(net, nets.STYLES[style], given, mask, pre=False), f"u{number}", f"d{number}", pre=False
        )
        if first <= number < last:
            x = made
        else:
            del net.nodes[before:]
    if head:
        weights = net.op("Unsqueeze", "mask", net.ints(2))
        total = net.op("ReduceSum", net.op("Mul", x, weights), net.ints(1), keepdims=0)
        net.op("Div", total, net.op("ReduceSum", weights, net.ints(1), keepdims=0))
    net.nodes[-1].output[0] = "y"
    batch: Any = "batch" if free else nets.BATCH
    shape = [batch, nets.WIDTH] if head else [batch, length, nets.WIDTH]
    return net.model({"x": (1, [batch, length, nets.WIDTH]), "mask": (1, [batch, length])}, {"y": (1, shape)})


def _grouped(array: Any, factor: int, how: Any) -> Any:
    length = array.shape[1]
    places = np.minimum(np.arange(-(-length // factor) * factor).reshape(-1, factor), length - 1)
    return how(array[:, places], axis=2)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("style", ["separate", "computed", "split", "vision", "guarded"])
def test_the_second_layer_works_on_means(style: str, free: bool, factor: int, work: Path) -> None:
    length = nets.LENGTH
    model = nets.plain(_net(0, 2, length, style, free=free, head=True))
    values = nets.step(f"pool-tokens:after=1,factor={factor}")
    effect = technique_for("pool-tokens").apply(model, values, nets.setting(work, None))
    left = -(-length // factor)
    assert effect.changes[0].figures == {"tokens": length, "pooled": left}
    nets.counted(model)
    feeds = nets.samples(4)
    inner = nets.ran(_net(0, 1, length, style, free=False, head=False), feeds)["y"]
    pooled = {"x": _grouped(inner, factor, np.mean), "mask": _grouped(feeds["mask"], factor, np.max)}
    wanted = nets.ran(_net(1, 2, left, style, free=False, head=True), pooled)["y"]
    assert np.allclose(nets.ran(model, feeds)["y"], wanted, atol=1e-4)


def test_an_output_of_every_token_is_refused_or_repeated(work: Path) -> None:
    proto = nets.encoder(layers=4)
    technique = technique_for("pool-tokens")
    why = technique.check(nets.plain(proto), nets.step("pool-tokens"), nets.setting(work, None))
    assert why == "output 'y' has a place for every token: it takes the option upsample"
    model = nets.plain(proto)
    technique.apply(model, nets.step("pool-tokens:upsample"), nets.setting(work, None))
    y = nets.ran(model, nets.samples(4))["y"]
    assert y.shape == (4, nets.LENGTH, nets.WIDTH)
    assert np.array_equal(y[:, ::2], y[:, 1::2])


def _first_token(net: nets.Net, x: str) -> str:
    made: str = net.op("Gather", x, net.stored(np.array(0)), axis=1)
    return made


def _by_place(net: nets.Net, x: str) -> str:
    turned = net.op("Transpose", x, perm=[0, 2, 1])
    made: str = net.op("MatMul", turned, net.random(nets.LENGTH, 3))
    return made


@pytest.mark.parametrize(
    ("head", "why"),
    [(_first_token, "takes single tokens"), (_by_place, "sums over tokens")],
    ids=["first token", "a weight a place"],
)
def test_what_needs_single_tokens_is_refused(head: Any, why: str, work: Path) -> None:
    net = nets.Net()
    x = "x"
    for number in range(2):
        x = nets._attended(net, nets.separate, x, None, pre=False)
        x = nets._fed(net, x, f"u{number}", f"d{number}", pre=False)
    head(net, x)
    net.nodes[-1].output[0] = "y"
    shape = [nets.BATCH, nets.WIDTH] if head is _first_token else [nets.BATCH, nets.WIDTH, 3]
    proto = net.model({"x": (1, [nets.BATCH, nets.LENGTH, nets.WIDTH])}, {"y": (1, shape)})
    said = technique_for("pool-tokens").check(nets.plain(proto), nets.step("pool-tokens"), nets.setting(work, None))
    assert said is not None
    assert why in said


@pytest.mark.parametrize(
    ("free", "step", "why"),
    [
        (True, "pool-tokens", "input 'x' has a free length, and pooling needs a fixed one: give --shape"),
        (False, "pool-tokens:after=2", "it has 2 layers, and after=2 leaves none before or behind"),
    ],
    ids=["free", "behind the last"],
)
def test_what_cannot_be_is_refused(free: bool, step: str, why: str, work: Path) -> None:
    model = nets.plain(nets.encoder(free=free))
    assert technique_for("pool-tokens").check(model, nets.step(step), nets.setting(work, None)) == why
