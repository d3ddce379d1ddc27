"""Give layers of an int8 model their float form back, and its grids other ranges: without quantizing it again.

An int8 model of NNCF puts values on a grid with FakeQuantize, and stores weights as whole numbers with Convert,
Subtract and Multiply behind them. A layer is in float again when it takes the values from before the grid and the
weights (and the bias, which was corrected for the grid) of the float model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekit_converters.ranges import Range

Model = Any  # ov.Model has no types

# What hands values on as they are: a grid before it is as good as one behind it.
_CARRYING = frozenset(
    {
        "Concat", "Convert", "MaxPool", "Pad", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Split", "VariadicSplit",
        "StridedSlice", "Slice", "DepthToSpace", "SpaceToDepth", "Gather", "Broadcast", "Tile", "ReverseSequence",
    }
)  # fmt: skip
_GRID = "FakeQuantize"


def relax(quantized: Model, source: Model, names: Sequence[str]) -> None:
    """Give the layers of these friendly names their float form back, in place."""
    own = {node.get_friendly_name(): node for node in source.get_ordered_ops()}
    theirs = {node.get_friendly_name(): node for node in quantized.get_ordered_ops()}
    for name in names:
        node, before = theirs.get(name), own.get(name)
        if node is None or before is None or node.get_type_name() != before.get_type_name():
            continue
        for port, old in zip(node.inputs(), before.inputs(), strict=True):
            if is_fixed(old.get_source_output().get_node()):
                port.replace_source_output(_copied(old.get_source_output().get_node()).output(0))
            else:
                _off_the_grid(port)
        _restore_bias(node, before)


def respread(quantized: Model, ranges: Mapping[str, Range]) -> int:
    """Spread the grids over other ranges, by the names of the values they take; return how many there were.

    Grids with a range a channel stay as they are.
    """
    from openvino import opset13 as opset

    count = 0
    for node in quantized.get_ordered_ops():
        if node.get_type_name() != _GRID:
            continue
        name = key(node.input_value(0))
        sides = [node.input_value(at).get_node() for at in range(1, 5)]
        if name not in ranges or any(one.get_type_name() != "Constant" or one.get_data().size != 1 for one in sides):
            continue
        low, high = _fitted(ranges[name], sides, node.get_attributes()["levels"])
        for at, limit in enumerate((low, high, low, high), start=1):
            shape = sides[at - 1].get_data().shape
            node.input(at).replace_source_output(opset.constant(np.full(shape, limit, np.float32)).output(0))
        count += 1
    return count


def key(port: Model) -> str:
    """Return the name of the value at a port, the same in the float and the int8 model."""
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def _fitted(limits: Range, sides: Sequence[Model], levels: int) -> Range:
    """Keep the grid's form: symmetric where it was, 0 exactly on it."""
    low, high = limits
    was_low, was_high = (float(side.get_data().ravel()[0]) for side in sides[:2])
    if was_low < 0 and abs(was_low + was_high) <= 2.5 * (was_high - was_low) / levels:
        half = levels // 2
        bound = max(high, -low * (half - 1) / half)
        return -bound * half / (half - 1), bound
    step = max(high - low, 1e-12) / (levels - 1)
    zero = round(-low / step)
    return -zero * step, (levels - 1 - zero) * step


def is_fixed(node: Model) -> bool:
    """Whether a node's value is made of constants alone."""
    kind = node.get_type_name()
    if kind == "Constant":
        return True
    inputs = node.input_values()
    return kind not in {"Parameter", "ReadValue"} and bool(inputs) and all(is_fixed(one.get_node()) for one in inputs)


def _copied(node: Model) -> Model:
    """Return constants, and what is computed from them alone, as nodes of their own."""
    inputs = [_copied(one.get_node()).output(one.get_index()) for one in node.input_values()]
    copy = node.clone_with_new_inputs(inputs) if inputs else _constant(node)
    copy.set_friendly_name(node.get_friendly_name())
    return copy


def _constant(node: Model) -> Model:
    from openvino import op

    return op.Constant(node.get_tensor_view()) if hasattr(node, "get_tensor_view") else op.Constant(node.get_data())


def _off_the_grid(port: Model) -> None:
    """Let an input take the value from before its grid; the grid may stand before operators that only carry values."""
    source = port.get_source_output()
    node = source.get_node()
    if node.get_type_name() == _GRID:
        port.replace_source_output(node.input_value(0))
    elif node.get_type_name() in _CARRYING:
        for one in node.inputs():
            _off_the_grid(one)


def _restore_bias(node: Model, before: Model) -> None:
    """Take the bias behind a layer from the float model: the other one was corrected for the grid."""
    new, old = _bias(node), _bias(before)
    if new is not None and old is not None:
        new.replace_source_output(_copied(old.get_source_output().get_node()).output(0))


def _bias(node: Model) -> Model | None:
    takers = [one.get_node() for one in node.output(0).get_target_inputs()]
    if len(takers) != 1 or takers[0].get_type_name() != "Add":
        return None
    return next((one for one in takers[0].inputs() if is_fixed(one.get_source_output().get_node())), None)
