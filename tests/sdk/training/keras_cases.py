"""Keras models that are trained: run as `python -m tests.sdk.training.keras_cases FOLDER keras|tf_keras`."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID253  # a process of its own

import edgekit
from edgekit.training._keras import KerasTrainee
from edgekit.training._keras_quantized import on_grid
from tests.framework_cases import Shuffled, accuracy, digits, error_of, main, spread

LIBRARY = sys.argv[2]
keras: Any = importlib.import_module(LIBRARY)
layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SUFFIX = {"keras": ".keras", "tf_keras": ".h5"}[LIBRARY]
TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = digits(channels_first=False)
SCORE = accuracy(TEST_X, TEST_Y)


def net(dropout: float = 0.0) -> Any:
    """Return an untrained net for digits: with batch norms, a depthwise convolution, and a sum."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(12, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(name="spread")(x))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="narrow")(x)
    x = layers.Add()([x, layers.Conv2D(16, 1, padding="same")(x)])
    x = layers.AveragePooling2D(4)(x)
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(10)(x))


_TRAINED: list[Any] = []


def trained() -> Any:
    """Return the net trained in float; the same each time."""
    if not _TRAINED:
        one = net()
        options = edgekit.TrainOptions(epochs=15, learning_rate=5e-3, freeze_after=1.0)
        edgekit.finetune(one, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options)
        _TRAINED.extend(one.get_weights())
    one = net()
    one.set_weights(_TRAINED)
    return one


def hard() -> Any:
    """Return the trained net with channels 1,000 times apart: in float it computes the same."""
    one, factors = trained(), spread(12)
    gamma, beta, mean, variance = one.get_layer("spread").get_weights()
    one.get_layer("spread").set_weights([gamma * factors, beta * factors, mean, variance])
    kernel, bias = one.get_layer("narrow").get_weights()
    one.get_layer("narrow").set_weights([kernel / factors[:, None], bias])
    return one


def float_score(one: Any) -> float:
    return SCORE(lambda inputs: one.predict(inputs, verbose=0))


def recovers(work: Path, precision: str) -> dict[str, Any]:
    one = hard()
    before = float_score(one)
    options = edgekit.TrainOptions(epochs=8, learning_rate=3e-3)
    data = Shuffled(TRAIN_X, TRAIN_Y)
    done = edgekit.train_quantized(one, data, LOSS, options, precision=precision, evaluate=SCORE)
    done.save(work / f"net{SUFFIX}")
    np.savez(work / "test.npz", x=TEST_X, y=TEST_Y)
    again = keras.models.load_model(work / f"net{SUFFIX}", compile=False)
    trainee = KerasTrainee(one, LOSS, 0.0, precision)
    trainee.calibrate([TRAIN_X[:300]])
    return {
        "float": before,
        "scores": done.course.scores,
        "recalibrated": SCORE(trainee.predict),
        "same": done.model is one,
        "values": int(max(len(np.unique(channel)) for channel in one.get_layer("narrow").get_weights()[0].T)),
        "in_float": float_score(one),
        "left": [layer.name for layer in one.layers if "call" in vars(layer)],
        "saved": float(np.abs(again.predict(TEST_X, verbose=0) - one.predict(TEST_X, verbose=0)).max()),
    }


def goes_on(work: Path) -> dict[str, Any]:
    """Killed in the second epoch and started again, with shuffling and, where Keras keeps its generator, dropout."""
    results = []
    dropout = 0.3 if LIBRARY == "keras" else 0.0
    for kill_at in (0, 48):
        options = edgekit.TrainOptions(
            epochs=3, checkpoint=work / f"{kill_at}.npz", checkpoint_every_s=0 if kill_at else 60, learning_rate=1e-3
        )
        if kill_at:
            try:
                data = Shuffled(TRAIN_X, TRAIN_Y, kill_at=kill_at)
                edgekit.train_quantized(net(dropout), data, LOSS, options, evaluate=SCORE)
            except KeyboardInterrupt:
                keras.utils.set_random_seed(99)
        one = net(dropout)
        done = edgekit.train_quantized(one, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options, evaluate=SCORE)
        results.append((done.course, one.get_weights()))
    (first, weights), (second, others) = results
    apart = [float(np.abs(mine - other).max()) for mine, other in zip(weights, others, strict=True)]
    return {"course": first == second, "apart": max(apart)}


