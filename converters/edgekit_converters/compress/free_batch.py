"""A fixed batch made free while a technique goes over many samples, and fixed again behind it.

Exporters fix the batch at 1 by default. Run sample by sample, a small net spends its time on the calls: pruning or
training it takes several times as long. What a model computes with a free batch is no question of its operators: it is
tried, and a model that gives something else is left as it is.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.data import is_whole
from edgekit_converters.errors import CalibrationError, ModelFileError, UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.observing import observe
from edgekit_converters.graph.proof import prove
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

NAME = "freed_batch"
LEAST = 4
"""So many batches of samples, or the freedom does not pay."""
_TRIED = 5  # batches: several, and no number that sizes inside a model are likely to be


@dataclass(frozen=True, slots=True)
class Fixed:
    """The batch that a model had."""

    size: int

    def again(self, model: "ir.Model") -> None:
        """Give the inputs, and the outputs that have one, their batch back, in place; the shapes between are stale."""
        import onnx_ir as ir

        for value in (*graph_model.inputs_of(model), *model.graph.outputs):
            if value.shape is not None and len(value.shape):
                sizes = [self.size if str(size) == NAME else size for size in value.shape]
                value.shape = ir.Shape(sizes)


def freed(model: "ir.Model", arrays: Arrays, work: Path) -> "tuple[ir.Model, Fixed] | None":
    """Return a copy of a plain model with a free batch, and what fixes it again; None where it cannot be or pay.

    Args:
        model: with inferred shapes; it is not changed.
        arrays: samples [N, ...] as `data.bind` gives them.
        work: a scratch folder.
    """
    inputs = graph_model.specs(graph_model.inputs_of(model))
    sizes = {spec.shape[0] if spec.shape else None for spec in inputs}
    if len(sizes) != 1 or any(is_whole(arrays[spec.name], spec) for spec in inputs):
        return None
    (size,) = sizes
    if size is None or min(map(len, arrays.values())) < LEAST * size:
        return None
    opened = model.clone()
    with suppress(UnsupportedError, CalibrationError, ModelFileError):
        _open(opened, size)
        _prove(model, opened, {name: array[: _TRIED * size] for name, array in arrays.items()}, size, work)
        return opened, Fixed(size)
    return None


def _open(model: "ir.Model", size: int) -> None:
    """Take the batch out of inputs, outputs, and the sizes that reshapes are given."""
    import onnx_ir as ir

    from edgekit_converters.compress.figures import infer_shapes

    for value in (*graph_model.inputs_of(model), *model.graph.outputs):
        if value.shape is not None and len(value.shape) and value.shape[0] == size:
            value.shape = ir.Shape([NAME, *list(value.shape)[1:]])
    for node in model.graph:
        if node.domain in ONNX and node.op_type == "Reshape":
            _open_reshape(model, node, size)
    infer_shapes(model)


def _open_reshape(model: "ir.Model", node: "ir.Node", size: int) -> None:
    """Have a reshape to [batch, ...] keep the batch it is given, or find it where nothing else is to be found."""
    import onnx_ir as ir

    wanted, given = node.inputs[1], node.inputs[0]
    if wanted is None or wanted.const_value is None or given is None or given.shape is None:
        return
    sizes = np.array(wanted.const_value.numpy())
    if sizes.ndim != 1 or not len(sizes) or sizes[0] != size:
        return
    keeps = len(given.shape) > 0 and given.shape[0] == size and not node.attributes.get_int("allowzero", 0)
    if not keeps and -1 in sizes:
        return
    sizes[0] = 0 if keeps else -1
    name = f"{node.outputs[0].name}.sizes"
    while name in model.graph.initializers:
        name += "_"
    tensor = ir.tensor(sizes, name=name)
    stored = ir.Value(name=name, shape=ir.Shape(sizes.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    model.graph.register_initializer(stored)
    node.replace_input_with(1, stored)


def _prove(model: "ir.Model", opened: "ir.Model", arrays: Arrays, size: int, work: Path) -> None:
    """Run both.

    Raises:
        UnsupportedError: if an output differs, or does not have the batch.
    """
    names = [str(one.name) for one in model.graph.outputs]
    alone = list(observe(model, names, arrays, work / "fixed.onnx"))
    (together,) = observe(opened, names, arrays, work / "free.onnx", batch=_TRIED * size)
    joined: dict[str, Array] = {}
    for name in names:
        if any(one[name].ndim == 0 or len(one[name]) != size for one in alone):
            raise UnsupportedError(f"output '{name}' has no batch")
        joined[name] = np.concatenate([one[name] for one in alone])
        if joined[name].shape != together[name].shape:
            raise UnsupportedError(f"output '{name}' has another shape with a free batch")
    prove("model with a free batch", [together], [joined])
