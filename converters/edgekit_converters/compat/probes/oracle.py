"""What a quantized case should give: the same op in float32, fed with the real values the stored ones stand for."""

from dataclasses import replace

import numpy as np

from edgekit_converters.compat.probes.one_op import TYPES, Case, Value

# Ops about stored values themselves, and integer kernels with tables of their own.
_NO_TWIN = frozenset(
    {"BITWISE_XOR", "CAST", "DEQUANTIZE", "FAKE_QUANT", "FLOOR_DIV", "FLOOR_MOD", "QUANTIZE", "RIGHT_SHIFT"}
)


def float_twin(case: Case) -> Case | None:
    """Return the case in float32, None for one without quantized values or without such a meaning."""
    values = [one for one in (*case.inputs, *case.outputs) if one is not None]
    if case.op in _NO_TWIN or case.intermediates or not any(one.type.startswith("q") for one in values):
        return None
    if any(one.variable and one.type.startswith("q") for one in values):
        return None
    inputs = tuple(None if one is None else _real(one) for one in case.inputs)
    return replace(case, inputs=inputs, outputs=tuple(_real(one) for one in case.outputs))


def zero_point(value: Value) -> int:
    """Return the zero point a value is stored with."""
    return TYPES[value.type][2] if value.zero_point is None else value.zero_point


def _real(value: Value) -> Value:
    if not value.type.startswith("q"):
        return value
    data = None
    if value.data is not None:
        shape = [1] * value.data.ndim
        if len(value.scale) > 1:
            shape[value.axis] = len(value.scale)
        data = (value.data.astype(np.float32) - zero_point(value)) * np.reshape(value.scale, shape).astype(np.float32)
    return replace(value, type="float32", data=data, scale=(1.0,), zero_point=None)
