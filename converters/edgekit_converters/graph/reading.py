"""What a node says: its name for messages, and numbers that one opset takes as an input and another as an attribute."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def name_of(node: "ir.Node") -> str:
    """Return what a node is called: by its name, or by that of what it computes."""
    return str(node.name or node.outputs[0].name)


def said(node: "ir.Node") -> str:
    """Return what messages call a node."""
    return f"op '{node.op_type}' (node '{name_of(node)}')"


def numbers(node: "ir.Node", at: int, name: str) -> Sequence[int] | None:
    """Return whole numbers that newer opsets take as an input and older ones as an attribute.

    None where there are none, or they are computed; `computed` tells which.
    """
    value = node.inputs[at] if at < len(node.inputs) else None
    if value is not None:
        return None if value.const_value is None else [int(one) for one in value.const_value.numpy().ravel()]
    given = node.attributes.get_ints(name, None)
    return None if given is None else list(given)


def computed(node: "ir.Node", at: int) -> bool:
    """Whether an input is there that is no stored tensor."""
    value = node.inputs[at] if at < len(node.inputs) else None
    return value is not None and value.const_value is None


def bound(node: "ir.Node", at: int, name: str, without: float) -> float:
    """Return a number that newer opsets take as an input and older ones as an attribute; NaN where it is computed."""
    value = node.inputs[at] if at < len(node.inputs) else None
    if value is not None:
        return float(value.const_value.numpy().ravel()[0]) if value.const_value is not None else math.nan
    given = node.attributes.get_float(name, None)
    return without if given is None else given
