"""Make small models in every TensorFlow format, with their inputs and outputs: run as `make_models.py FOLDER`.

A process of its own: TensorFlow stays out of the tests' process.
"""

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main(folder: Path) -> None:
    """Make every model."""
    rng = np.random.default_rng(1)
    images, extra = rng.random((10, 8, 8, 3)).astype(np.float32), rng.random((10, 4)).astype(np.float32)
    keras_3(folder, images, extra)
    keras_2(folder, images)
    plain_module(folder)
    hostile(folder)


def keras_3(folder: Path, images: Any, extra: Any) -> None:
    """A model with two inputs and two outputs, one with a recurrent layer, and a plain one in three formats."""
    import keras

    keras.utils.set_random_seed(1)
    image, meta = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="a_meta")
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu")(image))
    x = keras.layers.Concatenate()([keras.layers.Flatten()(x), meta])
    scores = keras.layers.Dense(3, activation="softmax", name="scores")(x)
    model = keras.Model([image, meta], [scores, keras.layers.Dense(2, name="box")(x)])
    model.save(folder / "two.keras")
    np.savez(folder / "two.npz", *[np.asarray(one) for one in model([images, extra])], image=images, a_meta=extra)
    plain = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="pixels"),
            keras.layers.Conv2D(4, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    plain.save(folder / "plain3.h5")
    plain.export(folder / "plain_saved", verbose=False)
    np.savez(folder / "plain3.npz", np.asarray(plain(images)), pixels=images)
    keras.Sequential([keras.Input((5, 3)), keras.layers.GRU(4), keras.layers.Dense(2)]).save(folder / "gru.keras")
    first, gate = keras.layers.LSTM(4, return_sequences=True), keras.layers.Dense(6, activation="gelu")
    keras.Sequential([keras.Input((5, 3)), first, gate, keras.layers.GRU(4)]).save(folder / "gelu.keras")


def keras_2(folder: Path, images: Any) -> None:
    """Models of the Keras before: HDF5 with a depthwise layer (which Keras 3 refuses), and its `.keras`."""
    import tf_keras

    tf_keras.utils.set_random_seed(2)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input((8, 8, 3), name="pixels"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    model.save(folder / "legacy.h5")
    model.save(folder / "legacy.keras")
    model.save_weights(folder / "weights.h5")
    np.savez(folder / "legacy.npz", np.asarray(model(images)), pixels=images)


def plain_module(folder: Path) -> None:
    """SavedModels without Keras: two named inputs and outputs, one op TFLite lacks, one that runs Python."""
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.reshape(tf.range(12.0), (4, 3)) / 10)

    module = Module()
    two = tf.function(
        lambda left, right: {"total": left @ module.weights + right, "half": (left @ module.weights) * 0.5},
        input_signature=[tf.TensorSpec([None, 4], name="left"), tf.TensorSpec([None, 3], name="right")],
    )
    module.two = two
    tf.saved_model.save(module, str(folder / "two_saved"), signatures={"serving_default": two})
    tf.saved_model.save(module, str(folder / "other_saved"), signatures={"other": two})
    for name, function in {
        "unsupported_saved": lambda x: {"y": tf.raw_ops.Betainc(a=x, b=x, x=x)},
        "python_saved": lambda x: {"y": tf.ensure_shape(tf.numpy_function(lambda v: v, [x], tf.float32), [None, 3])},
    }.items():
        owner = tf.Module()
        owner.serve = tf.function(function, input_signature=[tf.TensorSpec([None, 3], name="x")])
        tf.saved_model.save(owner, str(folder / name), signatures={"serving_default": owner.serve})


def hostile(folder: Path) -> None:
    """Keras files that carry or name code."""
    import h5py
    import keras
    import tf_keras

    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)]).save(folder / "lambda.keras")
    inner = tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Lambda(lambda x: x * 2)])
    tf_keras.Sequential([tf_keras.layers.Input((3,)), inner]).save(folder / "lambda.h5")
    tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Dense(2, name="mine")]).save(folder / "custom.h5")
    with h5py.File(folder / "custom.h5", "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace(
            '"class_name": "Dense"', '"class_name": "MyDense"'
        )
    with zipfile.ZipFile(folder / "two.keras") as source, zipfile.ZipFile(folder / "module.keras", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["config"]["layers"][1]["module"] = "subprocess"
                config["config"]["layers"][1]["class_name"] = "Popen"
                data = json.dumps(config).encode()
            target.writestr(name, data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
