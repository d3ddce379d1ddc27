"""Nodes written into a graph in front of one that is there."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.compress.attention.reshaping import stored
from edgekit_converters.graph.biases import free_name
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir


_AXES_AS_INPUT = 18  # the opset from which most reductions do


class Writer:
    """Adds nodes before an anchor, one behind the other."""

    def __init__(self, model: "ir.Model", anchor: "ir.Node", name: str) -> None:
        """Write into `model` in front of `anchor`; new values are named after `name`."""
        self._model, self._anchor, self._name = model, anchor, name

    def op(
        self, kind: str, *inputs: "ir.Value | None", attributes: Mapping[str, Any] | None = None, outputs: int = 1
    ) -> "ir.Value":
        """Add a node and return its first output."""
        import onnx_ir as ir

        node = ir.node(kind, list(inputs), attributes, num_outputs=outputs)
        self._model.graph.insert_before(self._anchor, node)
        for one in node.outputs:
            one.name = free_name(self._model, f"{self._name}/{kind}")
        return node.outputs[0]

    def reduced(self, kind: str, value: "ir.Value", axis: int, *, keep: bool = False) -> "ir.Value":
        """Add a ReduceMax, ReduceMin or ReduceMean over an axis, which newer opsets take as an input."""
        opset = max(
            (version for domain, version in self._model.graph.opset_imports.items() if domain in ONNX), default=0
        )
        if opset < _AXES_AS_INPUT:
            return self.op(kind, value, attributes={"axes": [axis], "keepdims": int(keep)})
        return self.op(kind, value, self.ints(axis), attributes={"keepdims": int(keep)})

    def like(self, node: "ir.Node", inputs: Sequence["ir.Value | None"]) -> "ir.Value":
        """Add a node that does what another one does to other inputs."""
        return self.op(node.op_type, *inputs, attributes={one.name: one for one in node.attributes.values()})

    def ints(self, *values: int) -> "ir.Value":
        """Return a stored list of whole numbers."""
        return self.stored(np.array(values, np.int64))

    def stored(self, array: np.ndarray) -> "ir.Value":
        """Return a stored tensor."""
        return stored(self._model, f"{self._name}/constant", array)
