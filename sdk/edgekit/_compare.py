"""`edgekit.compare`: how far two models are apart, at their outputs and layer by layer."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgekit import _data, _metrics
from edgekit._events import Event, OnEvent, ignore
from edgekit._options import ConvertOptions
from edgekit._report import SCHEMA, plain
from edgekit.errors import GateError
from edgekit_converters._exchange import read_arrays, write_arrays
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layers import compare_job
from edgekit_converters.layers.form import layered, own_file
from edgekit_converters.model import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """One of the source's layers against the artifact's; errors are root mean squares as shares: 0.01 is one percent.

    `damage` is the error at the model's outputs that this layer's own error causes, every other layer being the
    source's; `own_error` is what the layer adds to what it is given; `error` is all there is at it, inherited too. None
    stands for an error against nothing but zeros, and in `snr_db` for no error at all.
    """

    layer: str
    op: str
    order: int
    damage: float | None
    own_error: float | None
    error: float | None
    own_snr_db: float | None
    snr_db: float | None
    cosine: float | None
    max_abs: float
    shape: tuple[int, ...]
    value: str
    artifact_value: str
    artifact_dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same samples; `layers` with the most damage first, None where they were not asked for.

    `unmatched` are layers of the source with weights for which the artifact has no counterpart.
    """

    source: str
    artifact: str
    data: str
    agreement: _metrics.Agreement
    layers: tuple[LayerError, ...] | None = None
    unmatched: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document of schema 1; figures that are not finite are null."""
        document: dict[str, Any] = plain({"schema": SCHEMA, **asdict(self)})
        return document

    def check(self, *, max_error: float | None = None, min_snr: float | None = None) -> None:
        """Hold the outputs against limits: the largest absolute difference, and the signal-to-noise ratio in dB.

        Raises:
            GateError: naming the figure that misses its limit.
        """
        found = self.agreement
        if max_error is not None and not found.max_abs <= max_error:
            raise GateError(f"the outputs differ by {found.max_abs:.6g}, more than the {max_error:g} allowed")
        if min_snr is not None and not found.snr_db >= min_snr:
            raise GateError(
                f"the outputs' signal-to-noise ratio is {found.snr_db:.2f} dB, below the {min_snr:g} dB wanted"
            )


def compare(  # noqa: PLR0913  # what a comparison is made of
    source: Path,
    artifact: Path,
    data: str,
    *,
    layers: bool = False,
    preprocess: Mapping[str, Any] | None = None,
    on_event: OnEvent = ignore,
) -> Comparison:
    """Run two models on the same samples and compare their outputs and, with `layers`, every layer they share.

    Args:
        source: what is right: any model edgekit reads, or an artifact.
        artifact: what is held against it.
        data: samples as the source takes them, as for `evaluate`; labels are not needed.
        layers: whether to go through the layers.
        preprocess: how an image becomes an input, for folders of images.
        on_event: told what is going on.

    Raises:
        DataError: if the data cannot be read, or the outputs have different shapes.
        ModelFileError: if a model is damaged, or the inputs of the two do not fit.
        CalibrationError: if the data does not fit the source.
        ConverterMissingError: if a format's library is not installed.
    """
    loaded = _data.load(data, ConvertOptions(preprocess=preprocess or {}).how_images_are_read)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        work = Path(scratch)
        jobs = JobRunner(log=work / "run.log")
        sides = {}
        for side, model in (("source", source), ("artifact", artifact)):
            on_event(Event(stage="load", detail=str(model)))
            (work / side).mkdir()
            sides[side] = _Side.load(model, loaded.arrays, jobs, work / side)
        on_event(Event(stage="compare", detail=f"{len(loaded)} samples"))
        answer = jobs.run(
            compare_job.__name__,
            {
                "source": str(sides["source"].path),
                "artifact": str(sides["artifact"].path),
                "data": write_arrays(work / "data.npz", loaded.arrays),
                "layers": layers,
                "work": str(work),
            },
            compare_job.SINGLE,
        )
        outputs = {name: side.reference or read_arrays(answer["outputs"][name]) for name, side in sides.items()}
    return Comparison(
        source=str(source),
        artifact=str(artifact),
        data=data,
        agreement=_metrics.agreement(
            {name: outputs["source"][name] for name, _ in answer["partners"]},
            {name: outputs["artifact"][other] for name, other in answer["partners"]},
        ),
        layers=_sorted(answer["layers"]) if layers else None,
        unmatched=tuple(answer["unmatched"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """A model as a file whose layers can be looked at, and its own framework's outputs where that is another form."""

    path: Path
    reference: Arrays | None

    @classmethod
    def load(cls, model: Path, arrays: Arrays, jobs: JobRunner, work: Path) -> "_Side":
        own = own_file(model)
        if own is not None:
            return cls(path=own, reference=None)
        loaded, path = layered(model, jobs, work, arrays)
        return cls(path=path, reference=loaded.reference)


def _sorted(rows: list[dict[str, Any]]) -> tuple[LayerError, ...]:
    """Return the layers with the most damage first; an error against nothing counts as the most."""
    known = {one.name for one in fields(LayerError)}
    made = [
        LayerError(
            order=order, **{key: value for key, value in row.items() if key in known} | {"shape": tuple(row["shape"])}
        )
        for order, row in enumerate(rows)
    ]
    worst = float("inf")
    return tuple(sorted(made, key=lambda one: tuple(-(worst if x is None else x) for x in (one.damage, one.own_error))))
