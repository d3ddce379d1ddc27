"""Single numbers in a graph, as patterns compare them."""

import math

import numpy as np

from edgekit_converters.lowering.graph import Graph

_CLOSE = 1e-5  # exporters round the numbers to float32


def number_of(graph: Graph, name: str) -> float | None:
    """Return a constant of one value as a number, None for anything else."""
    array = graph.constants.get(name)
    return float(np.ravel(array)[0]) if array is not None and array.size == 1 else None


def is_about(found: float | None, wanted: float) -> bool:
    """Whether a number is the wanted one up to rounding."""
    return found is not None and math.isclose(found, wanted, rel_tol=_CLOSE)
