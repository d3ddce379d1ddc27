"""Where a model can be looked at: one value a layer, the way the next layer takes it."""

from dataclasses import dataclass

from edgekit_converters.layers.view import Node, View

CARRIERS = frozenset({"QUANTIZE", "DEQUANTIZE", "QuantizeLinear", "DequantizeLinear", "FakeQuantize"})
"""Operators that only put a value on a grid or take it off."""

_SUMS = frozenset({"Add", "ADD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A layer's value: `made` as the layer computes it, `taken` after the quantization behind it, as others take it."""

    made: int
    taken: int


def points(view: View) -> tuple[Point, ...]:
    """Return the points of a model in the order they are computed, its inputs first; no constants.

    A quantization between two layers belongs to the first: its error is what the first hands on. What only a bias is
    added to is no point, the sum is: between the two, OpenVINO's CPU plugin (2026.4) computes wrong results when the
    value is looked at.
    """
    fixed, takers = view.fixed, _takers(view)
    values = [
        value
        for value in (*view.inputs, *(one for node in view.nodes if node.op not in CARRIERS for one in node.outputs))
        if value not in fixed and not _waits_for_bias(takers.get(value, []), fixed)
    ]
    return tuple(Point(made=value, taken=_carried(value, view, takers)) for value in dict.fromkeys(values))


def _takers(view: View) -> dict[int, list[Node]]:
    takers: dict[int, list[Node]] = {}
    for node in view.nodes:
        for value in dict.fromkeys(node.inputs):
            takers.setdefault(value, []).append(node)
    return takers


def _waits_for_bias(takers: list[Node], fixed: frozenset[int]) -> bool:
    return len(takers) == 1 and takers[0].op in _SUMS and any(value in fixed for value in takers[0].inputs)


def _carried(value: int, view: View, takers: dict[int, list[Node]]) -> int:
    while value not in view.outputs:
        nodes = takers.get(value, [])
        if len(nodes) != 1 or nodes[0].op not in CARRIERS or nodes[0].inputs[0] != value:
            break
        value = nodes[0].outputs[0]
    return value