def freezes(_work: Path) -> dict[str, Any]:
    found = {}
    for share in (0.0, 1.0):
        one = trained()
        before = one.get_layer("spread").get_weights()[2]
        options = edgekit.TrainOptions(epochs=1, freeze_after=share)
        edgekit.finetune(one, Shuffled(TRAIN_X, TRAIN_Y), LOSS, options)
        found[str(share)] = bool(np.array_equal(before, one.get_layer("spread").get_weights()[2]))
    return found


def folding(_work: Path) -> dict[str, Any]:
    """A quantized net with batch norms beside the same with them folded, as converters do."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(5)
    image = layers.Input((8, 8, 3))
    convolution, depthwise = layers.Conv2D(6, 3), layers.DepthwiseConv2D(3)
    norms = [layers.BatchNormalization(), layers.BatchNormalization()]
    plain = keras.Model(image, norms[1](depthwise(layers.ReLU()(norms[0](convolution(image))))))
    for norm in norms:
        gamma = rng.uniform(0.2, 3, 6) * rng.choice([-1, 1], 6)
        norm.set_weights([gamma, rng.uniform(-1, 1, 6), rng.uniform(-1, 1, 6), rng.uniform(0.3, 2, 6)])
    folded_layers = [layers.Conv2D(6, 3), layers.DepthwiseConv2D(3)]
    folded = keras.Model(image, folded_layers[1](layers.ReLU()(folded_layers[0](image))))
    for layer, norm, made in zip((convolution, depthwise), norms, folded_layers, strict=True):
        kernel, bias = layer.get_weights()
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / np.sqrt(variance + norm.epsilon)
        by_channel = factor if made is folded_layers[0] else factor[:, None]
        made.set_weights([kernel * by_channel, (bias - mean) * factor + beta])
    inputs = rng.normal(size=(16, 8, 8, 3)).astype(np.float32)
    outputs = {}
    for name, model in (("plain", plain), ("folded", folded)):
        for precision in ("int8-weights", "int4-weights"):
            outputs[name, precision] = KerasTrainee(model, LOSS, 0.0, precision).predict(inputs)
        outputs[name, "float"] = model(inputs, training=False).numpy()
    return {
        precision: {
            "apart": float(np.abs(outputs["plain", precision] - outputs["folded", precision]).max()),
            "rounding": float(np.abs(outputs["plain", precision] - outputs["plain", "float"]).max()),
        }
        for precision in ("int8-weights", "int4-weights")
    }


def kinds_of_layers(_work: Path) -> dict[str, Any]:
    """What each layer with weights computes with, beside the same layer with weights rounded by a formula in NumPy."""
    rng = np.random.default_rng(6)
    kinds: dict[str, tuple[Any, tuple[int, ...], list[tuple[int, ...]]]] = {
        "Conv1D": (layers.Conv1D(5, 3), (9, 4), [(-1,)]),
        "Conv2D": (layers.Conv2D(6, 3, groups=2), (9, 9, 4), [(-1,)]),
        "Conv3D": (layers.Conv3D(5, 2), (4, 4, 4, 2), [(-1,)]),
        "Conv1DTranspose": (layers.Conv1DTranspose(5, 3), (9, 4), [(-2,)]),
        "Conv2DTranspose": (layers.Conv2DTranspose(5, 3, strides=2), (5, 5, 4), [(-2,)]),
        "Conv3DTranspose": (layers.Conv3DTranspose(5, 2), (4, 4, 4, 2), [(-2,)]),
        "DepthwiseConv1D": (layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 4), [(-2, -1)]),
        "DepthwiseConv2D": (layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 9, 4), [(-2, -1)]),
        "SeparableConv1D": (layers.SeparableConv1D(5, 3), (9, 4), [(-2, -1), (-1,)]),
        "SeparableConv2D": (layers.SeparableConv2D(5, 3), (9, 9, 4), [(-2, -1), (-1,)]),
        "Dense": (layers.Dense(5), (3, 4), [(-1,)]),
        "EinsumDense": (layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3)), (3, 4), [(1, 2)]),
    }
    if LIBRARY == "tf_keras":
        kinds["EinsumDense"] = (layers.EinsumDense("...x,xy->...y", output_shape=(3, 5)), (3, 4), [(1,)])
    found = {}
    for name, (layer, shape, axes) in kinds.items():
        model = keras.Sequential([layers.Input(shape), layer])
        inputs = rng.normal(size=(2, *shape)).astype(np.float32)
        got = KerasTrainee(model, LOSS, 0.0, "int4-weights").predict(inputs)
        before = model.get_weights()
        rounded = [by_formula(weights, kept) for weights, kept in zip(before, axes, strict=False)]
        model.set_weights(rounded + before[len(axes) :])
        found[name] = float(np.abs(model(inputs).numpy() - got).max())
    return found


def by_formula(weights: Any, kept: tuple[int, ...]) -> Any:
    """Round to fifteen levels around zero: q = round(7 w / max |w|), w' = q max |w| / 7, one maximum a channel."""
    kept = tuple(axis % weights.ndim for axis in kept)
    largest = np.abs(weights).max(axis=tuple(axis for axis in range(weights.ndim) if axis not in kept), keepdims=True)
    return np.rint(weights / largest * 7) * largest / 7


