"""What a change does to a model's outputs on samples: one number to choose between changes by."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir


def relative_error(got: Sequence[dict[str, Array]], wanted: Sequence[dict[str, Array]]) -> float:
    """Return the mean over the outputs of real numbers of |changed - before| / |before|, norms over all samples.

    Args:
        got: outputs of the changed model, batch after batch, as `graph.proof.outputs` gives them.
        wanted: those of the model before.
    """
    names = [name for name, one in wanted[0].items() if one.dtype.kind == "f"]
    errors = []
    for name in names:
        before = [np.asarray(one[name], np.float64) for one in wanted]
        after = [np.asarray(one[name], np.float64) for one in got]
        power = sum(float(np.square(one).sum()) for one in before)
        error = sum(float(np.square(a - b).sum()) for a, b in zip(after, before, strict=True))
        errors.append((error / max(power, 1e-30)) ** 0.5)
    return float(np.mean(errors)) if errors else 0.0


def bypass(model: "ir.Model", entry: str, left: str) -> None:
    """Let whatever takes one value take another one of the same shape instead; what is unused then goes.

    Args:
        model: changed in place.
        entry: the value that is taken instead.
        left: the value that is replaced; the model's outputs keep their names.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common

    values = {one.name: one for node in model.graph for one in node.outputs}
    values |= {one.name: one for one in model.graph.inputs}
    old, new = values[left], values[entry]
    at = next((at for at, one in enumerate(model.graph.outputs) if one is old), None)
    if at is not None:
        copy = ir.node("Identity", [new])
        model.graph.insert_after(old.producer(), copy)  # type: ignore[arg-type]  # a node made it
        model.graph.outputs[at] = copy.outputs[0]
        copy.outputs[0].shape, copy.outputs[0].type = old.shape, old.type
        copy.outputs[0].name, old.name = left, f"{left}/replaced"
    old.replace_all_uses_with(new)
    common.RemoveUnusedNodesPass()(model)
