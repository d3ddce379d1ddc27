"""Small PyTorch nets: factories for `torch_nets:NAME`, and every file format of them: run as `torch_nets.py FOLDER`.

A process of its own: PyTorch stays out of the tests' process.
"""

import io
import json
import pickle
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def residual() -> Any:
    """Return a convolutional net with batch norm, a residual block, strides, and two outputs."""
    import torch
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
            self.block = nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish(), nn.Conv2d(8, 8, 1)
            )
            self.head = nn.Linear(8, 5)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.stem(image)
            features = features + self.block(features)
            return self.head(features.mean((2, 3))), features

    torch.manual_seed(1)
    net = Residual().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return net


def named() -> Any:
    """Return the same net with its outputs in a dict, and an example input."""
    import torch

    inner = residual()

    class Named(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            scores, features = self.inner(image)
            return {"scores": scores, "features": features}

    return Named().eval(), torch.zeros(1, 3, 16, 16)


def twice() -> Any:
    """Return a net of two inputs with one and the same tensor as the example of both."""
    import torch

    class Twice(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a - 2 * b

    example = torch.zeros(1, 4)
    return Twice(), (example, example)


def text() -> Any:
    """Return a net of two integer inputs, exported with free batch and length."""
    import torch

    class Text(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(300, 8)
            self.dense = torch.nn.Linear(8, 4)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            weights = mask.unsqueeze(-1).float()
            return self.dense((self.embedding(ids) * weights).sum(1) / weights.sum(1).clamp(min=1))

    torch.manual_seed(2)
    example = torch.zeros(2, 6, dtype=torch.int64)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    return torch.export.export(Text().eval(), (example, example + 1), dynamic_shapes={"ids": free, "mask": free})


def not_a_model() -> Any:
    return 3


def breaks() -> Any:
    raise ValueError("no weights here")


def main(folder: Path) -> None:
    """Write every file, with inputs and PyTorch's own outputs."""
    import torch

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(3)
    images = rng.random((6, 3, 16, 16)).astype(np.float32)
    net, (with_names, example) = residual(), named()
    free = {"image": {0: torch.export.Dim("n"), 2: torch.export.Dim("height", min=8, max=64)}}
    exported = torch.export.export(with_names, (torch.from_numpy(images[:2]),), dynamic_shapes=free)
    torch.export.save(exported, folder / "named.pt2")
    torch.export.save(text(), folder / "text.pt2")
    torch.jit.save(torch.jit.script(net), folder / "scripted.pt")
    torch.jit.save(torch.jit.trace(with_names, example, strict=False), folder / "traced.jit")
    torch.save(net.state_dict(), folder / "state.pt")
    torch.save(net.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    with torch.no_grad():
        scores, features = net(torch.from_numpy(images))
        ids = rng.integers(0, 256, (6, 9))
        pooled = text().module(check_guards=False)(torch.from_numpy(ids), torch.ones(6, 9, dtype=torch.int64))
    np.savez(folder / "images.npz", image=images, scores=scores.numpy(), features=features.numpy())
    np.savez(folder / "text.npz", ids=ids, mask=np.ones((6, 9), np.int64), pooled=pooled.numpy())
    hostile(folder)


class _Code:
    """What unpickles into a call that writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.write_text, (self.mark, "run")


def hostile(folder: Path) -> None:
    """Write a `.pt2` whose weights are a pickle that runs code, and a TorchScript archive that writes a file."""
    import torch

    pickled = io.BytesIO()
    with zipfile.ZipFile(pickled, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Code(folder / "unpickled")))
        archive.writestr("archive/version", "3")
    with (
        zipfile.ZipFile(folder / "named.pt2") as source,
        zipfile.ZipFile(folder / "hostile.pt2", "w", zipfile.ZIP_STORED) as target,
    ):
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("weights_config.json"):
                config = json.loads(data)
                for entry in config["config"].values():
                    entry["use_pickle"] = True
                data = json.dumps(config).encode()
            if "/data/weights/weight_" in info.filename:
                data = pickled.getvalue()
            target.writestr(info.filename, data)

    class Writes(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.ops.aten.save(x, "written")
            return x

    torch.jit.script(Writes()).save(str(folder / "writes.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
