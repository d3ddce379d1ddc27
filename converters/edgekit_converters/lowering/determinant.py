"""Determinants of small matrices."""

import itertools

import numpy as np

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.pieces import gathered
from edgekit_converters.lowering.reductions import reduce

_LARGEST = 5  # 120 products of 5; a matrix of 6 would take 720, and elimination needs choices at run time


def determinant(b: Builder, node: Node) -> None:
    """Leibniz' formula: a sum over all orders of the columns, as GATHER, REDUCE_PROD, MUL and SUM.

    Raises:
        UnsupportedError: for matrices larger than 5 x 5.
    """
    ref, out = b.plain(b.input(node)), b.shape_of(node.outputs[0])
    size = ref.shape[-1]
    if size > _LARGEST:
        raise b.refuse(node, f"its matrices have {size} rows, {_LARGEST} are the most")
    orders = list(itertools.permutations(range(size)))
    places = [[row * size + column for row, column in enumerate(order)] for order in orders]
    flat = b.reshaped(ref, (*out, size * size))
    factors = gathered(b, flat, b.module.ints(places), len(out))
    products = reduce(b, "reduce_prod", factors, [len(out) + 1])
    signs = np.asarray([[_sign(order)] for order in orders], np.float32)
    total = reduce(b, "sum", b.binary("mul", products, b.module.constant(signs)), [len(out)])
    b.set(node.outputs[0], Tensor(b.reshaped(total, out), identity(len(out))))


def _sign(order: tuple[int, ...]) -> int:
    inversions = sum(left > right for left, right in itertools.combinations(order, 2))
    return -1 if inversions % 2 else 1


DETERMINANT: dict[str, Lowering] = {"Det": determinant}
