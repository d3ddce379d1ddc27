"""MobileNetV2 1.0 at 224 x 224 with seeded weights, as each tool wants it: `mobilenet.py torch|keras FOLDER`.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2.
"""

import sys
from pathlib import Path
from typing import Any

# expansion, channels, repeats, stride
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def torch_module() -> Any:
    """Return it as a PyTorch module for images of shape [N, 3, 224, 224]."""
    import torch
    from torch import nn

    def conv(inner: int, outer: int, size: int, stride: int = 1, groups: int = 1) -> Any:
        filters = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False)
        return nn.Sequential(filters, nn.BatchNorm2d(outer), nn.ReLU6())

    class Block(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self, inner: int, outer: int, stride: int, expansion: int) -> None:
            super().__init__()
            wide = inner * expansion
            layers = [conv(inner, wide, 1)] if expansion > 1 else []
            layers += [conv(wide, wide, 3, stride, wide), conv(wide, outer, 1)[:2]]
            self.layers, self.added = nn.Sequential(*layers), stride == 1 and inner == outer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layers(x)
            return x + y if self.added else y

    torch.manual_seed(0)
    layers, inner = [conv(3, 32, 3, 2)], 32
    for expansion, outer, repeats, stride in STAGES:
        for at in range(repeats):
            layers.append(Block(inner, outer, stride if at == 0 else 1, expansion))
            inner = outer
    layers += [conv(inner, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers).eval()


def write_torch(folder: Path) -> None:
    """Write `net.onnx` and the exported program `net.pt2`."""
    import torch

    module, example = torch_module(), (torch.zeros(1, 3, 224, 224),)
    torch.export.save(torch.export.export(module, example), folder / "net.pt2")
    torch.onnx.export(module, example, folder / "net.onnx", dynamo=True, external_data=False, verbose=False)


def write_keras(folder: Path) -> None:
    """Write `net.keras`."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2(weights=None).save(folder / "net.keras")


if __name__ == "__main__":
    {"torch": write_torch, "keras": write_keras}[sys.argv[1]](Path(sys.argv[2]))
