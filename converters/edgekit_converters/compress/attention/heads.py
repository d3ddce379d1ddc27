"""The heads of an attention: which columns of the layers before it and which rows of the one behind belong to each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.attention.layer_weights import added_bias
from edgekit_converters.compress.attention.pattern import Attention, NotMatchedError
from edgekit_converters.compress.attention.tracing import (
    Numbers,
    Path,
    Shapes,
    dense_layers,
    numbered,
    path_down,
    path_up,
)
from edgekit_converters.graph.reading import name_of, said
from edgekit_converters.graph.weights import Weights

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """A dense layer whose columns become heads; `columns` [heads, width] are a head's."""

    layer: Weights
    path: Path
    columns: Numbers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """An attention with the layers its heads come from and go to; `rows` [heads, width] of the latter are a head's."""

    attention: Attention
    projections: tuple[Projection, Projection, Projection]
    """Of the queries, the keys, the values."""
    out: Weights
    out_path: Path
    rows: Numbers
    leading: Numbers
    """The head of every leading index of the scores, in order."""

    @property
    def count(self) -> int:
        """How many heads there are."""
        return len(self.rows)

    @property
    def nodes(self) -> "tuple[ir.Node, ...]":
        """What people may name it by: its layers, its products and its softmax."""
        attention = self.attention
        layers = (*(one.layer.node for one in self.projections), self.out.node)
        return (*layers, attention.scores, attention.softmax, attention.product)


def heads_of(model: "ir.Model", attention: Attention, shapes: Shapes) -> Heads:
    """Return the heads of an attention.

    Args:
        model: it is not changed.
        attention: as `pattern.attentions_of` gives it.
        shapes: every value's in one run of at least two samples, if it takes as many.

    Raises:
        NotMatchedError: if they do not come from dense layers and go into one, each with columns of its own.
    """
    layers = dense_layers(model)
    given = (attention.query, attention.key, attention.value)
    traced = [_columns(one, layers, shapes, turned=place == 1) for place, one in enumerate(given)]
    leads = [shapes[str(one.name)][:-2] for one in given]
    if len(set(leads)) > 1:
        raise NotMatchedError("its queries, keys and values have different numbers of heads")
    _, first = np.unique(traced[0][2], axis=0, return_index=True)
    order = {tuple(traced[0][2][at]): head for head, at in enumerate(sorted(first))}
    leading = np.array([order[tuple(one)] for one in traced[0][2]])
    projections = [
        Projection(layer=layer, path=path, columns=_by_head(columns, leading)) for layer, path, columns in traced
    ]
    out, out_path = path_down(attention.context, layers)
    _check_inside([one.path for one in projections], out_path)
    rows = _rows(out_path, leading, attention, shapes)
    query, key, value = projections
    return Heads(
        attention=attention, projections=(query, key, value), out=out, out_path=out_path, rows=rows, leading=leading
    )


def _columns(
    value: "ir.Value", layers: dict[int, Weights], shapes: Shapes, *, turned: bool
) -> tuple[Weights, Path, Numbers]:
    """Return the layer, the way, and for each leading index of the value the columns [leading, width] it holds."""
    layer, path = path_up(value, layers)
    layer, path = with_bias(layer, path)
    found = numbered(path, shapes)
    if not found:
        raise NotMatchedError(f"{said(layer.node)} gives one head only")
    last = np.swapaxes(found[-1], -1, -2) if turned else found[-1]
    columns = np.sort(last.reshape(-1, *last.shape[-2:]) % shapes[str(path.start.name)][-1], axis=-1)
    if (columns != columns[:, :1]).any():
        raise NotMatchedError(f"the columns of {said(layer.node)} are mixed with the length")
    return layer, path, columns[:, 0]


def with_bias(layer: Weights, path: Path) -> tuple[Weights, Path]:
    """Return a layer's way from behind its bias, where that is an Add of its own."""
    added = added_bias(layer.node)
    if added is None or not path.nodes or path.nodes[0] is not added.node:
        return layer, path
    return layer, Path(start=path.values[0], nodes=path.nodes[1:], values=path.values[1:])


def _by_head(columns: Numbers, leading: Numbers) -> Numbers:
    count = int(leading.max()) + 1
    found = np.stack([columns[leading == head][0] for head in range(count)])
    if (columns != found[leading]).any():
        raise NotMatchedError("its queries, keys and values come in different orders of heads")
    if count == 1:
        raise NotMatchedError("it has one head only")
    if len(np.unique(found)) != found.size:
        raise NotMatchedError("its heads share keys or values")
    return found


def _rows(path: Path, leading: Numbers, attention: Attention, shapes: Shapes) -> Numbers:
    found = numbered(path, shapes)
    if not found:
        raise NotMatchedError("its heads go into a dense layer each on its own")
    *_, length, width = shapes[str(attention.context.name)]
    columns = found[-1].reshape(-1, found[-1].shape[-1])
    heads = leading[columns // (length * width)]
    if (heads != heads[:1]).any():
        raise NotMatchedError("its heads are mixed with the length before the dense layer behind")
    rows = [np.flatnonzero(heads[0] == head) for head in range(int(leading.max()) + 1)]
    if {len(one) for one in rows} != {width}:
        raise NotMatchedError("the dense layer behind does not take every head once")
    return np.stack(rows)


def _check_inside(paths: Sequence[Path], out: Path) -> None:
    """Refuse values on the way that others take too: they would have fewer columns."""
    nodes = {id(node) for path in (*paths, out) for node in path.nodes}
    for path in paths:
        for value in (path.start, *path.values[:-1]):
            for use in value.uses():
                if id(use.node) not in nodes and not _for_shapes(use.node):
                    raise NotMatchedError(f"its columns are used by {said(use.node)} too")
            if value.is_graph_output():
                raise NotMatchedError(f"its columns '{value.name}' are an output of the model")


def _for_shapes(node: "ir.Node") -> bool:
    """Whether only the shape of what a node gives is looked at."""
    if node.op_type == "Shape":
        return True
    uses = [use.node for one in node.outputs for use in one.uses()]
    return all(map(_for_shapes, uses)) and not any(one.is_graph_output() for one in node.outputs)


def shared_layers(found: Sequence[Heads]) -> dict[int, str]:
    """Return the ids of layers that several attentions take their heads from, with a name of one."""
    seen: dict[int, str] = {}
    shared: dict[int, str] = {}
    for heads in found:
        for key in {id(one.layer.node) for one in heads.projections} | {id(heads.out.node)}:
            if key in seen:
                shared[key] = seen[key]
            seen[key] = name_of(heads.attention.softmax)
    return shared
