"""Give layers of an int8 model their float form back, and its grids other ranges: without quantizing it again.

An int8 model of NNCF puts values on a grid with FakeQuantize, and stores weights as whole numbers with Convert,
Subtract and Multiply behind them. A layer is in float again when it takes the values from before the grid and the
weights (and the bias, which was corrected for the grid) of the float model.
"""

from collections.abc import Iterable, Mapping, Sequence
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
_SMALL = 512
"""Constants of fewer values take no less room in float16: it takes an operator more to read them."""


def relax(quantized: Model, source: Model, names: Sequence[str]) -> None:
    """Give the layers of these friendly names their float form back, in place; the others stay as they are."""
    own, theirs = _by_name(source.clone()), _by_name(quantized)  # what is put in is a part of no other model then
    fixed = _fixed(own.values()), _fixed(theirs.values())
    grids = _OffTheGrid(_by_name(quantized.clone()))
    for name in names:
        node, before = theirs.get(name), own.get(name)
        if node is None or before is None or node.get_type_name() != before.get_type_name():
            continue
        for port, old in zip(node.inputs(), before.inputs(), strict=True):
            constant = old.get_source_output()
            known = constant.get_node().get_name() in fixed[0]
            port.replace_source_output(constant if known else grids.value(port.get_source_output()))
        old_bias, new_bias = _bias(before, fixed[0]), _bias(node, fixed[1])
        if old_bias is not None and new_bias is not None:  # the other one was corrected for the grid
            new_bias.replace_source_output(old_bias.get_source_output())
    grids.name_copies()


def halve(quantized: Model) -> None:
    """Store the large constants of layers in float in float16, in place, computed in float32.

    Saving does so by itself, but not with a model that has grids. Scales of stored weights stay as they are.
    """
    from openvino import opset13 as opset

    for node in quantized.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().to_dtype() != np.float32:
            continue
        takers = list(node.output(0).get_target_inputs())
        values = node.get_data()
        if values.size < _SMALL or np.abs(values).max() > np.finfo(np.float16).max or any(map(_is_grid, takers)):
            continue
        wide = opset.convert(opset.constant(values.astype(np.float16)), np.float32)
        wide.set_friendly_name(f"{node.get_friendly_name()}/float32")
        for taker in takers:
            taker.replace_source_output(wide.output(0))


def _is_grid(taker: Model) -> bool:
    """Whether a port takes an end of a grid, or the scale of weights stored on one."""
    node = taker.get_node()
    stored = any(one.get_node().get_type_name() in {"Convert", "Subtract"} for one in node.input_values())
    return node.get_type_name() == _GRID or (stored and node.get_type_name() == "Multiply")


def _by_name(model: Model) -> dict[str, Model]:
    return {node.get_friendly_name(): node for node in model.get_ordered_ops()}


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
        bound = max(high, -low * (half - 1) / half, 1e-12)
        return -bound * half / (half - 1), bound
    step = max(high - low, 1e-12) / (levels - 1)
    zero = round(-low / step)
    return -zero * step, (levels - 1 - zero) * step


def _fixed(nodes: Iterable[Model]) -> set[str]:
    """Return the unique names of the nodes, given in order, whose values are made of constants alone."""
    found: set[str] = set()
    for node in nodes:
        sources = [one.get_node().get_name() for one in node.input_values()]
        kind = node.get_type_name()
        if kind == "Constant" or (sources and kind != "ReadValue" and found.issuperset(sources)):
            found.add(node.get_name())
    return found


class _OffTheGrid:
    """Finds values as they are before their grid, which may stand before operators that only carry values.

    Those operators are copied, for a layer that stays on the grid may take what they give too; `spare` are the copies
    by name.
    """

    def __init__(self, spare: Mapping[str, Model]) -> None:
        self._spare = spare
        self._copies: dict[str, tuple[Model, Model]] = {}

    def value(self, port: Model) -> Model:
        node = port.get_node()
        if node.get_type_name() == _GRID:
            return node.input_value(0)
        if node.get_type_name() not in _CARRYING:
            return port
        if node.get_name() not in self._copies:
            sources = node.input_values()
            inputs = [self.value(one) for one in sources]
            if [one.get_node().get_name() for one in inputs] == [one.get_node().get_name() for one in sources]:
                return port  # no grid before it
            copy = self._spare[node.get_friendly_name()]
            for at, one in zip(copy.inputs(), inputs, strict=True):
                at.replace_source_output(one)
            self._copies[node.get_name()] = node, copy
        return self._copies[node.get_name()][1].output(port.get_index())

    def name_copies(self) -> None:
        """Give copies a name of their own where the first one is still there."""
        for node, copy in self._copies.values():
            if any(one.get_target_inputs() for one in node.outputs()):
                copy.set_friendly_name(f"{node.get_friendly_name()}/float")


def _bias(node: Model, fixed: set[str]) -> Model | None:
    """Return the port where the bias behind a layer comes in."""
    takers = [one.get_node() for one in node.output(0).get_target_inputs()]
    if len(takers) != 1 or takers[0].get_type_name() != "Add":
        return None
    return next((one for one in takers[0].inputs() if one.get_source_output().get_node().get_name() in fixed), None)
