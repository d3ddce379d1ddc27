"""ONNX's op Attention written out: what the reference evaluator gives for the op."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress import technique_for
from edgekit_converters.compress.attention.opening import open_attention
from edgekit_converters.compress.attention.pattern import attentions_of
from tests.converters.compress import attention_nets as nets

CASES: dict[str, tuple[int, dict[str, Any], str | None]] = {
    "heads apart": (4, {}, None),
    "heads joined": (3, {"q_num_heads": nets.HEADS, "kv_num_heads": nets.HEADS}, None),
    "causal": (4, {"is_causal": 1}, None),
    "added mask": (4, {"scale": 0.3}, "float"),
    "bits for a mask": (3, {"q_num_heads": nets.HEADS, "kv_num_heads": nets.HEADS}, "bool"),
}


def _attention(rank: int, attributes: dict[str, Any], mask: str | None, *, heads: int = nets.HEADS) -> Any:
    net = nets.Net(5, opset=23)
    parts = [net.linear("x", nets.WIDTH, nets.WIDTH), *(net.linear("x", nets.WIDTH, heads * nets.DIM) for _ in "kv")]
    if rank == 4:
        apart = [net.op("Reshape", one, net.ints(0, 0, -1, nets.DIM)) for one in parts]
        parts = [net.op("Transpose", one, perm=[0, 2, 1, 3]) for one in apart]
    rng = np.random.default_rng(0)
    shown = rng.random((nets.LENGTH, nets.LENGTH)) < 0.7
    shown[:, 0] = True
    table = np.where(shown, 0.0, -100.0).astype(np.float32)
    given = [] if mask is None else [net.stored(shown if mask == "bool" else table)]
    y = net.op("Attention", *parts, *given, **attributes)
    if rank == 4:
        y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(0, 0, nets.WIDTH))
    net.linear(y, nets.WIDTH, nets.WIDTH)
    net.nodes[-1].output[0] = "y"
    shape = [nets.BATCH, nets.LENGTH, nets.WIDTH]
    return net.model({"x": (1, shape)}, {"y": (1, shape)})


@pytest.mark.parametrize(("rank", "attributes", "mask"), CASES.values(), ids=CASES)
def test_what_is_written_out_gives_the_same(rank: int, attributes: dict[str, Any], mask: str | None) -> None:
    proto, feeds = _attention(rank, attributes, mask), nets.samples(4, masked=False)
    model = nets.plain(proto)
    open_attention(model)
    assert "Attention" not in [node.op_type for node in model.graph]
    assert np.allclose(nets.ran(model, feeds)["y"], nets.ran(proto, feeds)["y"], atol=1e-4)


def test_its_heads_can_be_taken_out(work: Path) -> None:
    model = nets.plain(_attention(3, {"q_num_heads": nets.HEADS, "kv_num_heads": nets.HEADS}, None))
    feeds = nets.samples(16, masked=False)
    effect = technique_for("prune-heads").apply(model, nets.step("prune-heads:ratio=0.5"), nets.setting(work, feeds))
    assert [one.what for one in effect.changes] == ["2 of 4 heads left"]


@pytest.mark.parametrize(
    ("rank", "attributes", "heads"),
    [(4, {}, 2), (3, {"q_num_heads": 4, "kv_num_heads": 2}, 2), (4, {"softcap": 3.0}, 4)],
    ids=["shared keys", "shared keys joined", "soft cap"],
)
def test_what_cannot_be_written_out_stays_and_says_so(rank: int, attributes: dict[str, Any], heads: int) -> None:
    model = nets.plain(_attention(rank, attributes, None, heads=heads))
    open_attention(model)
    (found,) = attentions_of(model)
    assert getattr(found, "why", "") == "op 'Attention' is attention in one, which is not opened"
