"""Arrays between a process and the jobs it starts: an `.npz` with plain keys, the names beside it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, Arrays, TensorSpec


def write_arrays(path: Path, arrays: Arrays) -> Json:
    """Write arrays to `path` and return what `read_arrays` takes: names may hold any character."""
    np.savez(path, *arrays.values())
    return {"path": str(path), "names": list(arrays)}


def read_arrays(reference: Json) -> dict[str, Array]:
    """Read what `write_arrays` wrote."""
    with np.load(reference["path"], allow_pickle=False) as stored:
        return {name: stored[f"arr_{index}"] for index, name in enumerate(reference["names"])}


def specs_to_json(specs: Sequence[TensorSpec]) -> Json:
    """Return specs as JSON values."""
    return [asdict(spec) for spec in specs]


def specs_from_json(described: Json) -> tuple[TensorSpec, ...]:
    """Return the specs of `specs_to_json`."""
    return tuple(TensorSpec(name=one["name"], shape=tuple(one["shape"]), dtype=one["dtype"]) for one in described)
