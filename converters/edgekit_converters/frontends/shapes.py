"""Fixed shapes for inputs with free dimensions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import TensorSpec, said


def frozen(inputs: Sequence[TensorSpec], shapes: Mapping[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    """Return the inputs with the shapes asked for.

    Raises:
        UnsupportedError: if there is no such input, or its own shape does not allow the one asked for.
    """
    known = {spec.name: spec for spec in inputs}
    for name, shape in shapes.items():
        if name not in known:
            error = UnsupportedError(f"a shape is given for '{name}', which is no input of the model")
            error.add_note(f"the model's inputs are: {', '.join(known)}")
            raise error
        own = known[name].shape
        if len(own) != len(shape) or any(a not in {None, b} or b < 1 for a, b in zip(own, shape, strict=True)):
            raise UnsupportedError(f"input '{name}' is {said(own)} and cannot be {said(shape)}")
    return tuple(replace(spec, shape=tuple(shapes.get(spec.name, spec.shape))) for spec in inputs)
