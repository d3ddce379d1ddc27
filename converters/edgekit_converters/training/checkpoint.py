"""The file a training goes on from: arrays in an `.npz`, and JSON beside them in it; nothing is ever unpickled."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from edgekit_converters.backends.placing import place
from edgekit_converters.errors import CheckpointError, TrainingError
from edgekit_converters.model import Arrays

SCHEMA = 1
_MAX_TEXT_BYTES = 16 << 20
_PROGRESS = "progress.json"


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a training is: `batch` of `length` batches of epoch `epoch` (from 0) are done, `loss` is their sum."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss: float = 0.0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_epoch: int = 0
    length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A training's progress, everything that changes while it goes on, and the weights of the best epoch."""

    progress: Progress
    state: Arrays
    best: Arrays


def save(path: Path, made_with: Mapping[str, object], checkpoint: Checkpoint) -> None:
    """Write beside and rename.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    told = {"schema": SCHEMA, "made_with": made_with, "progress": asdict(checkpoint.progress)}
    sides = {"state": checkpoint.state, "best": checkpoint.best}
    told["names"] = {side: list(arrays) for side, arrays in sides.items()}
    buffer = io.BytesIO()
    listed = {f"{side}.{at}": one for side, arrays in sides.items() for at, one in enumerate(arrays.values())}
    np.savez(buffer, **{_PROGRESS: np.frombuffer(json.dumps(told).encode(), np.uint8)}, **listed)  # type: ignore[arg-type]  # no array is called allow_pickle
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(buffer.getvalue(), path)
    except OSError as exc:
        raise CheckpointError(f"checkpoint '{path}' cannot be written: {exc.strerror}") from exc


def load(path: Path, made_with: Mapping[str, object], like: Arrays) -> Checkpoint:
    """Read what `save` wrote for the same training: `like` says what arrays the net has.

    Raises:
        TrainingError: if the file is damaged, or of another training.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(entry.file_size for entry in archive.infolist())
        # Weights, two moments of the optimizer, and the best weights, with the headers of the arrays.
        if needed > 4 * sum(one.nbytes + 1024 for one in like.values()) + _MAX_TEXT_BYTES:
            raise TrainingError(f"checkpoint '{path}' holds more than this net has")
        with np.load(path, allow_pickle=False) as stored:
            told = json.loads(stored[_PROGRESS].tobytes())
            if told["schema"] != SCHEMA:
                raise TrainingError(f"checkpoint '{path}' is of schema {told['schema']}, not {SCHEMA}")
            _check_same(path, told["made_with"], made_with)
            sides = {
                side: {name: stored[f"{side}.{at}"] for at, name in enumerate(told["names"][side])}
                for side in ("state", "best")
            }
            found = Checkpoint(progress=Progress(**told["progress"]), state=sides["state"], best=sides["best"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
        raise TrainingError(f"checkpoint '{path}' is damaged or none") from exc
    for name, one in like.items():
        if name not in found.state or found.state[name].shape != one.shape:
            raise TrainingError(f"checkpoint '{path}' is of another net: it has no '{name}' of shape {one.shape}")
    return found


def _check_same(path: Path, stored: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    for name, value in wanted.items():
        if stored.get(name) != value:
            error = TrainingError(f"checkpoint '{path}' was made with {name} {stored.get(name)}, not {value}")
            error.add_note("train with the same options, or remove the file to begin anew")
            raise error
