"""The quickstart's model: a small convolutional net trained on scikit-learn's handwritten digits.

Source of the data: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998:
1,797 images of 8 x 8 pixels with values 0 to 16; they come inside scikit-learn.
"""

from pathlib import Path
from typing import Any

EPOCHS = 30
TRAIN_SHARE = 0.7
CALIBRATION_SAMPLES = 200


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Train in a job: writes `digits.keras`, `calib.npz` and `test.npz` (x float32 [N,8,8,1] 0..1, y [N])."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    folder, seed = Path(request["folder"]), int(request["seed"])
    keras.utils.set_random_seed(seed)
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., None]
    order = np.random.default_rng(seed).permutation(len(images))
    cut = int(TRAIN_SHARE * len(images))
    train, test = order[:cut], order[cut:]
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SeparableConv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images[train], digits.target[train], epochs=EPOCHS, batch_size=64, verbose=0)
    model.save(folder / "digits.keras")
    np.savez(folder / "calib.npz", x=images[train[:CALIBRATION_SAMPLES]])
    np.savez(folder / "test.npz", x=images[test], y=digits.target[test].astype(np.int64))
    return {"train": len(train), "test": len(test)}
