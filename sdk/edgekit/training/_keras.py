"""Keras models in the loop: Keras 3 on TensorFlow, and tf-keras 2."""

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import DataError, UsageError
from edgekit.training._keras_layers import frozen_statistics
from edgekit.training._keras_quantized import FakeQuantization, Ranges
from edgekit_converters.model import Arrays
from edgekit_converters.training.loader import Tree, mapped

Model = Any  # keras.Model or tf_keras.Model: Keras is not there when types are checked
Tensor = Any


class KerasTrainee:
    """A model with Adam; `loss(target, outputs)`, in Keras' order, is a tensor whose mean is taken."""

    def __init__(
        self,
        model: Model,
        loss: Callable[[Tree, Tree], Tensor],
        clip_norm: float,
        precision: str | None,
    ) -> None:
        """Take the model, which is trained in place; `precision` None trains it as it is.

        Raises:
            UsageError: if Keras computes with something else than TensorFlow.
            DataError: if nothing of the model is trainable, or can be quantized.
        """
        keras = library_of(model)
        if keras.backend.backend() != "tensorflow":
            raise UsageError(f"Keras runs on '{keras.backend.backend()}' here; training needs it on 'tensorflow'")
        import tensorflow as tf

        if not model.built or not model.trainable_weights:
            raise DataError(f"model '{model.name}' has no trainable weights; one that was never called has none yet")
        self._model, self._loss, self._clip_norm = model, loss, clip_norm
        self._quantization = None if precision is None else FakeQuantization(model, precision)
        self._optimizer = keras.optimizers.Adam()
        self._optimizer.build(model.trainable_weights)
        self._step = tf.function(self._traced_step, reduce_retracing=True)
        self._predict = tf.function(self._traced_predict, reduce_retracing=True)

    def calibrate(self, batches: list[Tree]) -> None:
        """Run these inputs to make the ranges of activations."""
        for inputs in batches:
            with self._quantized(Ranges.WIDEN):
                self._model(_tensors(inputs), training=False)

    def settle(self) -> None:
        """Leave the model with its weights on their grids."""
        if self._quantization:
            self._quantization.settle()

    def seed(self, seed: int) -> None:
        """Seed Python, NumPy's global generator, and TensorFlow."""
        seed_all(self._model, seed)

    def step(self, inputs: Tree, target: Tree, rate: float, *, frozen: bool) -> float:
        """Train on one batch."""
        self._optimizer.learning_rate = rate
        return float(self._step(_tensors(inputs), _tensors(target), frozen))

    def predict(self, inputs: Tree) -> Tree:
        """Run one batch in inference mode."""
        return mapped(lambda one: one.numpy(), self._predict(_tensors(inputs)))

    def weights(self) -> Arrays:
        """Return the model's variables, by place, and the ranges of activations."""
        ranges = self._quantization.state() if self._quantization else {}
        return {**{f"variable.{at}": np.array(one) for at, one in enumerate(self._model.variables)}, **ranges}

    def set_weights(self, arrays: Arrays) -> None:
        """Set the model's variables and the ranges."""
        for at, one in enumerate(self._model.variables):
            one.assign(arrays[f"variable.{at}"])
        if self._quantization:
            self._quantization.set_state(arrays)

    def memory(self) -> Arrays:
        """Return Adam's variables."""
        return {f"adam.{at}": np.array(one) for at, one in enumerate(self._optimizer_variables)}

    def set_memory(self, arrays: Arrays) -> None:
        """Set Adam's variables."""
        for at, one in enumerate(self._optimizer_variables):
            one.assign(arrays[f"adam.{at}"])

    @property
    def _optimizer_variables(self) -> list[Any]:
        return list(self._optimizer.variables)

    def _traced_step(self, inputs: Tree, target: Tree, frozen: bool) -> Tensor:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            ranges = Ranges.KEEP if frozen else Ranges.FOLLOW
            statistics = frozen_statistics(self._model) if frozen else contextlib.nullcontext()
            with statistics, self._quantized(ranges):
                outputs = self._model(inputs, training=True)
            loss = tf.reduce_mean(self._loss(target, outputs))
            if self._model.losses:  # the regularizers'
                loss += tf.add_n(self._model.losses)
        pairs = zip(tape.gradient(loss, self._model.trainable_weights), self._model.trainable_weights, strict=True)
        gradients, weights = zip(*[(one, weight) for one, weight in pairs if one is not None], strict=True)
        if self._clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm)
        self._optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    def _traced_predict(self, inputs: Tree) -> Tree:
        with self._quantized(Ranges.KEEP):
            return self._model(inputs, training=False)

    def _quantized(self, ranges: Ranges) -> contextlib.AbstractContextManager[None]:
        return self._quantization.active(ranges) if self._quantization else contextlib.nullcontext()


def seed_all(model: Model, seed: int) -> None:
    """Set every generator that Keras, a loader and its transforms draw from: Python's and NumPy's too."""
    library_of(model).utils.set_random_seed(seed)


def library_of(model: Model) -> Any:  # noqa: ANN401  # the module `keras` or `tf_keras`
    """Return the Keras a model is of: by the class it descends from."""
    names = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    return sys.modules["tf_keras" if "tf_keras" in names else "keras"]


def save(model: Model, path: Path) -> None:
    """Write a model beside and rename."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".edgekit-") as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that HDF5 is old
        model.save(Path(scratch, path.name))
        Path(scratch, path.name).replace(path)


def _tensors(value: Tree) -> Tree:
    import tensorflow as tf

    return mapped(lambda one: tf.convert_to_tensor(one) if isinstance(one, np.ndarray) else one, value)