def gradients(_work: Path) -> dict[str, Any]:
    """Rounded weights let gradients through."""
    value = tf.Variable(np.random.default_rng(7).normal(size=(3, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(on_grid(value, (-1,), 4) * 3.0)
    return {"one": bool(np.all(tape.gradient(total, value).numpy() == 3.0))}


def several_inputs(_work: Path) -> dict[str, Any]:
    """Inputs as a tuple and as a dict by name, of a `tf.data.Dataset`, outputs in a dict, a model in the model."""
    flat, test = TRAIN_X.reshape(-1, 64), TEST_X.reshape(-1, 64)
    found = {}
    for form in ("tuple", "dict"):
        keras.utils.set_random_seed(0)
        top, bottom = layers.Input((32,), name="top"), layers.Input((32,), name="bottom")
        inner = keras.Sequential([layers.Input((32,)), layers.Dense(24, activation="relu"), layers.Dense(10)])
        model = keras.Model([top, bottom], {"scores": layers.Add()([inner(top), layers.Dense(10)(bottom)])})
        halves: Any = (flat[:, :32], flat[:, 32:])
        asked: Any = (test[:, :32], test[:, 32:])
        if form == "dict":
            halves, asked = ({"bottom": one[1], "top": one[0]} for one in (halves, asked))
        data = tf.data.Dataset.from_tensor_slices((halves, TRAIN_Y)).batch(64)
        options = edgekit.TrainOptions(epochs=4, learning_rate=1e-2)

        def score(predict: Any, asked: Any = asked) -> float:
            return float((predict(asked)["scores"].argmax(-1) == TEST_Y).mean())

        done = edgekit.train_quantized(model, data, lambda y, out: LOSS(y, out["scores"]), options, evaluate=score)
        found[form] = max(done.course.scores)
    return found


class Subclassed(keras.Model):  # type: ignore[misc]  # Keras is not there when types are checked
    def __init__(self) -> None:
        """Two layers and a regularizer."""
        super().__init__()
        self.first = layers.Dense(24, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4))
        self.second = layers.Dense(10)

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.first(inputs)
        return self.second(x * 1.01 if training else x)


def subclassed(_work: Path) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    one, flat = Subclassed(), TRAIN_X.reshape(-1, 64)
    data = [(flat[at : at + 40], TRAIN_Y[at : at + 40]) for at in range(0, 1200, 40)]
    unbuilt = error_of(lambda: edgekit.train_quantized(one, data, LOSS))
    one(flat[:1])
    score = accuracy(TEST_X.reshape(-1, 64), TEST_Y)
    options = edgekit.TrainOptions(epochs=5, learning_rate=1e-2)
    done = edgekit.train_quantized(one, data, LOSS, options, evaluate=score)
    return {"unbuilt": unbuilt, "score": max(done.course.scores)}


def refusals(work: Path) -> dict[str, Any]:
    data = Shuffled(TRAIN_X, TRAIN_Y)
    once = edgekit.TrainOptions(epochs=1)
    norm = keras.Sequential([layers.Input((8, 8, 1)), layers.BatchNormalization(), layers.Flatten()])
    return {
        "no weights": error_of(
            lambda: edgekit.finetune(keras.Sequential([layers.Input((8, 8, 1)), layers.ReLU()]), data, LOSS)
        ),
        "nothing to quantize": error_of(lambda: edgekit.train_quantized(norm, data, LOSS)),
        "nan": error_of(lambda: edgekit.train_quantized(net(), data, lambda _y, out: out * float("nan"), once)),
        "suffix": error_of(lambda: edgekit.finetune(net(), data, LOSS, once).save(work / "net.xml")),
    }


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    main(
        {
            "int8": lambda work: recovers(work, "int8"),
            "int4-weights": lambda work: recovers(work, "int4-weights"),
            "goes on": goes_on,
            "freezes": freezes,
            "folding": folding,
            "kinds of layers": kinds_of_layers,
            "gradients": gradients,
            "several inputs": several_inputs,
            "subclassed": subclassed,
            "refusals": refusals,
        }
    )
