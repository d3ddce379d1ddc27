"""Einsum: diagonals and sums first, then the operands one after the other as products of matrices."""

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.matrix import batched
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered
from edgekit_converters.lowering.reductions import reduce


@dataclass(frozen=True, slots=True)
class _Term:
    """An operand: each letter of `labels` names an axis."""

    ref: Ref
    labels: str

    def size(self, label: str) -> int:
        return self.ref.shape[self.labels.index(label)]


def einsum(b: Builder, node: Node) -> None:
    """Every form of the notation: repeated letters, `...`, without an arrow."""
    refs = [b.plain(b.tensor(name)) for name in node.inputs]
    labels, wanted = _parsed(node.attributes["equation"], [len(ref.shape) for ref in refs])
    terms = [_diagonal(b, node, _Term(ref, label)) for ref, label in zip(refs, labels, strict=True)]
    left = terms[0]
    for place, right in enumerate(terms[1:], start=1):
        later = wanted + "".join(term.labels for term in terms[place + 1 :])
        left = _joined(b, _summed(b, left, right.labels + later), _summed(b, right, left.labels + later), later)
    left = _turned(b, _summed(b, left, wanted), wanted)
    shape = b.shape_of(node.outputs[0])
    b.set(node.outputs[0], Tensor(b.reshaped(left.ref, shape), identity(len(shape))))


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return a letter an axis for each operand and for the result; what `...` stands for gets unused letters."""
    before, arrow, after = equation.replace(" ", "").partition("->")
    parts = before.split(",")
    hidden = [
        rank - len(part.replace("...", "")) if "..." in part else 0 for part, rank in zip(parts, ranks, strict=True)
    ]
    unused = "".join(letter for letter in string.ascii_letters if letter not in equation)[: max(hidden)]
    labels = [part.replace("...", unused[len(unused) - count :]) for part, count in zip(parts, hidden, strict=True)]
    if arrow:
        return labels, after.replace("...", unused)
    every = "".join(part.replace("...", "") for part in parts)
    return labels, unused + "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))


def _diagonal(b: Builder, node: Node, term: _Term) -> _Term:
    """Take the diagonal over axes of the same letter."""
    for label in dict.fromkeys(term.labels):
        while term.labels.count(label) > 1:
            first, second = [place for place, one in enumerate(term.labels) if one == label][:2]
            size = term.ref.shape[first]
            if is_free(size):
                raise b.refuse(node, f"the diagonal '{label}{label}' is of a free dimension")
            rest = [place for place in range(len(term.labels)) if place not in {first, second}]
            moved = _moved(b, term.ref, [*rest, first, second])
            kept = moved.shape[:-2]
            flat = b.reshaped(moved, (*kept, size * size))
            places = b.module.ints([place * (size + 1) for place in range(size)])
            ref = gathered(b, flat, places, len(kept))
            term = _Term(ref, "".join(term.labels[place] for place in rest) + label)
    return term


def _summed(b: Builder, term: _Term, needed: str) -> _Term:
    """Sum over the axes nothing else names."""
    axes = [place for place, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    kept = [place for place in range(len(term.labels)) if place not in axes]
    ref = reduce(b, "sum", term.ref, axes)
    return _Term(b.reshaped(ref, [ref.shape[place] for place in kept]), "".join(term.labels[place] for place in kept))


def _joined(b: Builder, left: _Term, right: _Term, later: str) -> _Term:
    """Multiply two operands and sum over what nothing after them names."""
    left, right = _without_ones(b, left, right), _without_ones(b, right, left)
    shared = [label for label in left.labels if label in right.labels]
    batch = [label for label in shared if label in later]
    inner = [label for label in shared if label not in later]
    outer = [[label for label in one.labels if label not in shared] for one in (left, right)]
    labels = "".join([*batch, *outer[0], *outer[1]])
    sizes = {label: one.size(label) for one in (right, left) for label in one.labels}
    shape = [sizes[label] for label in labels]
    if not inner or left.ref.dtype != "float32":
        return _multiplied(b, left, right, labels, inner)
    one, flip_one = _matrix(b, left, batch, outer[0], inner)
    two, flip_two = _matrix(b, right, batch, outer[1], inner)
    flat = [*one.shape[:-2], one.shape[-1 if flip_one else -2], two.shape[-1 if flip_two else -2]]
    return _Term(b.reshaped(batched(b, one, two, flat, turned=(flip_one, not flip_two)), shape), labels)


def _without_ones(b: Builder, term: _Term, other: _Term) -> _Term:
    """Leave out axes of size 1 that broadcast against the other operand's."""
    kept = [
        place
        for place, label in enumerate(term.labels)
        if not (label in other.labels and term.ref.shape[place] == 1 and other.size(label) != 1)
    ]
    shape = [term.ref.shape[place] for place in kept]
    return _Term(b.reshaped(term.ref, shape), "".join(term.labels[place] for place in kept))


def _matrix(b: Builder, term: _Term, batch: list[str], outer: list[str], inner: list[str]) -> tuple[Ref, bool]:
    """Return an operand as matrices [batch, outer, inner], or (True) [batch, inner, outer] where it lies so already."""
    turned = list(term.labels) == [*batch, *inner, *outer] and bool(outer)
    groups = [batch, inner, outer] if turned else [batch, outer, inner]
    ref = _turned(b, term, "".join(label for group in groups for label in group)).ref
    sizes = [[term.size(label) for label in group] for group in groups]
    return b.reshaped(ref, (math.prod(sizes[0]), math.prod(sizes[1]), math.prod(sizes[2]))), turned


def _multiplied(b: Builder, left: _Term, right: _Term, labels: str, inner: list[str]) -> _Term:
    """Multiply value by value, then sum: for integers, and where there is nothing to sum."""
    every = labels + "".join(inner)
    grown = []
    for term in (left, right):
        ref = _turned(b, term, "".join(label for label in every if label in term.labels)).ref
        grown.append(b.reshaped(ref, [term.size(label) if label in term.labels else 1 for label in every]))
    return _summed(b, _Term(b.binary("mul", *grown), every), labels)


def _turned(b: Builder, term: _Term, labels: str) -> _Term:
    return _Term(_moved(b, term.ref, [term.labels.index(label) for label in labels]), labels)


def _moved(b: Builder, ref: Ref, axes: Sequence[int]) -> Ref:
    """Return the axes in another order."""
    return b.order(Tensor(ref, identity(len(axes))), tuple(axes)).ref


EINSUM: dict[str, Lowering] = {"Einsum": einsum}
