"""The labelled data of ../shared/data as arrays."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def pictures(archive: Path, limit: int | None = None) -> tuple[Any, list[str]]:
    """Return the pictures as pixels [N, height, width, 3] uint8, and their names."""
    from PIL import Image

    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if name.endswith(".jpg"))
        if limit and limit < len(names):
            names = [names[at * len(names) // limit] for at in range(limit)]  # spread over the classes
        return np.stack([np.asarray(Image.open(io.BytesIO(file.read(name)))) for name in names]), names


def cifar10(archive: Path, limit: int | None = None) -> tuple[Any, Any]:
    """Return the pixels as float32 0..255 and the labels, which are the folders' names."""
    pixels, names = pictures(archive, limit)
    return pixels.astype(np.float32), np.array([int(name.split("/")[-2]) for name in names])


def cifar10_normalized(pixels: Any) -> Any:
    """Return what a PyTorch network takes: channels first, ImageNet's mean and deviation taken out."""
    images = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)


def centred(pixels: Any) -> Any:
    """Return pixels as (x - 127) / 128 with channels first."""
    return np.ascontiguousarray(((pixels.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))


def keyword_features(data: Path) -> tuple[Any, Any]:
    known = np.load(data / "kws-dscnn" / "kws01_features.npz")
    return ((known["x_int8"].astype(np.float32) - known["zero_point"]) * known["scale"]).astype(np.float32), known["y"]


def sound_windows(data: Path) -> Any:
    """Return every five frames side by side [N, 640] of the anomaly detector's sound."""
    frames = np.load(data / "ad-autoencoder" / "golden.npz")["frames"]
    return np.stack([frames[at : at + 5].reshape(-1) for at in range(len(frames) - 4)]).astype(np.float32)


def exact_reconstruction(data: Path, windows: Any) -> Any:
    """Return what the anomaly detector's `ad01.h5` computes, in float64 by its layers' formulas."""
    import h5py

    x = windows.astype(np.float64)
    with h5py.File(data / "ad-autoencoder" / "ad01.h5") as file:
        for layer in json.loads(file.attrs["model_config"])["config"]["layers"]:
            kind, name = layer["class_name"], layer["config"]["name"]
            stored = file["model_weights"][name]
            weights = {str(key).split("/")[-1]: stored[key][()].astype(np.float64) for key in _datasets(stored)}
            if kind == "Dense":
                x = x @ weights["kernel:0"] + weights["bias:0"]
            elif kind == "BatchNormalization":
                spread = np.sqrt(weights["moving_variance:0"] + layer["config"]["epsilon"])
                x = (x - weights["moving_mean:0"]) / spread * weights["gamma:0"] + weights["beta:0"]
            elif kind == "Activation":
                x = np.maximum(x, 0)
    return x


def _datasets(stored: Any) -> list[str]:
    return [key if isinstance(key, str) else key.decode() for key in stored.attrs["weight_names"]]


def top1(outputs: Any, labels: Any) -> float:
    """Return the share of right classes in percent."""
    return float((outputs.argmax(-1) == labels).mean() * 100)
