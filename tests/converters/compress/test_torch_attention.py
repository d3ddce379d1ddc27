"""Attention as PyTorch's exporters write it: heads, layers and caches are found there too."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress import technique_for
from tests.converters.compress import attention_nets as nets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch"),
    pytest.mark.filterwarnings("ignore"),
]
WIDTH, HEADS, LENGTH, WORDS = 32, 4, 12, 50


def _layer(*, causal: bool) -> Any:
    from torch import nn
    from torch.nn import functional

    class Layer(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
            self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

        def forward(self, x: Any) -> Any:
            parts = self.qkv(self.first(x)).split(WIDTH, 2)
            q, k, v = (one.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2) for one in parts)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self.out(y.transpose(1, 2).flatten(2))
            return x + self.down(functional.gelu(self.up(self.second(x))))

    return Layer()


def _decoder() -> Any:
    import torch
    from torch import nn

    class Decoder(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(64, WIDTH)
            self.layers = nn.ModuleList(_layer(causal=True) for _ in range(2))
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)

        def forward(self, ids: Any) -> Any:
            x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
            for layer in self.layers:
                x = layer(x)
            return self.head(self.norm(x))

    return Decoder()


def _encoder() -> Any:
    from torch import nn

    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def _exported(net: Any, example: Any, file: Path, how: str) -> Any:
    import onnx
    import torch

    torch.manual_seed(0)
    for one in net.parameters():  # layers that are copies of each other would share their weights in the file
        torch.nn.init.normal_(one, std=0.2)
    if how == "traced":
        torch.onnx.export(net.eval(), (example,), str(file), dynamo=False, opset_version=17)
    else:
        free = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=60)},) if how == "free" else None
        torch.onnx.export(net.eval(), (example,), str(file), dynamo=True, dynamic_shapes=free, external_data=False)
    return onnx.load(file)


@pytest.mark.parametrize("how", ["traced", "fixed", "free"])
def test_heads_of_an_encoder_are_taken_out_and_its_layers_left_out(how: str, work: Path) -> None:
    import torch

    proto = _exported(_encoder(), torch.randn(2, LENGTH, WIDTH), work / "net.onnx", how)
    feeds = {proto.graph.input[0].name: np.random.default_rng(0).normal(size=(8, LENGTH, WIDTH)).astype(np.float32)}
    model = nets.plain(proto)
    before = nets.counted(model)
    technique = technique_for("prune-heads")
    effect = technique.apply(model, nets.step("prune-heads:ratio=0.5"), nets.setting(work, feeds))
    assert effect.figures == {"heads": 8, "heads_gone": 4}
    each = 4 * WIDTH * WIDTH // HEADS + 3 * WIDTH // HEADS
    assert before - nets.counted(model) == pytest.approx(4 * each, abs=16)  # some scalars are stored anew
    model = nets.plain(proto)
    layers = technique_for("prune-layers")
    gone = layers.apply(model, nets.step("prune-layers:count=1,unit=layer"), nets.setting(work, feeds))
    assert len(gone.changes) == 1
    assert [node.op_type for node in model.graph].count("Softmax") == 1


@pytest.mark.parametrize("how", ["traced", "fixed"])
def test_a_decoder_has_a_step(how: str, work: Path) -> None:
    import torch

    proto = _exported(_decoder(), torch.randint(0, WORDS, (1, LENGTH)), work / "net.onnx", how)
    model = nets.plain(proto)
    effect = technique_for("kv-cache").apply(model, nets.step("kv-cache"), nets.setting(work, None))  # it proves it
    assert effect.figures == {"positions": LENGTH, "cache_values": 2 * 2 * LENGTH * WIDTH}
