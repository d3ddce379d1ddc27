"""What goes into a bundle: the artifact's files, class names, report, and what is allowed of golden outputs."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit._bundle_options import BundleOptions
from edgekit._report import sha256
from edgekit._travelled import Travelled
from edgekit.errors import DataError
from edgekit_agent import pipeline_file, runtimes
from edgekit_agent.answering import Answering
from edgekit_agent.bundle import BundleFile, Golden, Manifest, RuntimeRange
from edgekit_agent.bundle.golden import Made
from edgekit_agent.postprocess import Postprocess

SHARES: Mapping[str, float] = {"fp32": 1e-3, "fp16": 1e-2}
"""What golden outputs may differ by on another processor, as a share of an output's largest magnitude."""
OTHER_SHARE = 5e-2
QUANTA = 2
"""Steps of a quantized output that are always allowed: kernels round differently."""
_LABELS, _REPORT = "labels.txt", "report.json"
_MOST_LABELS_BYTES = 1 << 20
_DIGITS = 4


def artifact_files(artifact: Path, folder: Path) -> tuple[str, ...]:
    """Link an artifact's files into a folder as a bundle names them; return their names, that to open first.

    Raises:
        DataError: if one is missing.
        ModelError: if it is no artifact.
    """
    form = runtimes.model_format(artifact)
    parts = {f"model{artifact.suffix.lower()}": artifact}
    if form == "openvino":
        parts["model.bin"] = artifact.with_suffix(".bin")
    elif form == "pipeline":  # it names its stages, so they keep their names
        for stage in pipeline_file.read(artifact).stages:
            weights = [stage.path.with_suffix(".bin")] if stage.path.suffix == ".xml" else []
            parts |= {one.name: one for one in (stage.path, *weights)}
    for name, path in parts.items():
        if not path.is_file():
            raise DataError(f"artifact '{artifact}' is not whole: '{path}' does not exist")
        (folder / name).symlink_to(path.resolve())
    return tuple(parts)


def runtimes_of(artifact: Path, options: BundleOptions) -> tuple[RuntimeRange, ...]:
    """Return the runtimes given, or every one of the agent's that reads the artifact's format.

    Raises:
        ModelError: if it is of no format a runtime reads.
    """
    form = runtimes.model_format(artifact)
    if options.runtimes:
        return options.named_runtimes
    names = [name for name in runtimes.RUNTIMES if form in runtimes.get(name).formats]
    return tuple(RuntimeRange(name=name, device=options.device) for name in names)


def words(options: BundleOptions, travelled: Travelled, folder: Path) -> list[BundleFile]:
    """Write the class names and the report into a folder, as far as there are any.

    Raises:
        DataError: if the file of class names cannot be read.
    """
    classes = _lines(options.labels) if options.labels else travelled.classes
    texts = {}
    if classes:
        texts["labels", _LABELS] = "".join(f"{one}\n" for one in classes)
    if travelled.artifact:
        texts["report", _REPORT] = json.dumps(_of_one(travelled), indent=1) + "\n"
    for (_, name), text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [described_file(folder / name, role) for role, name in texts]


def described_file(path: Path, role: str) -> BundleFile:
    """Return a file as the manifest describes it."""
    return BundleFile(name=path.name, role=role, size=path.stat().st_size, sha256=sha256(path))


def manifest_of(
    artifact: Path, options: BundleOptions, travelled: Travelled, made: Made, files: Sequence[BundleFile]
) -> Manifest:
    """Return the manifest of an artifact whose golden vectors are made; the first of the files is what is opened.

    Raises:
        ModelError: if the artifact has not the outputs that the post-processing names.
    """
    # an output that is not there is told now, and not on the devices
    Answering(Postprocess.from_mapping(options.postprocess), [one.spec() for one in made.outputs])
    precision = options.precision or travelled.artifact.get("precision")
    golden = Golden(
        made_with=made.runtime,
        inputs=made.golden_inputs,
        outputs=made.golden_outputs,
        tolerance=_tolerance(made, precision, options.tolerance),
    )
    # the largest artifact first: its bytes begin with a page of the bundle
    parts = sorted((one for one in files if one.role == "artifact"), key=lambda one: -one.size)
    return Manifest(
        schema=1,
        model=options.model or name_of(artifact),
        version=options.version,
        counter=options.release,
        hardware=options.hardware,
        runtimes=runtimes_of(artifact, options),
        artifact=files[0].name,
        precision=precision,
        inputs=made.inputs,
        outputs=made.outputs,
        preprocess=dict(options.preprocess or travelled.preprocess),
        postprocess=dict(options.postprocess),
        golden=golden,
        bounds=options.bounds,
        threads=options.threads,
        streams=options.streams,
        files=(*parts, *(one for one in files if one.role != "artifact")),
    )


def name_of(artifact: Path) -> str:
    """Return the name of an artifact's model: what stands before its precision, in letters a bundle takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", artifact.stem.partition(".")[0]).strip("-_")[:64] or "model"


def _tolerance(made: Made, precision: str | None, given: float | None) -> dict[str, float]:
    share = SHARES.get(precision or "", OTHER_SHARE) if given is None else given
    allowed = {}
    for one in made.outputs:
        if not one.dtype.startswith("float") and not one.scale:
            allowed[one.name] = 0.0  # numbers of classes, flags: the same or wrong
            continue
        least = QUANTA * max(one.scale) if one.scale and given is None else 0.0
        span = made.spans[one.name]
        allowed[one.name] = float(f"{max(share * span if span else share, least):.{_DIGITS}g}")
    return allowed


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_LABELS_BYTES:
            raise DataError(f"labels '{path}' are larger than {_MOST_LABELS_BYTES} bytes")
        found = path.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise DataError(f"labels '{path}' cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise DataError(f"labels '{path}' are no UTF-8 text") from exc
    if not found:
        raise DataError(f"labels '{path}' has no line: there is one for each class")
    return found


def _of_one(travelled: Travelled) -> dict[str, Any]:
    """Return the report with this artifact only, and of the maker's files no more than their names."""
    document = dict(travelled.document)
    document["artifacts"] = [travelled.artifact]
    for table, keys in (("source", ("path",)), ("data", ("calib", "eval"))):
        found = dict(document.get(table) or {})
        document[table] = found | {key: re.split(r"[/\\]", str(found[key]))[-1] for key in keys if found.get(key)}
    return document
