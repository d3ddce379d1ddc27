"""Attention that computes only the band of scores its form shows: the length is cut into blocks of queries.

Each block of queries meets the keys of the block before it, its own and the one behind it: T · 3w scores instead of
T · T. What is put on the scores is cut into the same bands.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compress.attention.forms import FAR, seen
from edgekit_converters.compress.attention.pattern import Attention, NotMatchedError
from edgekit_converters.compress.attention.writing import Writer
from edgekit_converters.graph.reading import said

if TYPE_CHECKING:
    import onnx_ir as ir

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Which places of a sequence of a length meet, by the form and its size."""

    form: str
    size: int
    length: int

    @property
    def blocks(self) -> int:
        """How many blocks the length is cut into."""
        return -(-self.length // self.size)

    @property
    def queries(self) -> Places:
        """The places of the queries [blocks, size, 1]; the last block is filled up."""
        return np.arange(self.blocks * self.size).reshape(self.blocks, self.size, 1)

    @property
    def keys(self) -> Places:
        """The places of the keys [blocks, 1, 3 size], those beyond the ends too."""
        starts = np.arange(self.blocks).reshape(-1, 1, 1) * self.size
        return starts + np.arange(-self.size, 2 * self.size)

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which of the keys the queries see, [blocks, size, 3 size]."""
        there = (self.keys >= 0) & (self.keys < self.length)
        return there & seen(self.form, self.size, self.queries, self.keys)

    def inside(self, places: Places) -> Places:
        """Return the places, those beyond the ends moved to them."""
        return np.clip(places, 0, self.length - 1)


@dataclass(slots=True)
class Banding:
    """Writes attentions anew as bands; what several put on their scores is cut once."""

    model: "ir.Model"
    _cut: dict[tuple[int, Band], "ir.Value"] = field(default_factory=dict)

    def write(self, one: Attention, band: Band) -> None:
        """Replace an attention of a sequence on itself.

        Raises:
            NotMatchedError: if what is put on its scores cannot be cut.
        """
        writer = Writer(self.model, one.scores, one.name)
        rank = len(one.query.shape or ())
        queries = writer.op(
            "Gather", one.query, writer.stored(band.inside(band.queries)[..., 0]), attributes={"axis": rank - 2}
        )
        keys, values = (
            writer.op("Gather", rows, writer.stored(band.inside(band.keys)[:, 0]), attributes={"axis": rank - 2})
            for rows in (_key_rows(writer, one.key), one.value)
        )
        turned = writer.op("Transpose", keys, attributes={"perm": [*range(rank - 1), rank, rank - 1]})
        scores = writer.op("MatMul", queries, turned)
        # what is put on the scores may be computed behind them
        writer = Writer(self.model, one.softmax, one.name)
        for node in one.on_scores:
            place = one.data_place(node)
            given = [
                scores if at == place else None if value is None else self._banded(value, node, band)
                for at, value in enumerate(node.inputs)
            ]
            scores = writer.like(node, given)
        dtype = one.softmax.inputs[0].dtype.numpy()  # type: ignore[union-attr]  # scores of a known type
        near = writer.op("Max", scores, writer.stored(np.array(FAR, dtype)))
        scores = writer.op("Where", writer.stored(band.shown), near, writer.stored(np.array(2 * FAR, dtype)))
        weights = writer.op("Softmax", scores, attributes={"axis": -1 if self._opset() > 12 else rank})  # noqa: PLR2004
        writer = Writer(self.model, one.product, one.name)
        for node in one.on_weights:
            weights = writer.like(node, [weights, *node.inputs[1:]])
        self._joined(writer, writer.op("MatMul", weights, values), one, band)

    def _joined(self, writer: Writer, blocks: "ir.Value", one: Attention, band: Band) -> None:
        """Put blocks of a context in a row, and give it to those that took the whole."""
        shape = one.context.shape
        if shape is None:
            raise NotMatchedError("the shape of what it gives is not known")
        target = [*[0] * (len(shape) - 2), band.blocks * band.size, int(shape[-1])]  # type: ignore[arg-type]  # known
        whole = writer.op("Reshape", blocks, writer.ints(*target))
        if band.blocks * band.size > band.length:
            ends = writer.ints(band.length)
            whole = writer.op("Slice", whole, writer.ints(0), ends, writer.ints(len(shape) - 2))
        one.context.replace_all_uses_with(whole)

    def _opset(self) -> int:
        return int(self.model.graph.opset_imports.get("", 0))

    def _banded(self, value: "ir.Value", node: "ir.Node", band: Band) -> "ir.Value":
        """Return what is put on all scores as it is put on those of the band."""
        key = (id(value), band)
        if key not in self._cut:
            self._cut[key] = self._cut_to(value, node, band)
        return self._cut[key]

    def _cut_to(self, value: "ir.Value", node: "ir.Node", band: Band) -> "ir.Value":
        shape = _shape(value)
        if all(size == 1 for size in shape[-2:]) and len(shape) <= 2:  # noqa: PLR2004  # the same for all scores
            return value
        if shape is None or any(size not in {1, band.length} for size in shape[-2:]):
            raise NotMatchedError(f"{said(node)} puts something on the scores that does not fit the length")
        row, column = (1, *shape)[-2] > 1, shape[-1] > 1
        places = (band.inside(band.queries) if row else np.zeros((1, 1, 1), np.int64)) * (
            band.length if column else 1
        ) + (band.inside(band.keys) if column else 0)
        lead = len(shape[:-2])
        flat = [*[0] * lead, int(np.prod(shape[-2:]))]
        if value.const_value is not None:
            array = value.const_value.numpy()
            made = np.take(array.reshape(*shape[:-2], -1), places, axis=-1)
            return Writer(self.model, node, f"{value.name}/band").stored(made)
        anchor = _behind(self.model, value)
        writer = Writer(self.model, anchor, f"{value.name}/band")
        row_of = writer.op("Reshape", value, writer.ints(*flat))
        return writer.op("Gather", row_of, writer.stored(places), attributes={"axis": lead})


def _key_rows(writer: Writer, key: "ir.Value") -> "ir.Value":
    """Return keys [..., width, length] as [..., length, width]: by one transpose, not two, where one made them."""
    rank = len(key.shape or ())
    last = [*range(rank - 2), rank - 1, rank - 2]
    node = key.producer()
    if node is not None and node.op_type == "Transpose":
        order = list(node.attributes.get_ints("perm", None) or reversed(range(rank)))
        return writer.op("Transpose", node.inputs[0], attributes={"perm": [order[at] for at in last]})
    return writer.op("Transpose", key, attributes={"perm": last})


def _shape(value: "ir.Value") -> tuple[int, ...]:
    """Return a shape; 0 where it is free."""
    if value.const_value is not None:
        return tuple(value.const_value.shape.numpy())
    return tuple(size if isinstance(size, int) else 0 for size in value.shape or ())


def _behind(model: "ir.Model", value: "ir.Value") -> "ir.Node":
    """Return the first node behind what makes a value."""
    nodes = list(model.graph)
    made = value.producer()
    return nodes[0 if made is None else nodes.index(made) + 1]
