"""A decoder's step with a cache: position by position what the graph of the whole sequence gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress import technique_for
from tests.converters.compress import attention_nets as nets

WORDS, LENGTH = 11, 9


def _decoder(
    style: str = "split", *, layers: int = 2, causal: bool = True, free: bool = True, behind: Any = None
) -> Any:
    """Return a decoder ids [1, length] -> logits [1, length, WORDS]; positions and mask are cut from tables."""
    net = nets.Net(3)
    length = net.op("Slice", net.op("Shape", "ids"), net.ints(1), net.ints(2))
    words = net.op("Gather", net.random(WORDS, nets.WIDTH, scale=1.0), "ids")
    places = net.op("Slice", net.random(16, nets.WIDTH, scale=1.0), net.ints(0), length, net.ints(0))
    x = net.op("Add", words, places)
    table = np.where(np.tril(np.ones((16, 16))) > 0 if causal else np.ones((16, 16)) > 0, 0.0, -1e9)
    mask = net.stored(table.astype(np.float32).reshape(1, 1, 16, 16))
    mask = net.op(
        "Slice",
        mask,
        net.op("Concat", net.ints(0, 0), axis=0),
        net.op("Concat", length, length, axis=0),
        net.ints(2, 3),
    )
    for number in range(layers):
        x = net.op("Add", x, nets.STYLES[style](net, net.norm(x), mask))
        x = nets._fed(net, x, f"up{number}", f"down{number}", pre=True)
    if behind:
        x = behind(net, x)
    net.op("MatMul", x, net.random(nets.WIDTH, WORDS))
    net.nodes[-1].output[0] = "logits"
    size = "length" if free else LENGTH
    return net.model({"ids": (7, [1, size])}, {"logits": (1, [1, size, WORDS])})


def _stepped(model: Any, ids: Any, cache: tuple[int, ...]) -> Any:
    import onnx_ir as ir

    from edgekit_converters.graph.oracle import session

    ready = session(ir.serde.serialize_model(model))
    keys, values, found = np.zeros(cache, np.float32), np.zeros(cache, np.float32), []
    for place in range(ids.shape[1]):
        feeds = {
            "ids": ids[:, place : place + 1], "position": np.array([place]), "past_keys": keys, "past_values": values,
        }  # fmt: skip
        logits, keys, values = ready.run(["logits", "present_keys", "present_values"], feeds)
        found.append(logits)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("style", ["separate", "computed", "split", "sliced", "vision", "guarded"])
@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
def test_steps_give_what_the_whole_sequence_gives(style: str, free: bool, work: Path) -> None:
    import onnx
    import onnx_ir as ir

    proto = _decoder(style, free=free)
    model = nets.plain(proto)
    text = f"kv-cache:length={LENGTH}" if free else "kv-cache"
    effect = technique_for("kv-cache").apply(model, nets.step(text), nets.setting(work, None))
    nets.counted(model)
    cache = (2, nets.HEADS, LENGTH, nets.DIM)
    assert effect.figures == {"positions": LENGTH, "cache_values": 2 * int(np.prod(cache))}
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)
    sizes = {str(one.name): list(one.shape.numpy()) for one in (*model.graph.inputs, *model.graph.outputs)}
    assert sizes == {
        "ids": [1, 1], "position": [1], "past_keys": list(cache), "past_values": list(cache),
        "logits": [1, 1, WORDS], "present_keys": list(cache), "present_values": list(cache),
    }  # fmt: skip
    ids = np.random.default_rng(4).integers(0, WORDS, (1, LENGTH))
    wanted = nets.ran(proto, {"ids": ids})["logits"]
    assert np.allclose(_stepped(model, ids, cache), wanted, atol=1e-4)


def test_attention_that_looks_ahead_is_refused(work: Path) -> None:
    from edgekit_converters.errors import UnsupportedError

    model = nets.plain(_decoder(causal=False))
    with pytest.raises(UnsupportedError, match="its attention looks ahead"):
        technique_for("kv-cache").apply(model, nets.step("kv-cache:length=8"), nets.setting(work, None))


def _mean(net: nets.Net, x: str) -> str:
    made: str = net.op("Sub", x, net.op("ReduceMean", x, net.ints(1)))
    return made


def _shifted(net: nets.Net, x: str) -> str:
    made: str = net.op("Add", x, net.op("CumSum", x, net.stored(np.array(1))))
    return made


@pytest.mark.parametrize(
    ("proto", "step", "why"),
    [
        (_decoder, "kv-cache", "the length of input 'ids' is free: give length="),
        (lambda: _decoder(free=False), "kv-cache:length=4", "is fixed to 9 positions, not length=4"),
        (lambda: _decoder(behind=_mean), "kv-cache:length=8", "op 'ReduceMean' (node 'ReduceMean"),
        (lambda: _decoder(behind=_shifted), "kv-cache:length=8", "may mix tokens"),
        (lambda: _decoder(layers=0), "kv-cache:length=8", "it has no attention"),
        (nets.encoder, "kv-cache", "it takes 2 inputs (x, mask), and only tokens can be given step by step"),
        (lambda: nets.encoder(masked=False), "kv-cache", "takes a batch of 2, and a cache is of one sequence"),
    ],
    ids=["free", "other length", "mean", "sum", "no attention", "mask", "batch"],
)
def test_what_is_no_decoder_is_refused_with_the_reason(proto: Any, step: str, why: str, work: Path) -> None:
    said = technique_for("kv-cache").check(nets.plain(proto()), nets.step(step), nets.setting(work, None))
    assert said is not None
    assert why in said
