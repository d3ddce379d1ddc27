"""A segment of a graph written as tiles, one after the other; the weights are those of the segment."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.tile_reach import CHANNELS, with_pads
from edgekit_converters.compress.tile_segment import Copy, Cut, Join, Part, Segment, Step, tile_pads
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

_SLICE_INPUTS = 10  # the opset from which Slice takes its bounds as inputs
_PAD_INPUTS = 11


def rewrite(model: "ir.Model", segment: Segment, steps: Sequence[Step]) -> None:
    """Put the steps in the place of a segment, in place."""
    from onnx_ir import convenience

    writer = _Writer(model, segment)
    nodes = [node for step in steps for node in writer.written(step)]
    end, made = segment.end, nodes[-1].outputs[0]
    name = end.name
    model.graph.insert_before(segment.nodes[0], nodes)
    convenience.replace_all_uses_with(end, made, replace_graph_outputs=True)
    model.graph.remove(reversed(segment.nodes), safe=True)
    made.name = name


class _Writer:
    def __init__(self, model: "ir.Model", segment: Segment) -> None:
        self._graph = model.graph
        self._opset = max(version for domain, version in model.graph.opset_imports.items() if domain in ONNX)
        self._made: dict[Part, ir.Value] = {}
        self._numbers: dict[tuple[int, ...], ir.Value] = {}
        self._taken = {str(one.name) for node in model.graph.all_nodes() for one in node.outputs}
        self._taken |= {str(node.name) for node in model.graph.all_nodes()} | set(model.graph.initializers)
        self._start = segment.start

    def written(self, step: Step) -> "list[ir.Node]":
        """Return the nodes of a step."""
        if isinstance(step, Cut):
            return [self._cut(step)]
        if isinstance(step, Join):
            return [self._node("Concat", [self._value(one) for one in step.taken], {"axis": step.axis}, step.made)]
        return [self._copy(step)]

    def _cut(self, cut: Cut) -> "ir.Node":
        offsets = [first for first, _ in cut.source.spans]
        pairs = zip(cut.made.spans, cut.source.spans, offsets, strict=True)
        moved = [
            (axis, made[0] - offset, made[1] - offset)
            for axis, (made, source, offset) in enumerate(pairs, CHANNELS + 1)
            if made != source
        ]
        axes, starts, ends = (list(one) for one in zip(*moved, strict=True))
        source = self._value(cut.source)
        if self._opset < _SLICE_INPUTS:
            return self._node("Slice", [source], {"axes": axes, "starts": starts, "ends": ends}, cut.made)
        return self._node("Slice", [source, *map(self._ints, (starts, ends, axes))], {}, cut.made)

    def _copy(self, copy: Copy) -> "ir.Node":
        node = copy.node
        inputs = [
            value if part is None else self._value(part) for value, part in zip(node.inputs, copy.taken, strict=True)
        ]
        attributes = with_pads(node, copy.pads)
        if node.op_type == "Pad" and self._opset < _PAD_INPUTS:
            attributes["pads"] = _ints_attribute("pads", tile_pads(copy))
        elif node.op_type == "Pad":
            inputs = [inputs[0], self._ints(tile_pads(copy)), *inputs[2:3]]
        return self._node(node.op_type, inputs, attributes, copy.made, node)

    def _node(
        self,
        op: str,
        inputs: "Sequence[ir.Value | None]",
        attributes: "Mapping[str, ir.Attr | int | list[int]]",
        made: Part,
        source: "ir.Node | None" = None,
    ) -> "ir.Node":
        import onnx_ir as ir

        tile = "" if made.tile is None else f"/tile{made.tile}" if made.tile >= 0 else f"/row{-1 - made.tile}"
        kind = "" if source is not None else f"/{op.lower()}"
        called = source.name if source is not None and source.name else made.value.name
        node = ir.node(op, inputs, attributes, name=self._new(f"{called}{kind}{tile}"))
        value = node.outputs[0]
        value.name = self._new(f"{made.value.name}{kind}{tile}")
        value.type = made.value.type
        known = tuple(made.value.shape or ())
        value.shape = ir.Shape([*known[: CHANNELS + 1], *(behind - first for first, behind in made.spans)])
        self._made[made] = value
        return node

    def _value(self, part: Part) -> "ir.Value":
        return self._start if part.tile is None else self._made[part]

    def _ints(self, numbers: Sequence[int]) -> "ir.Value":
        import onnx_ir as ir

        key = tuple(numbers)
        if key not in self._numbers:
            name = self._new(f"{self._start.name}/{'_'.join(map(str, key))}")
            tensor = ir.tensor(np.asarray(key, np.int64), name=name)
            value = ir.Value(
                name=name, shape=ir.Shape([len(key)]), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            self._graph.register_initializer(value)
            self._numbers[key] = value
        return self._numbers[key]

    def _new(self, name: str) -> str:
        """Return a name that nothing in the graph has yet."""
        free, count = name, 1
        while free in self._taken:
            count += 1
            free = f"{name}.{count}"
        self._taken.add(free)
        return free


def _ints_attribute(name: str, numbers: Sequence[int]) -> "ir.Attr":
    import onnx_ir as ir

    return ir.AttrInt64s(name, list(numbers))
