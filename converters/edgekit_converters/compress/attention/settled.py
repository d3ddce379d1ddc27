"""A graph in which what depends on the inputs' shapes alone is stored: masks, positions, targets of reshapes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.calibration import random_array
from edgekit_converters.graph.flatten import flatten
from edgekit_converters.graph.model import inputs_of, specs
from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir

Feeds = Mapping[str, Array]


def settle(model: "ir.Model", feeds: Sequence[Feeds]) -> list[dict[str, tuple[int, ...]]]:
    """Store what is the same in all of these runs whatever the inputs hold, in place; return every value's shape.

    Args:
        model: the canonical graph.
        feeds: of runs that differ in the sizes that stay free.

    Raises:
        UnsupportedError: if the model stops with them.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common

    flat = flatten(model, [feeds], {node.op_type for node in model.graph.all_nodes()})
    for node in list(model.graph):
        for value in node.outputs:
            made = flat.constants.get(str(value.name))
            if made is None or value.is_graph_output() or not value.uses():
                continue
            tensor = ir.tensor(made, name=value.name)
            kind = ir.TensorType(tensor.dtype)
            constant = ir.Value(name=value.name, shape=ir.Shape(made.shape), type=kind, const_value=tensor)
            value.name = f"{value.name}/computed"
            value.replace_all_uses_with(constant)
            model.graph.register_initializer(constant)
    common.RemoveUnusedNodesPass()(model)
    return [{name: tuple(array.shape) for name, array in run.items()} for run in flat.runs]


def two_batches(model: "ir.Model", seed: int) -> list[dict[str, Array]]:
    """Return random inputs of a sample and of two, where the batch is free: what is the same in both is not its size.

    Args:
        model: no other dimension of whose inputs is free.
        seed: of the values.
    """
    rng = np.random.default_rng(seed)
    inputs = specs(inputs_of(model))
    batches = (1, 2) if any(spec.shape and spec.shape[0] is None for spec in inputs) else (1,)
    return [
        {
            spec.name: random_array(spec, tuple(batch if size is None else size for size in spec.shape), rng)
            for spec in inputs
        }
        for batch in batches
    ]
