"""Small JAX functions with example arrays, and Keras models: factories for `jax_nets:NAME`."""

from typing import Any

import numpy as np


def classifier() -> Any:
    """Return a convolutional classifier with a skip connection; two inputs, two named outputs."""
    import jax

    rng = np.random.default_rng(7)
    kernel, dense = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 3, 3, 8), (8, 5)))

    def classify(image: Any, settings: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        features = jax.nn.relu(jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout))
        features = features + jax.nn.gelu(features) * settings["gain"]
        return {"scores": jax.nn.softmax(features.mean((1, 2)) @ dense), "features": features}

    return classify, (np.zeros((1, 16, 16, 3), np.float32), {"gain": np.ones((1, 1), np.float32)})


def tokens() -> Any:
    """Return a function of integers, and its one example without a tuple around it."""
    import jax.numpy as jnp

    table = np.random.default_rng(8).normal(size=(300, 4)).astype(np.float32)

    def embed(ids: Any) -> Any:
        return jnp.asarray(table)[ids].sum(1)

    return embed, np.zeros((2, 6), np.int32)


def sorts() -> Any:
    """Return a function that TFLite has no op for."""
    import jax.numpy as jnp

    return lambda x: jnp.sort(x, axis=0), np.zeros((4, 3), np.float32)


def cannot_be_traced() -> Any:
    return lambda x: x if float(x.sum()) else -x, np.zeros((4,), np.float32)


def without_examples() -> Any:
    return lambda x: x


def keras_3() -> Any:
    """Return a small Keras 3 model."""
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.Input((8, 8, 3), name="pixels"), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(3, name="scores")])
