"""TfIdfVectorizer: how often runs of numbers (n-grams) occur in a row, each counted by comparing."""

import itertools

import numpy as np

from edgekit_converters.lowering.arithmetic import cast, compare
from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.matrix import dense
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reductions import reduce
from edgekit_converters.lowering.stored import part
from edgekit_converters.model import Array

_MOST = 1 << 20  # comparisons a row


def tf_idf(b: Builder, node: Node) -> None:
    """A product of comparisons a length and distance, summed over the row, and spread to the places of the result."""
    x, out, given = b.input(node), b.shape_of(node.outputs[0]), node.attributes
    length = x.shape[-1]
    if is_free(length):
        raise b.refuse(node, "the length of its rows is free")
    if not given.get("pool_int64s"):
        raise b.refuse(node, "its n-grams are strings")
    rows = b.reshaped(b.plain(x), (x.shape[0] if x.rank > 1 else 1, length, 1))
    found: Ref | None = None
    for grams, places, weights in _pools(node):
        total: Ref | None = None
        for distance in range(1, 2 if grams.shape[1] == 1 else given["max_skip_count"] + 2):
            count = length - (grams.shape[1] - 1) * distance
            if count * grams.size > _MOST:
                raise b.refuse(node, f"{count * grams.size} comparisons a row are too many")
            if count > 0:
                one = _counted(b, rows, grams, distance, count)
                total = one if total is None else b.binary("add", total, one)
        if total is None:
            continue
        if given["mode"] == "IDF":
            total = b.binary("minimum", total, b.scalar(1.0))
        spread = np.zeros((out[-1], len(places)), np.float32)
        spread[places, range(len(places))] = 1.0 if given["mode"] == "TF" else weights
        one = dense(b, total, b.module.constant(spread))
        found = one if found is None else b.binary("add", found, one)
    if found is None:
        raise b.refuse(node, "its rows are shorter than its n-grams")
    b.set(node.outputs[0], Tensor(b.reshaped(found, out), identity(len(out))))


def _pools(node: Node) -> list[tuple[Array, Array, Array]]:
    """Return for each length in use the n-grams [n-grams, length], their places in the result, and their weights."""
    given = node.attributes
    pool, places = np.asarray(given["pool_int64s"]), np.asarray(given["ngram_indexes"])
    weights = np.asarray(given.get("weights") or np.ones(len(places)), np.float32)
    ends, first = [*given["ngram_counts"], len(pool)], 0
    found: list[tuple[Array, Array, Array]] = []
    for length, (start, end) in enumerate(itertools.pairwise(ends), start=1):
        number = (end - start) // length
        if number and given["min_gram_length"] <= length <= given["max_gram_length"]:
            these = slice(first, first + number)
            found.append((pool[start:end].reshape(number, length), places[these], weights[these]))
        first += number
    return found


def _counted(b: Builder, rows: Ref, grams: Array, distance: int, count: int) -> Ref:
    """Return how often each n-gram occurs with its numbers this far apart: [rows, n-grams]."""
    same: Ref | None = None
    for place, numbers in enumerate(grams.T):
        wanted = b.module.constant(numbers.reshape(1, 1, -1).astype(rows.dtype))
        one = cast(b, compare(b, "equal", part(b, rows, 1, place * distance, count), wanted), "float32")
        same = one if same is None else b.binary("mul", same, one)
    if same is None:
        raise AssertionError("an n-gram has at least one number")
    return b.reshaped(reduce(b, "sum", same, [1]), (rows.shape[0], len(grams)))


NGRAMS = {"TfIdfVectorizer": tf_idf}
