"""Probes of layers and products whose second operand is computed and has a zero point, as between two activations."""

from collections.abc import Iterator
from dataclasses import replace

from edgekit_converters.compat.nodes import WEIGHTED
from edgekit_converters.compat.probes import layers
from edgekit_converters.compat.probes.one_op import Case

_ZERO_POINT = 3


def cases() -> Iterator[Case]:
    """Yield every case: those of the layers with weights at run time, shifted."""
    for case in layers.cases():
        if case.op not in WEIGHTED:
            continue
        first, operand, *rest = case.inputs
        if operand is not None and operand.data is None and operand.type.startswith("q"):
            yield replace(case, inputs=(first, replace(operand, zero_point=_ZERO_POINT), *rest))
