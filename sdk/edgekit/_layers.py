"""What quantizing each layer of an artifact costs, and which layers would have to be in float to save it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit._report import LayerDamage
from edgekit._search import Unit
from edgekit_converters import ConversionResult
from edgekit_converters._exchange import write_arrays
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layers import compare_job
from edgekit_converters.model import Artifact

SAMPLES = 32
"""As many of the calibration data as it takes for a ranking."""
_UNFOLLOWED = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A layer's damage, and what to leave in float for it: those that make its value and those that take it."""

    damage: LayerDamage
    unit: Unit


def damages(
    result: ConversionResult, artifact: Artifact, jobs: JobRunner, work: Path, seconds: float
) -> tuple[Looked, ...]:
    """Return the layers of an artifact with the most damage first, from the model's own calibration or test data.

    Raises:
        ConversionError: if the models cannot be run side by side.
    """
    layout, source = result.layout, result.source
    samples = {name: array[:SAMPLES] for name, array in result.reference_inputs.items()}
    answer = jobs.run(
        compare_job.__name__,
        {
            "source": str(result.workshop.float_file(artifact.format, artifact.made_as or artifact.precision)),
            "artifact": str(artifact.path),
            "data": write_arrays(work / "layers.npz", layout.to_artifact(samples, source.inputs)),
            "layers": True,
            "seconds": seconds,
            "work": str(work),
        },
        compare_job.SINGLE,
    )
    kept = frozenset(artifact.float_layers)
    rows = [row for row in answer["layers"] if row["op"] != "input" or row["own_error"]]
    return tuple(sorted((_looked(row, kept) for row in rows), key=lambda one: -one.unit.damage))


def _looked(row: dict[str, Any], kept: frozenset[str]) -> Looked:
    damage = LayerDamage(
        name=row["layer"],
        op=row["op"],
        damage=row["damage"],
        own_error=row["own_error"],
        kept_float=row["layer"] in kept,
    )
    return Looked(
        damage=damage,
        unit=Unit(
            name=row["layer"],
            damage=_rank(row),
            layers=tuple(dict.fromkeys((*row["made_by"], *row["taken_by"]))),
        ),
    )


def _rank(row: dict[str, Any]) -> float:
    """Return a layer's damage; one that was not followed to the outputs stands behind those that were."""
    own = row["own_error"]
    if row["followed"]:
        return math.inf if row["damage"] is None else float(row["damage"])
    return _UNFOLLOWED * (1.0 if own is None else min(own, 1.0))
