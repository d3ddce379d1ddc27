"""Train a net for four-bit weights, in PyTorch or Keras: float, rounded, and trained with the rounding in it.

Run: `python examples/quantization_aware_training/train.py FOLDER --framework torch|keras` (needs
edgekit-sdk[torch,openvino,demo] or edgekit-sdk[tensorflow,demo]). The data are scikit-learn's handwritten digits; it
takes seconds.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import edgekit


class Loader:
    """Batches of 32 in a new order each epoch: all that a loader has to be."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Take images [N, ...] float32 and their class numbers [N]."""
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        """Return the batches of an epoch; not needed, but the learning rate then falls within epochs, too."""
        return len(self.labels) // 32

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield an epoch."""
        order = np.random.permutation(len(self.labels))  # noqa: NPY002  # EdgeKit seeds this generator before each epoch
        for at in range(len(self)):
            rows = order[32 * at : 32 * at + 32]
            yield self.images[rows], self.labels[rows]


def torch_net() -> tuple[object, Callable[..., object]]:
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return net, nn.CrossEntropyLoss()


def keras_model() -> tuple[object, Callable[..., object]]:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(),
            layers.Conv2D(16, 1, activation="relu"), layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(10),
        ]
    )  # fmt: skip
    return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def main(folder: Path, framework: str) -> None:
    """Train in float, then for four bits; leave the files `edgekit convert` goes on from."""
    digits = load_digits()
    images, labels = (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)
    images = images[:, None] if framework == "torch" else images[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1200], order[1200:]
    loader = Loader(images[train], labels[train])

    def right(predict: Callable[[np.ndarray], np.ndarray]) -> float:
        return float((predict(images[test]).argmax(-1) == labels[test]).mean())

    model, loss = {"torch": torch_net, "keras": keras_model}[framework]()
    options = edgekit.TrainOptions(epochs=20, learning_rate=3e-3, freeze_after=1.0)
    learnt = edgekit.finetune(model, loader, loss, options, evaluate=right)
    print(f"float                   {max(learnt.course.scores):.1%}")
    options = edgekit.TrainOptions(epochs=8, learning_rate=1e-3, checkpoint=folder / "training.npz")
    trained = edgekit.train_quantized(model, loader, loss, options, precision="int4-weights", evaluate=right)
    print(f"rounded to four bits    {trained.course.scores[0]:.1%}")
    print(f"trained with rounding   {max(trained.course.scores):.1%}")
    for name in {"torch": ("digits.pt2", "digits.xml"), "keras": ("digits.keras",)}[framework]:
        trained.save(folder / name)
        print(f"written: {folder / name}")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--framework", choices=("torch", "keras"), default="torch")
    given = asked.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    main(given.folder, given.framework)
