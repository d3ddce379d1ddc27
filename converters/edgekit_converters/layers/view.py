"""One picture of a model for every format: its values, its operators, and who takes what from whom."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from edgekit_converters.model import said
from edgekit_converters.tflite_file import ITEM_BITS, Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor: `shape` has None where a dimension is free, `constant` says that the file holds its data."""

    name: str
    shape: tuple[int | None, ...] | None
    """None where even the number of dimensions is not known before a run."""
    dtype: str
    constant: bool = False
    quantization: Quantization | None = None

    @property
    def size_bytes(self) -> int | None:
        """Bytes of its data with free dimensions at 1; None where the shape or the type has no size."""
        bits = ITEM_BITS.get(self.dtype)
        return None if bits is None or self.shape is None else (prod(size or 1 for size in self.shape) * bits + 7) // 8

    def __str__(self) -> str:
        """Return type and shape as people write them: `float32 ?x3x224x224`."""
        return f"{self.dtype} {'of unknown shape' if self.shape is None else said(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator under the name its model's author knows; `inputs` and `outputs` are places in `View.values`."""

    name: str
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: int = 0
    macs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A model's main graph, its operators in the order they are run."""

    values: tuple[Value, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def makers(self) -> dict[int, int]:
        """Return for each computed value the place of the node that computes it."""
        return {value: place for place, node in enumerate(self.nodes) for value in node.outputs}

    @property
    def fixed(self) -> frozenset[int]:
        """Return the values that are the same in every run: constants, and what is computed from nothing else."""
        fixed = {place for place, value in enumerate(self.values) if value.constant}
        for node in self.nodes:
            if all(value in fixed for value in node.inputs):
                fixed.update(node.outputs)
        return frozenset(fixed)

    def to_json(self) -> dict[str, Any]:
        """Return the picture as JSON values."""
        return asdict(self)


def from_json(document: Mapping[str, Any]) -> View:
    """Return the picture of `View.to_json`, as another process gave it."""
    return View(
        values=tuple(_value(one) for one in document["values"]),
        nodes=tuple(
            Node(**{**one, "inputs": tuple(one["inputs"]), "outputs": tuple(one["outputs"])})
            for one in document["nodes"]
        ),
        inputs=tuple(document["inputs"]),
        outputs=tuple(document["outputs"]),
    )


def _value(one: Mapping[str, Any]) -> Value:
    shape, known = one["shape"], one["quantization"]
    quantization = known and Quantization(
        scale=tuple(known["scale"]), zero_point=tuple(known["zero_point"]), axis=known["axis"]
    )
    return Value(**{**one, "shape": None if shape is None else tuple(shape), "quantization": quantization})


def by_operator(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Return a row an operator: how often it occurs, its parameters and multiply-accumulates; the commonest first."""
    rows: dict[str, dict[str, int]] = {}
    for node in nodes:
        row = rows.setdefault(node.op, {"count": 0, "parameters": 0, "macs": 0})
        row["count"] += 1
        row["parameters"] += node.parameters
        row["macs"] += node.macs or 0
    return [{"op": op, **row} for op, row in sorted(rows.items(), key=lambda item: -item[1]["count"])]
