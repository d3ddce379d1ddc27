"""Settings that travel with an artifact: the report of the run that made it says how its inputs are prepared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit._report import SCHEMA, sha256
from edgekit.errors import DataError

REPORT = "report.json"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Travelled:
    """What the report beside a model says of it; empty where there is no such report."""

    report: Path | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    classes: tuple[str, ...] = ()
    """Names of the classes, in their order, where the data had any."""
    artifact: Mapping[str, Any] = field(default_factory=dict)
    """What it says of this very file."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """All of it."""


def beside(model: Path) -> Travelled:
    """Return what `DIR/report.json` says of `DIR/models/MODEL`, if it is about this very file.

    Raises:
        DataError: if there is a report and it cannot be read.
    """
    path = model.parent.parent / REPORT
    if not model.is_file() or not path.is_file():
        return Travelled()
    document = _document(path)
    digest = sha256(model)
    try:
        known = {artifact["sha256"]: dict(artifact) for artifact in document["artifacts"]}
        preprocess, metric = dict(document.get("preprocess", {})), document["data"].get("metric")
        classes = tuple(map(str, document["data"].get("classes", ())))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise _broken(path, "it is not a report") from exc
    if digest not in known:
        return Travelled()
    return Travelled(
        report=path,
        preprocess=preprocess,
        metric=metric,
        classes=classes,
        artifact=known[digest],
        document=document,
    )


def _document(path: Path) -> Any:  # noqa: ANN401  # JSON
    if path.stat().st_size > _MAX_BYTES:
        raise _broken(path, f"it is larger than {_MAX_BYTES} bytes")
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        raise _broken(path, str(exc)) from exc
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise _broken(path, f"it is no report of schema {SCHEMA}")
    return document


def _broken(path: Path, why: str) -> DataError:
    error = DataError(f"the report '{path}' beside the model cannot be read: {why}")
    error.add_note("give --metric and --preprocess, and it is not needed")
    return error
