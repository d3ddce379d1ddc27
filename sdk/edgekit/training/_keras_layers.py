"""What the layers of a Keras model are, Keras 3 or tf-keras 2, and how one is given another call for a while."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

Model = Any  # keras.Model or tf_keras.Model: Keras is not there when types are checked
Layer = Any

_LAST = (-1,)
_LAST_TWO = (-2, -1)
# Layer class -> where its kernels lie, and the axes of a kernel that have a step each.
_KERNELS: dict[str, dict[str, tuple[int, ...]]] = {
    **{f"Conv{rank}D": {"kernel": _LAST} for rank in (1, 2, 3)},
    **{f"Conv{rank}DTranspose": {"kernel": (-2,)} for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": {"kernel": _LAST_TWO, "depthwise_kernel": _LAST_TWO} for rank in (1, 2)},
    **{f"SeparableConv{rank}D": {"depthwise_kernel": _LAST_TWO, "pointwise_kernel": _LAST} for rank in (1, 2)},
    "Dense": {"kernel": _LAST},
}
_EINSUM = "EinsumDense"
_BATCH_NORM = "BatchNormalization"
# Layers without weights whose inputs are tensors of their own in the converted file.
_JOINS = frozenset(
    {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"}
    | {f"{which}AveragePooling{rank}D" for which in ("", "Global") for rank in (1, 2, 3)}
)


def layers_of(model: Model) -> list[Layer]:
    """Return the layers of a model and of the models in it, once each."""
    found = model._flatten_layers(include_self=False)  # noqa: SLF001  # both Kerases have it, and no public one
    return list({id(layer): layer for layer in found}.values())


def is_join(layer: Layer) -> bool:
    """Whether a layer has no weights, and what it takes is a tensor of its own in the converted file."""
    return kind_of(layer, *_JOINS) is not None


@contextlib.contextmanager
def frozen_statistics(model: Model) -> Iterator[None]:
    """Let batch norms use, and leave, their stored statistics in what is computed, or traced, in here."""
    with contextlib.ExitStack() as stack:
        for layer in layers_of(model):
            if kind_of(layer, _BATCH_NORM):
                stack.enter_context(replaced(layer, {"call": _in_inference(layer.call)}))
        yield


def _in_inference(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: call(*args, **{**kwargs, "training": False})


def kernels_of(layer: Layer) -> dict[str, tuple[int, ...]]:
    """Return where a layer's kernels lie in it, with the axes of each that have a step of their own."""
    found = _einsum(layer) if kind_of(layer, _EINSUM) else _KERNELS.get(kind_of(layer, *_KERNELS) or "", {})
    own = vars(layer)
    # Keras 3 keeps some kernels behind a property, under an underscore.
    return {at: axes for name, axes in found.items() for at in (f"_{name}", name) if own.get(at) is not None}


def _einsum(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The kernel's axes that are the output's have a step each: `abc,cd->abd` has one for each place along d."""
    operands, output = layer.equation.replace(".", "").split("->")
    kernel = operands.split(",")[1]
    return {"kernel": tuple(at for at, letter in enumerate(kernel) if letter in output)}


def kind_of(layer: Layer, *names: str) -> str | None:
    """Return the first of the layer's classes, itself first, that has one of these names."""
    return next((cls.__name__ for cls in type(layer).__mro__ if cls.__name__ in names), None)


@contextlib.contextmanager
def replaced(layer: Layer, attributes: dict[str, Any]) -> Iterator[None]:
    """Give a layer other attributes for a while; past Keras, which would take tensors for new weights."""
    own: dict[str, Any] = layer.__dict__
    missing = object()
    before = {name: own.get(name, missing) for name in attributes}
    own.update(attributes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                del own[name]
            else:
                own[name] = value
