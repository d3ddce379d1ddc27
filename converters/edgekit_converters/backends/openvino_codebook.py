"""Shared weights of an OpenVINO model stored as codes: constants of few values become a codebook and a Gather.

Nothing is rounded: the same numbers are looked up when the model is compiled. It is NNCF's form of a codebook without
its scales.
"""

from typing import Any

import numpy as np

Model = Any  # ov.Model has no types

_FEWEST = 64  # values of a constant that is looked at
_FLOATS = frozenset({"f32", "f16"})
_MATRIX = 2  # dimensions
_CODES = ((16, "u4", 0.5), (256, "u8", 1.0))  # most values, type, bytes of a code


def store_codebooks(model: Model) -> int:
    """Store the constants of at most 256 distinct floats as codes, where that is smaller; return how many were."""
    from openvino import Type, opset13

    made = 0
    for node in model.get_ordered_ops():
        kind = node.get_element_type().get_type_name() if node.get_type_name() == "Constant" else ""
        if kind not in _FLOATS or len(node.shape) < _MATRIX or np.prod(node.shape) < _FEWEST:
            continue
        dense = node.data
        # bits are compared: there are two zeros
        book, codes = np.unique(dense.view(f"u{dense.itemsize}"), return_inverse=True)
        form = next((one for one in _CODES if book.size <= one[0]), None)
        if form is None or book.nbytes + codes.size * form[2] >= dense.nbytes:
            continue
        stored = opset13.constant(codes.reshape(dense.shape).astype(np.uint8), dtype=getattr(Type, form[1]))
        values = opset13.constant(book.view(dense.dtype))
        looked_up = opset13.gather(values, stored, opset13.constant(np.int64(0)))
        looked_up.set_friendly_name(f"{node.get_friendly_name()}/looked_up")
        for taker in node.output(0).get_target_inputs():
            taker.replace_source_output(looked_up.output(0))
        made += 1
    return made
