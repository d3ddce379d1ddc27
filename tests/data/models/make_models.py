"""Write the small TFLite models beside this file: `python tests/data/models/make_models.py` (needs TensorFlow).

The files are committed, so that tests of the device side need no TensorFlow; this is how they came to be.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID253  # a script of its own

HERE = Path(__file__).resolve().parent
SEED = 7


def main() -> None:
    """Write them all."""
    rng = np.random.default_rng(SEED)
    first, second = rng.normal(size=(4, 8)).astype("f"), rng.normal(size=(8, 3)).astype("f")
    kernel, last = rng.normal(size=(3, 3, 3, 4)).astype("f"), rng.normal(size=(36, 5)).astype("f") / 6

    def dense(x: Any) -> Any:
        return {"y": tf.nn.softmax(tf.nn.relu(x @ first) @ second)}

    def conv(image: Any) -> Any:
        features = tf.nn.relu(tf.nn.conv2d(image, kernel, strides=2, padding="VALID"))
        return {"scores": tf.reshape(features, [1, 36]) @ last}

    image = tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")
    # a free batch
    write("dense", dense, tf.TensorSpec([None, 4], tf.float32, name="x"))
    write("conv", conv, image)
    write("conv_int8", conv, image, configure=_int8)
    # a free length besides the batch, and an output that is empty at length 1
    square = rng.normal(size=(4, 4)).astype("f")
    lengths = tf.TensorSpec([None, None, 4], tf.float32, name="x")
    write("length", lambda x: {"all": tf.matmul(x, square), "rest": x[:, 1:]}, lengths)
    # an output that is a constant without values
    write("empty", lambda x: {"rest": x[:, 2:] * 2.0, "y": tf.nn.relu(x)}, tf.TensorSpec([1, 2], tf.float32, name="x"))
    # a length that must be even
    write("pairs", lambda x: {"y": tf.reshape(x, [1, -1, 8])}, lengths)
    # a picture of 150 kB, and next to nothing to compute
    weights = rng.normal(size=(147, 10)).astype("f")

    def photo(image: Any) -> Any:
        return {"scores": tf.reshape(tf.nn.avg_pool2d(image, 32, 32, "VALID"), [1, 147]) @ weights}

    write("../photo/photo_int8", photo, tf.TensorSpec([1, 224, 224, 3], tf.float32, name="image"), configure=_int8)
    # names that are not in the order of the letters
    pair = (tf.TensorSpec([1, 2], tf.float32, name="zeta"), tf.TensorSpec([1, 2], tf.float32, name="alpha"))
    write("two", lambda zeta, alpha: {"total": zeta + alpha, "difference": zeta - alpha}, *pair)


def write(
    name: str,
    function: Callable[..., Any],
    *specs: Any,
    configure: Callable[[Any, Any], None] = lambda _converter, _spec: None,
) -> None:
    """Convert a function with a named signature."""
    module = tf.Module()
    module.serve = tf.function(function, input_signature=list(specs))
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve.get_concrete_function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        configure(converter, specs[0])
        content = converter.convert()
    (HERE / f"{name}.tflite").write_bytes(content)
    print(f"{name}.tflite {len(content)} bytes")  # noqa: T201


def _int8(converter: Any, spec: Any) -> None:
    rng = np.random.default_rng(SEED)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([rng.random(spec.shape, dtype=np.float32)] for _ in range(16))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8


if __name__ == "__main__":
    main()
