"""Where a graph is narrow: values that all that follows is computed from, at which a student is held to its teacher."""

from typing import TYPE_CHECKING

from edgekit_converters.graph.model import dimensions, inputs_of

if TYPE_CHECKING:
    import onnx_ir as ir

Sizes = tuple[int | None, ...]
_IMAGE = 3  # dimensions of an image at least: samples, channels, places


def narrow(model: "ir.Model") -> dict[str, Sizes]:
    """Return the names of narrow values with their shapes without samples, in order.

    The graph's inputs and outputs are none of them, and no value that only an activation is taken of.
    """
    last: dict[int, int] = {}
    for at, node in enumerate(model.graph):
        last.update((id(one), at) for one in node.inputs if one is not None)
    ends = {id(one) for one in model.graph.outputs}
    alive = {id(one) for one in inputs_of(model) if id(one) in last}
    found: list[tuple[str, Sizes]] = []
    for at, node in enumerate(model.graph):
        alive -= {id(one) for one in node.inputs if one is not None and last[id(one)] == at} - ends
        alive |= {id(one) for one in node.outputs if id(one) in last or id(one) in ends}
        value = node.outputs[0]
        if alive == {id(value)} and id(value) not in ends and value.dtype and value.dtype.is_floating_point():
            sizes = tuple(dimensions(value)[1:])
            if found and found[-1] == (str(node.inputs[0].name), sizes) and len(node.inputs) == 1:  # type: ignore[union-attr]  # it has one
                found.pop()
            found.append((str(value.name), sizes))
    return dict(found)


def same_values(student: "ir.Model", teacher: "ir.Model") -> tuple[tuple[str, str], ...]:
    """Return pairs of narrow values of the same name and shape."""
    others = narrow(teacher)
    return tuple((name, name) for name, sizes in narrow(student).items() if sizes and others.get(name) == sizes)


def same_places(student: "ir.Model", teacher: "ir.Model") -> tuple[tuple[str, str], ...]:
    """Return pairs of images of the same places, whatever their channels: the last of each size in both graphs."""
    mine, others = (_images(narrow(one)) for one in (student, teacher))
    return tuple((name, others[places]) for places, name in mine.items() if places in others)


def _images(values: dict[str, Sizes]) -> dict[Sizes, str]:
    """Return images by their places, [height, width] or [length]; one place alone has nothing to attend to."""
    return {
        sizes[1:]: name
        for name, sizes in values.items()
        if len(sizes) + 1 >= _IMAGE and None not in sizes and any(one != 1 for one in sizes[1:])
    }
