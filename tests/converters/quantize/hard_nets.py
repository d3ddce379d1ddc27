"""Nets with labelled data that plain int8 makes much worse, through a known layer."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.converters import onnx_text

CLASSES, SIDE, WIDE, NARROW = 6, 8, 32, 12
CULPRITS = ("narrow", "bent", "wide")
"""The layers whose values plain int8 cannot hold: the one that makes them, and those that take them."""
_TEXT = """(float[1,3,8,8] image) => (scores) {
    a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(image, w1, b1) ra = Relu(a)
    c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(ra, w2, b2) rc = Relu(c)
    narrow = Conv(rc, w3, b3) bent = HardSwish(narrow) wide = Conv(bent, w4, b4) rw = Relu(wide)
    e = Conv<kernel_shape=[3,3]>(rw, w5, b5) re = Relu(e)
    g = GlobalAveragePool(re) f = Flatten(g) scores = Gemm(f, w6, b6) }"""


def write(folder: Path, *, spread: float = 3000.0, samples: int = 400) -> Path:
    """Write `hard.onnx`, `calib.npz` and `test.npz`: what decides on the class is small values beside large ones.

    The labels are the float model's own answers, so it has no errors. The layer `narrow` gives channels whose ranges
    are `spread` apart, through an activation that no scale can be moved through; the next one undoes that.
    """
    rng = np.random.default_rng(3)
    scales = np.geomspace(1, spread, NARROW).astype(np.float32)
    rng.shuffle(scales)

    def drawn(*shape: int) -> Any:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    weights = {
        "w1": drawn(WIDE, 3, 3, 3), "b1": 0.1 * drawn(WIDE), "w2": drawn(WIDE, WIDE, 3, 3), "b2": 0.1 * drawn(WIDE),
        "w3": drawn(NARROW, WIDE, 1, 1) * scales[:, None, None, None], "b3": 0.1 * scales,
        "w4": drawn(WIDE, NARROW, 1, 1) / scales[None, :, None, None], "b4": 0.1 * drawn(WIDE),
        "w5": drawn(WIDE, WIDE, 3, 3), "b5": 0.1 * drawn(WIDE),
        "w6": drawn(WIDE, CLASSES), "b6": np.zeros(CLASSES, np.float32),
    }  # fmt: skip
    path = onnx_text.write(folder / "hard.onnx", _TEXT, weights)
    images = rng.normal(size=(3 * samples, 3, SIDE, SIDE)).astype(np.float32)
    scores = _run(path, images)
    offset = -scores.mean(axis=0)  # every class is right for its share of the samples
    _centre(path, offset)
    ordered = np.sort(scores + offset, axis=1)
    clear = np.argsort(ordered[:, -2] - ordered[:, -1])[:samples]  # what other layers' int8 does not turn over
    np.savez(folder / "calib.npz", x=images[:40])
    np.savez(folder / "test.npz", x=images[clear], y=(scores + offset).argmax(axis=1)[clear])
    return path


def _run(path: Path, images: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(path))
    return np.concatenate([session.run(None, {"image": one[None]})[0] for one in images])


def _centre(path: Path, offset: Any) -> None:
    """Add an offset to the last bias."""
    import onnx

    model = onnx.load(path)
    (bias,) = (one for one in model.graph.initializer if one.name == "b6")
    moved = onnx.numpy_helper.to_array(bias) + offset
    bias.CopyFrom(onnx.numpy_helper.from_array(moved.astype(np.float32), "b6"))
    onnx.save(model, path)
