"""Fake quantization of a Keras model as it stands, Keras 3 or tf-keras 2: nothing of it is rebuilt.

While a `FakeQuantization` is active, layers with weights see them rounded to the target's grid, and what flows into
them (and into sums, products, concatenations and averages) is rounded to a tensor's range. The rounding's gradient is
that of the identity inside of the range and zero outside (Y. Bengio et al., arXiv:1308.3432; B. Jacob et al., CVPR
2018).

Batch norms are not folded for it: a symmetric grid with one step a channel is as much wider as the channel's factor: so
rounding before or after the multiplication gives the same; and no range is put between a convolution, its
batch norm and its activation, where the converted file has no tensor either.
"""

import contextlib
import enum
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from edgekit.errors import DataError
from edgekit.training._keras_layers import Layer, is_join, kernels_of, layers_of, replaced
from edgekit.training._options import ACTIVATIONS, WEIGHT_BITS
from edgekit_converters.model import Arrays
from edgekit_converters.training.loader import Tree, mapped

Tensor = Any

_ACTIVATION_BITS = 8
_DECAY = 0.99  # of the moving averages of lowest and highest values


class Ranges(enum.Enum):
    """What a run does with the ranges of activations."""

    WIDEN = enum.auto()
    FOLLOW = enum.auto()
    KEEP = enum.auto()


class FakeQuantization:
    """The grids of a model's weights, and the ranges of what flows between its layers."""

    def __init__(self, model: Layer, precision: str) -> None:
        """Find the layers; nothing of the model changes before `active`.

        Raises:
            DataError: if none has weights to quantize.
        """
        self._layers = layers_of(model)
        if not any(kernels_of(layer) for layer in self._layers):
            raise DataError(f"model '{model.name}' has no layer whose weights are quantized")
        self._bits = WEIGHT_BITS[precision]
        self._activations = precision in ACTIVATIONS
        self._ranges: dict[str, Any] = {}

    @contextlib.contextmanager
    def active(self, ranges: Ranges) -> Iterator[None]:
        """Quantize what is computed, or traced, in here; ranges have to be widened first."""
        with contextlib.ExitStack() as stack:
            for at, layer in enumerate(self._layers):
                if kernels_of(layer) or is_join(layer):
                    call = self._call(str(at), layer, ranges)
                    stack.enter_context(replaced(layer, {"call": call}))
            yield

    def settle(self) -> None:
        """Put the weights on their grids for good: rounding them again, here or in a converter, finds the same."""
        for layer in self._layers:
            for name, axes in kernels_of(layer).items():
                kernel = vars(layer)[name]
                kernel.assign(on_grid(kernel, axes, self._bits))

    def state(self) -> Arrays:
        """Return the ranges: the lowest and highest value of each."""
        return {f"range.{key}": one.numpy() for key, one in self._ranges.items()}

    def set_state(self, arrays: Arrays) -> None:
        """Set the ranges."""
        for key, one in self._ranges.items():
            one.assign(arrays[f"range.{key}"])

    def _call(self, key: str, layer: Layer, ranges: Ranges) -> Callable[..., Any]:
        """Return the layer's call with what it takes, and its kernels, on their grids."""
        call, kernels = layer.call, kernels_of(layer)

        def quantized(first: Tree, *args: Any, **kwargs: Any) -> Tree:  # noqa: ANN401  # whatever the layer takes
            if self._activations:
                number = itertools.count()
                first = mapped(lambda one: self._rounded(f"{key}.{next(number)}", one, ranges), first)
            own = vars(layer)
            with replaced(layer, {name: on_grid(own[name], axes, self._bits) for name, axes in kernels.items()}):
                return call(first, *args, **kwargs)

        return quantized

    def _rounded(self, key: str, value: Tensor, ranges: Ranges) -> Tensor:
        import tensorflow as tf

        if not tf.as_dtype(value.dtype).is_floating:
            return value
        if key not in self._ranges:
            if ranges is not Ranges.WIDEN:
                return value  # a way through the model that is taken in training only
            self._ranges[key] = tf.Variable([0.0, 0.0], trainable=False)
        span = self._ranges[key]
        if ranges is not Ranges.KEEP:
            seen = tf.stop_gradient(tf.stack([tf.reduce_min(value), tf.reduce_max(value)]))
            wide = tf.stack([tf.minimum(seen[0], span[0]), tf.maximum(seen[1], span[1])])
            near = [tf.minimum(seen[0], 0.0), tf.maximum(seen[1], 0.0)]
            span.assign(wide if ranges is Ranges.WIDEN else _DECAY * span + (1 - _DECAY) * tf.stack(near))
        high = tf.maximum(span[1], span[0] + 1e-6)  # a tensor that is always 0 has a range, too
        return tf.quantization.fake_quant_with_min_max_vars(value, span[0], high, num_bits=_ACTIVATION_BITS)


def on_grid(kernel: Tensor, axes: tuple[int, ...], bits: int) -> Tensor:
    """Round to a symmetric grid of `bits` bits with one step for each place along `axes`; gradients pass through."""
    import tensorflow as tf

    value = tf.convert_to_tensor(kernel)
    kept = {axis % len(value.shape) for axis in axes}
    others = [axis for axis in range(len(value.shape)) if axis not in kept]
    highest = 2 ** (bits - 1) - 1
    step = tf.maximum(tf.reduce_max(tf.abs(value), axis=others, keepdims=True), 1e-12) / highest
    return value + tf.stop_gradient(tf.round(value / step) * step - value)
