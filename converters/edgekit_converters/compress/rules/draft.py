"""What a rewrite writes: new nodes before the old ones, new constants, and values that take another one's place."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import RefusedError
from edgekit_converters.graph.biases import free_name
from edgekit_converters.graph.reading import name_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgekit_converters.model import Array

Given = str | int | float | Sequence[int]
"""What an attribute is given as."""


class Draft:
    """A change of a graph at a node; `finish` takes the old nodes away."""

    def __init__(self, model: "ir.Model", root: "ir.Node") -> None:
        """Begin before a node."""
        self._model, self._root = model, root
        self._old: list[ir.Node] = [root]
        self.made: list[ir.Node] = []

    def op(
        self,
        kind: str,
        *inputs: "ir.Value | None",
        name: str = "",
        like: "ir.Node | None" = None,
        outputs: int = 1,
        attributes: Mapping[str, Given] | None = None,
    ) -> "ir.Value":
        """Write a node and return its first output; with `like` that one's attributes are taken over, and its name."""
        import onnx_ir as ir

        taken = dict(like.attributes) if like is not None else {}
        given = {key: ir.convenience.convert_attribute(key, value) for key, value in (attributes or {}).items()}
        node = ir.Node("", kind, inputs, {**taken, **given}.values(), num_outputs=outputs)
        node.name = name or (name_of(like) if like is not None else f"{name_of(self._root)}/{kind}")
        for at, value in enumerate(node.outputs):
            value.name = free_name(self._model, f"{name_of(self._root)}/{kind}.{at}")
            if inputs[0] is not None and inputs[0].dtype is not None:
                value.dtype = inputs[0].dtype
        if self._root.graph is None:
            raise AssertionError("the node is in the graph until the draft is finished")
        self._root.graph.insert_before(self._root, node)
        self.made.append(node)
        return node.outputs[0]

    def floats(self, array: "Array | float", like: "ir.Value", name: str = "constant") -> "ir.Value":
        """Store floats in the dtype of another value."""
        import onnx_ir as ir

        dtype = like.dtype or ir.DataType.FLOAT
        return self._stored(ir.Tensor(np.asarray(array, dtype.numpy()), dtype=dtype), name)

    def whole(self, numbers: Sequence[int], name: str = "numbers") -> "ir.Value":
        """Store whole numbers: a shape, axes."""
        import onnx_ir as ir

        return self._stored(ir.Tensor(np.asarray(numbers, np.int64)), name)

    def _stored(self, tensor: "ir.TensorProtocol", name: str) -> "ir.Value":
        import onnx_ir as ir

        tensor.name = free_name(self._model, f"{name_of(self._root)}/{name}")
        value = ir.Value(
            name=tensor.name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._model.graph.register_initializer(value)
        return value

    def instead(self, new: "ir.Value", old: "ir.Value | None" = None) -> None:
        """Let a new value stand where an old one did (the root's, if not said), under that one's name."""
        old = old or self._root.outputs[0]
        made_here = any(new is one for node in self.made for one in node.outputs)
        if made_here or old.is_graph_output():
            new.name, old.name = old.name, None
        if made_here:
            new.shape, new.type = old.shape, old.type
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        producer = old.producer()
        if producer is not None:
            self._old.append(producer)

    def finish(self, nodes: Sequence["ir.Node"]) -> None:
        """Remove the old nodes whose results nothing takes any more; give the new ones names of their own."""
        waiting = list({id(node): node for node in (*nodes, *self._old)}.values())
        while gone := [
            node for node in waiting if not any(one.uses() or one.is_graph_output() for one in node.outputs)
        ]:
            for node in gone:
                if node.graph is not None:
                    node.graph.remove(node, safe=True)
            waiting = [node for node in waiting if all(node is not one for one in gone)]
        taken = {node.name for node in self._model.graph.all_nodes() if all(node is not one for one in self.made)}
        for node in self.made:
            wanted, count = node.name, 1
            while node.name in taken:
                node.name, count = f"{wanted}.{count}", count + 1
            taken.add(node.name)


def check_stand_in(new: "ir.Value", old: "ir.Value") -> None:
    """Refuse where a value that is there already cannot take over another one's name as an output of the model."""
    if old.is_graph_output() and (new.is_graph_output() or new.is_graph_input() or new.producer() is None):
        raise RefusedError(f"it hands '{new.name}' on to the output '{old.name}'", old.producer())
    if old.is_graph_output() and new.producer().graph is not old.producer().graph:  # type: ignore[union-attr]  # both are computed
        raise RefusedError("it hands a value of another graph on to an output", old.producer())
