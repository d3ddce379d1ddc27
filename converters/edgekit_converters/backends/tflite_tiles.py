"""Values of a file that are places of one and the same layer: they get one range, so that parts fit together as stored.

A network computed in tiles (`compress.tile`) has each early layer several times, with the same weights on other places
of the image. With a scale of its own each tile would be stored on another grid than it is without tiles, and rescaled
where the tiles are joined.
"""

from collections.abc import Hashable
from functools import reduce
from typing import Any

import numpy as np

from edgekit_converters.tflite_file import Op, Subgraph, Tensor

# Their outputs are places of their inputs; they have one scale with them anyway.
_PARTS = frozenset({"SLICE", "STRIDED_SLICE"})
_PADDED = frozenset({"PAD", "PADV2", "MIRROR_PAD"})
_JOINS = "CONCATENATION"
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


def same_layers(graph: Subgraph) -> list[list[str]]:
    """Return the names of values that are parts of one layer's output, where there are several."""
    layers = _Layers()
    parts: dict[int, list[str]] = {}
    for op in graph.ops:
        layers.read(op)
        for made in op.outputs:
            if made is not None and made.index in layers.convolved:
                parts.setdefault(layers.of(made), []).append(made.name)
    return [names for names in parts.values() if len(names) > 1]


def tie(statistics: dict[str, Any], graph: Subgraph) -> None:
    """Give the parts of a layer one range, which holds all of theirs; `statistics` are the quantizer's, by name."""
    for names in same_layers(graph):
        known = [statistics[name] for name in names if name in statistics]
        for side, widest in (("min", np.minimum), ("max", np.maximum)):
            ends = [np.asarray(one[side]) for one in known]
            if any(end.size != 1 or end.dtype.kind != "f" for end in ends):
                continue
            for one in known:
                one[side] = np.full_like(one[side], reduce(widest, (float(end.item()) for end in ends)))


class _Layers:
    """Numbers of what is computed, wherever in the image: equal numbers, the same layer.

    `convolved` are tensors that went through a convolution since they were cut out: two halves of a value that are
    worked on alike, as gates are, are no tiles.
    """

    def __init__(self) -> None:
        self.convolved: set[int] = set()
        self._by_tensor: dict[int, int] = {}
        self._numbers: dict[Hashable, int] = {}

    def of(self, tensor: Tensor) -> int:
        if tensor.index in self._by_tensor:
            return self._by_tensor[tensor.index]
        return self._number(("stored", tensor.buffer) if tensor.data_bytes else ("input", tensor.index))

    def read(self, op: Op) -> None:
        """Take the next operator."""
        given = [one for one in op.inputs if one is not None]
        layer = self._layer(op, given)
        convolved = any(one.index in self.convolved for one in given) and op.name not in _PARTS
        for place, made in enumerate(op.outputs):
            if made is not None:
                self._by_tensor[made.index] = layer if place == 0 else self._number((layer, place))
                if convolved or op.name in _CONVOLUTIONS:
                    self.convolved.add(made.index)

    def _layer(self, op: Op, given: list[Tensor]) -> int:
        if op.name in _PARTS | _PADDED:
            return self.of(given[0])
        numbers = tuple(map(self.of, given))
        if op.name == _JOINS and len(set(numbers)) == 1:
            return numbers[0]
        return self._number((op.name, numbers))

    def _number(self, what: Hashable) -> int:
        return self._numbers.setdefault(what, len(self._numbers))
