"""Convert a Keras model from Python and decide by the report.

Run: `python examples/convert_from_python/convert.py [FOLDER]` (needs edgekit-sdk[tensorflow,tflite,openvino,demo]).
"""

import sys
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import edgekit


def train(folder: Path) -> Path:
    """Train a small dense net on handwritten digits and save it with calibration and test data."""
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    model = keras.Sequential(
        [keras.Input((64,), name="pixels"), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[:1300], digits.target[:1300], epochs=20, verbose=0)
    model.save(folder / "dense.keras")
    np.savez(folder / "calib.npz", pixels=x[:200])
    np.savez(folder / "test.npz", pixels=x[1300:], y=digits.target[1300:])
    return folder / "dense.keras"


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/example")
    folder.mkdir(parents=True, exist_ok=True)
    options = edgekit.ConvertOptions(calib=f"{folder}/calib.npz", eval=f"{folder}/test.npz", max_drop=0.02)
    report = edgekit.convert(train(folder), options, folder / "out", lambda event: print(event.stage, event.detail))
    good = [one for one in report.artifacts if one.status == "ok" and one.latency is not None]
    best = min(good, key=lambda one: one.latency.p50_ms)
    print(f"fastest that keeps its accuracy: {best.path}, {best.latency.p50_ms:.3f} ms, {best.accuracy.artifact:.1%}")


if __name__ == "__main__":
    main()
